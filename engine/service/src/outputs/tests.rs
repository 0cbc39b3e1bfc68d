use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;
use std::sync::Arc;

use api::releases::ReleaseFile;
use publish::{Becomes, Rule, Rules, manners};
use seedbox::{KnownFiles, Meter};
use settings::Mirror;

use super::*;

/// A tree with a file release and a directory release, and a folder for output files.
struct Tree {
    directory: tempfile::TempDir,
}

impl Tree {
    fn new() -> Tree {
        let tree = Tree { directory: tempfile::tempdir().unwrap() };
        fs::create_dir(tree.directory.path().join("out")).unwrap();
        for (name, size) in [("sub/image.iso", 100_000), ("sub/rel/a b", 50_000), ("sub/rel/deep/empty", 0)] {
            tree.write(name, &vec![7; size]);
        }
        tree
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join("root").join(name)
    }

    fn publish(&self) -> Publish {
        Publish {
            name: "tree".into(),
            root: self.path(""),
            piece_length: Some(settings::Size(16 * 1024)),
            web_seeds: "https://web.example/pub/".parse().into_iter().collect(),
            mirrors: vec![Mirror {
                url: "https://mirror.example/x".parse().unwrap(),
                location: Some("de".into()),
                priority: Some(3),
            }],
            trackers: vec![vec!["http://far.example/announce".into()]],
            ..Publish::default()
        }
    }

    fn recipe(&self) -> Recipe {
        Recipe::new(&self.publish(), &[vec!["http://own.example/announce".into()]], Some("http://own.example:80/"))
    }

    fn recipe_with_output(&self) -> Recipe {
        let output = Some(self.directory.path().join("out"));
        Recipe::new(&Publish { output, ..self.publish() }, &[], Some("http://own.example"))
    }

    fn rules(&self) -> Rules {
        let rule = |glob: &str, becomes| Rule { glob: glob.into(), becomes };
        Rules::new(&[rule("*/*.iso", Becomes::File), rule("*/*", Becomes::Directory)]).unwrap().with_outputs_beside()
    }

    fn prepare(&self, recipe: &Recipe, release: &str) -> Result<Prepared, PrepareError> {
        let meter = Arc::new(Meter::new());
        prepare_release(recipe, &self.rules(), release, &KnownFiles::new(), 1_700_000_000, None, &meter)
    }

    fn outputs(&self, recipe: &Recipe, release: &str) -> Vec<Output> {
        let made = self.prepare(recipe, release).unwrap();
        render(recipe, release, &made.torrent, &made.metainfo, &made.file_sha256).unwrap()
    }
}

fn rows(outputs: &[Output]) -> Vec<catalogue::ReleaseOutput> {
    outputs.iter().map(Output::to_row).collect()
}

