use super::*;
use tempfile::TempDir;

struct Disk {
    dir: TempDir,
}

impl Disk {
    fn new() -> Disk {
        let dir = TempDir::new().unwrap();
        fs::create_dir_all(dir.path().join("old/release/docs")).unwrap();
        fs::create_dir(dir.path().join("new")).unwrap();
        fs::write(dir.path().join("old/release/image.iso"), vec![7; 100_000]).unwrap();
        fs::write(dir.path().join("old/release/docs/notes"), b"notes").unwrap();
        std::os::unix::fs::symlink("docs/notes", dir.path().join("old/release/link")).unwrap();
        Disk { dir }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    fn relocation(&self) -> Relocation {
        Relocation::into_folder(&self.path("old/release"), &self.path("new")).unwrap()
    }

    fn assert_whole_at(&self, path: &str) {
        let release = self.path(path);
        assert_eq!(fs::read(release.join("image.iso")).unwrap(), vec![7; 100_000]);
        assert_eq!(fs::read(release.join("docs/notes")).unwrap(), b"notes");
        assert_eq!(fs::read_link(release.join("link")).unwrap(), Path::new("docs/notes"));
    }
}

#[test]
fn a_rename_moves_all_and_leaves_nothing() {
    let disk = Disk::new();
    assert!(disk.relocation().rename().unwrap());
    disk.assert_whole_at("new/release");
    assert!(!disk.path("old/release").exists());
}

#[test]
fn a_copy_is_whole_with_times_and_modes_before_the_original_goes() {
    let disk = Disk::new();
    let image = disk.path("old/release/image.iso");
    fs::set_permissions(&image, fs::Permissions::from_mode(0o640)).unwrap();
    let relocation = disk.relocation();
    assert_eq!(relocation.copy(&Meter::new()).unwrap(), 100_005);
    disk.assert_whole_at("old/release");
    disk.assert_whole_at("new/.release.spillway-moving");
    relocation.place_copy().unwrap();
    disk.assert_whole_at("old/release");
    disk.assert_whole_at("new/release");
    let (original, copy) = (fs::metadata(image).unwrap(), fs::metadata(disk.path("new/release/image.iso")).unwrap());
    assert_eq!(original.modified().unwrap(), copy.modified().unwrap());
    assert_eq!(copy.mode() & 0o777, 0o640);
    relocation.set_aside().unwrap();
    assert!(!relocation.has_original() && relocation.has_arrived());
    disk.assert_whole_at("old/.release.spillway-moved");
    relocation.restore_original().unwrap();
    disk.assert_whole_at("old/release");
}

#[test]
fn what_is_there_already_is_never_replaced() {
    let disk = Disk::new();
    fs::create_dir(disk.path("new/release")).unwrap();
    let relocation = disk.relocation();
    assert!(matches!(relocation.rename(), Err(RelocateError::Taken(_))));
    assert!(matches!(relocation.copy(&Meter::new()), Err(RelocateError::Taken(_))));
    disk.assert_whole_at("old/release");
}

#[test]
fn something_that_appears_while_it_is_copied_is_not_replaced_either() {
    let disk = Disk::new();
    let relocation = disk.relocation();
    relocation.copy(&Meter::new()).unwrap();
    fs::write(disk.path("new/release"), b"somebody else's").unwrap();
    assert!(matches!(relocation.place_copy(), Err(RelocateError::Taken(_))));
    assert_eq!(fs::read(disk.path("new/release")).unwrap(), b"somebody else's");
    disk.assert_whole_at("old/release");
}

#[test]
fn the_rest_of_an_interrupted_copy_is_replaced() {
    let disk = Disk::new();
    let relocation = disk.relocation();
    fs::create_dir(relocation.copy_path()).unwrap();
    fs::write(relocation.copy_path().join("image.iso"), b"half").unwrap();
    relocation.copy(&Meter::new()).unwrap();
    disk.assert_whole_at("new/.release.spillway-moving");
}

#[test]
fn a_cancelled_copy_leaves_the_original_and_can_be_dropped() {
    let disk = Disk::new();
    let (relocation, meter) = (disk.relocation(), Meter::new());
    meter.cancel();
    assert!(matches!(relocation.copy(&meter), Err(RelocateError::Cancelled)));
    relocation.drop_copy().unwrap();
    assert!(!relocation.copy_path().exists());
    disk.assert_whole_at("old/release");
}

#[test]
fn a_folder_does_not_go_into_itself() {
    let disk = Disk::new();
    let into = disk.path("old/release/docs");
    let refused = Relocation::into_folder(&disk.path("old/release"), &into);
    assert!(matches!(refused, Err(RelocateError::IntoItself(_))));
}

#[test]
fn a_folder_that_is_not_there_is_an_error_that_names_it() {
    let disk = Disk::new();
    let error = Relocation::into_folder(&disk.path("old/release"), &disk.path("missing")).unwrap_err().to_string();
    assert!(error.contains("missing"), "{error}");
}

#[test]
fn a_pipe_is_refused_instead_of_read_for_ever() {
    let disk = Disk::new();
    rustix::fs::mknodat(
        CWD,
        disk.path("old/release/pipe"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
        0,
    )
    .unwrap();
    assert!(matches!(disk.relocation().copy(&Meter::new()), Err(RelocateError::NotMovable(_))));
}