fn entries(path: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_release_has_the_trackers_web_seeds_and_sums_of_its_tree() {
    let tree = Tree::new();
    let recipe = tree.recipe();
    let made = tree.prepare(&recipe, "sub/image.iso").unwrap();
    assert_eq!(made.torrent.layout().name(), "image.iso");
    assert_eq!(made.torrent.web_seeds(), ["https://web.example/pub/sub/image.iso"]);
    assert_eq!(made.torrent.trackers(), [["http://own.example/announce"], ["http://far.example/announce"]]);
    assert_eq!(made.file_sha256, [hash::sha256(&vec![7; 100_000])]);
    assert_eq!(made.content.place(), storage::Place::under(tree.path("sub")));
    assert!(!made.is_recalled);

    let made = tree.prepare(&recipe, "sub/rel").unwrap();
    assert_eq!(made.torrent.web_seeds(), ["https://web.example/pub/sub/"]);
    assert_eq!(made.file_sha256, [hash::sha256(&vec![7; 50_000]), hash::sha256(b"")]);
    let own = Recipe::new(&Publish { own_tracker: false, ..tree.publish() }, &[vec!["http://own/".into()]], None);
    assert_eq!(tree.prepare(&own, "sub/rel").unwrap().torrent.trackers(), [["http://far.example/announce"]]);
}

#[test]
fn what_is_not_finished_or_left_out_is_not_in_the_torrent() {
    let tree = Tree::new();
    for name in ["sub/rel/.b.Xk3f9a", "sub/rel/.~tmp~/c", "sub/rel/deep/d.part"] {
        tree.write(name, b"half");
    }
    let made = tree.prepare(&tree.recipe(), "sub/rel").unwrap();
    assert_eq!(made.file_sha256.len(), 2, "{:?}", made.torrent.layout().files());
}

#[test]
fn a_link_that_leads_out_of_the_tree_is_refused_where_links_are_followed() {
    let tree = Tree::new();
    tree.write("pool/x", b"inside");
    symlink("../../pool/x", tree.path("sub/rel/inside")).unwrap();
    let recipe = Recipe::new(&Publish { symlinks: settings::Symlinks::Follow, ..tree.publish() }, &[], None);
    assert_eq!(tree.prepare(&recipe, "sub/rel").unwrap().file_sha256.len(), 3);
    fs::write(tree.directory.path().join("secret"), "outside").unwrap();
    symlink("../../../secret", tree.path("sub/rel/out")).unwrap();
    let error = tree.prepare(&recipe, "sub/rel").unwrap_err().to_string();
    assert!(error.contains("sub/rel/out: this symbolic link leads out of the tree"), "{error}");
    fs::remove_file(tree.path("sub/rel/out")).unwrap();
    symlink(tree.directory.path().join("secret"), tree.path("sub/linked.iso")).unwrap();
    assert!(matches!(tree.prepare(&recipe, "sub/linked.iso"), Err(PrepareError::LeadsOutside { .. })));
}

#[test]
fn what_is_known_from_before_is_not_read_again() {
    let tree = Tree::new();
    let recipe = tree.recipe();
    let first = tree.prepare(&recipe, "sub/rel").unwrap();
    let known = known_files(Arc::clone(&first.torrent), &first.record, &first.file_sha256);
    let again = |known: &KnownFiles| {
        let meter = Arc::new(Meter::new());
        prepare_release(&recipe, &tree.rules(), "sub/rel", known, 1_700_000_000, None, &meter).unwrap()
    };
    let second = again(&known);
    assert!(second.is_recalled);
    assert_eq!((second.metainfo, &second.file_sha256), (first.metainfo, &first.file_sha256));
    // Sums of another torrent are not believed; the pieces still are.
    let known = known_files(Arc::clone(&first.torrent), &first.record, &first.file_sha256[..1]);
    let third = again(&known);
    assert_eq!((third.reused_bytes, third.is_recalled, &third.file_sha256), (50_000, false, &first.file_sha256));
}

#[test]
fn cancelling_is_told_from_failing() {
    let tree = Tree::new();
    let meter = Arc::new(Meter::new());
    meter.cancel();
    let known = KnownFiles::new();
    let error = prepare_release(&tree.recipe(), &tree.rules(), "sub/rel", &known, 0, None, &meter).unwrap_err();
    assert!(error.is_cancelled() && !error.is_changed(), "{error}");
    assert!(!tree.prepare(&tree.recipe(), "sub/nothing").unwrap_err().is_cancelled());
}

#[test]
fn the_same_release_gives_the_same_files_every_time() {
    let tree = Tree::new();
    let recipe = tree.recipe();
    let outputs = tree.outputs(&recipe, "sub/rel");
    assert_eq!(outputs, tree.outputs(&recipe, "sub/rel"));
    let text =
        |file| String::from_utf8(outputs.iter().find(|output| output.file == file).unwrap().bytes.clone()).unwrap();
    let magnets = text(ReleaseFile::Magnet);
    let links: Vec<metainfo::Magnet> = magnets.lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(links.len(), 2);
    assert!(links[0].info_hash_v2.is_some() && links[1].info_hash_v2.is_none());
    assert!(links.iter().all(|link| link.exact_sources[0].starts_with("http://own.example:80/releases/")), "{magnets}");
    assert!(links.iter().all(|link| link.trackers.len() == 2 && link.web_seeds.len() == 1), "{magnets}");
    let metalink = text(ReleaseFile::Metalink);
    assert!(
        metalink.contains("<url location=\"de\" priority=\"3\">https://mirror.example/x/sub/rel/a%20b</url>"),
        "{metalink}"
    );
    assert!(metalink.contains("<published>2023-11-14T22:13:20Z</published>"), "{metalink}");
    assert!(metalink.contains("/rel.torrent</metaurl>"), "{metalink}");
    assert_eq!(text(ReleaseFile::Sha256).lines().count(), 2);
}

#[test]
fn without_a_mirror_or_a_url_there_is_no_metalink() {
    let tree = Tree::new();
    let recipe = Recipe::new(&Publish { mirrors: Vec::new(), ..tree.publish() }, &[], None);
    let outputs = tree.outputs(&recipe, "sub/rel");
    assert!(outputs.len() == 3 && outputs.iter().all(|output| output.file != ReleaseFile::Metalink));
    let made = tree.prepare(&recipe, "sub/rel").unwrap();
    let wrong = render(&recipe, "sub/rel", &made.torrent, &made.metainfo, &made.file_sha256[..1]);
    assert!(matches!(wrong, Err(RenderError::WrongSums)));
}

#[test]
fn sha256sum_agrees_with_what_is_written_beside_a_release() {
    let tree = Tree::new();
    tree.write("sub/rel/it's \"odd\" ü", b"odd");
    let recipe = tree.recipe();
    for release in ["sub/rel", "sub/image.iso"] {
        let outputs = tree.outputs(&recipe, release);
        let written = write_outputs(&recipe, release, &outputs, &[]).unwrap();
        assert_eq!(written, Written { written_count: 4, kept_count: 0 });
        let name = format!("{}.sha256", split(release).1);
        let check =
            Command::new("sha256sum").args(["--check", "--strict", &name]).current_dir(tree.path("sub")).output();
        let Ok(check) = check else {
            eprintln!("left out: there is no sha256sum");
            return;
        };
        assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stderr));
    }
    assert_eq!(entries(&tree.path("sub")).len(), 2 + 8);
}

#[test]
fn what_is_there_already_is_kept_and_what_lacks_is_written() {
    let tree = Tree::new();
    let recipe = tree.recipe_with_output();
    let outputs = tree.outputs(&recipe, "sub/rel");
    write_outputs(&recipe, "sub/rel", &outputs, &[]).unwrap();
    // As after a crash between two renames, and with what it left.
    fs::remove_file(&outputs[1].path).unwrap();
    let out = tree.directory.path().join("out/sub");
    fs::write(out.join(temporary_of(&outputs[1])), "half").unwrap();
    let again = write_outputs(&recipe, "sub/rel", &outputs, &[]).unwrap();
    assert_eq!(again, Written { written_count: 1, kept_count: 3 });
    assert_eq!(entries(&out), ["rel.magnet", "rel.meta4", "rel.sha256", "rel.torrent"]);
    assert!(outputs.iter().all(|output| fs::read(&output.path).unwrap() == output.bytes));
}

fn temporary_of(output: &Output) -> String {
    write::temporary(output.path.file_name().unwrap().to_str().unwrap())
}

#[test]
fn a_file_of_somebody_else_is_named_and_nothing_is_written() {
    let tree = Tree::new();
    let recipe = tree.recipe();
    let outputs = tree.outputs(&recipe, "sub/rel");
    tree.write("sub/rel.sha256", b"of the release process");
    let error = write_outputs(&recipe, "sub/rel", &outputs, &[]).unwrap_err();
    assert!(error.to_string().contains("sub/rel.sha256: is not ours"), "{error}");
    assert_eq!(entries(&tree.path("sub")), ["image.iso", "rel", "rel.sha256"]);
    // Unless it is what we wrote before.
    let before = [catalogue::ReleaseOutput {
        path: tree.path("sub/rel.sha256"),
        sha256: hash::sha256(b"of the release process"),
    }];
    assert_eq!(write_outputs(&recipe, "sub/rel", &outputs, &before).unwrap().written_count, 4);
}

#[test]
fn nothing_is_written_or_removed_through_a_link() {
    let tree = Tree::new();
    let recipe = tree.recipe_with_output();
    let outputs = tree.outputs(&recipe, "sub/rel");
    let elsewhere = tree.directory.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    let folder = tree.directory.path().join("out/sub");
    symlink(&elsewhere, &folder).unwrap();
    let error = write_outputs(&recipe, "sub/rel", &outputs, &[]).unwrap_err();
    assert!(error.to_string().contains("out/sub: cannot enter the folder"), "{error}");
    assert!(remove_outputs(&recipe, "sub/rel", &rows(&outputs)).is_err());
    fs::remove_file(&folder).unwrap();
    fs::create_dir(&folder).unwrap();
    let target = elsewhere.join("target");
    fs::write(&target, &outputs[0].bytes).unwrap();
    symlink(&target, &outputs[0].path).unwrap();
    assert!(matches!(write_outputs(&recipe, "sub/rel", &outputs, &rows(&outputs)), Err(OutputError::Foreign { .. })));
    let removed = remove_outputs(&recipe, "sub/rel", &rows(&outputs)).unwrap();
    assert_eq!((removed.removed_count, removed.foreign), (0, vec![outputs[0].path.clone()]));
    assert_eq!(fs::read(&target).unwrap(), outputs[0].bytes);
}

#[test]
fn what_was_written_is_removed_with_its_empty_folders_and_nothing_else() {
    let tree = Tree::new();
    let recipe = tree.recipe_with_output();
    let outputs = tree.outputs(&recipe, "sub/rel");
    write_outputs(&recipe, "sub/rel", &outputs, &[]).unwrap();
    fs::write(&outputs[2].path, "changed by hand").unwrap();
    let removed = remove_outputs(&recipe, "sub/rel", &rows(&outputs)).unwrap();
    assert_eq!((removed.removed_count, removed.foreign), (3, vec![outputs[2].path.clone()]));
    fs::remove_file(&outputs[2].path).unwrap();
    assert_eq!(remove_outputs(&recipe, "sub/rel", &rows(&outputs)).unwrap(), Removed::default());
    assert_eq!(entries(&tree.directory.path().join("out")), Vec::<String>::new());
    assert_eq!(remove_outputs(&recipe, "sub/rel", &rows(&outputs)).unwrap(), Removed::default());
}

#[test]
fn a_row_of_the_catalogue_cannot_name_a_file_elsewhere() {
    let tree = Tree::new();
    let recipe = tree.recipe();
    let victim = tree.directory.path().join("victim");
    fs::write(&victim, "precious").unwrap();
    for path in [victim.clone(), tree.path("sub/../../victim"), tree.path("image.iso"), tree.path("sub/..")] {
        let rows = [catalogue::ReleaseOutput { path, sha256: hash::sha256(b"precious") }];
        let error = remove_outputs(&recipe, "sub/rel", &rows).unwrap_err();
        assert!(matches!(error, OutputError::Outside { .. }), "{error}");
    }
    assert!(victim.exists());
}

#[test]
fn output_files_and_their_temporaries_are_not_taken_for_content() {
    let tree = Tree::new();
    let recipe = tree.recipe();
    for output in tree.outputs(&recipe, "sub/rel") {
        let temporary = temporary_of(&output);
        assert!(manners::is_temporary(&temporary), "{temporary}");
        assert!(temporary.len() < 64);
    }
}
