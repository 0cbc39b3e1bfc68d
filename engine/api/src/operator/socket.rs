//! The socket's file: made with its permissions before anybody can connect, taken over from a service that died, left
//! alone where one lives.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt, chown};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use nix::unistd::Group;
use socket2::{Domain, SockAddr, Socket, Type};

/// The socket that an operator connects to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SocketSettings {
    /// Its file.
    pub path: PathBuf,
    /// Its permissions; who may write may connect.
    pub mode: u32,
    /// The group that it belongs to, by name or number; the service's own if it is not said.
    pub group: Option<String>,
}

impl SocketSettings {
    /// A socket for its owner and the service's group.
    pub fn new(path: PathBuf) -> SocketSettings {
        SocketSettings { path, mode: 0o660, group: None }
    }
}

/// Why there can be no socket. Each says what to change.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Another service answers there.
    #[error("{}: {} answers there already: stop it, or choose another socket", path.display(), process(*pid))]
    InUse {
        /// The socket's file.
        path: PathBuf,
        /// Its process, if the kernel tells.
        pid: Option<i32>,
    },
    /// Something else lies there.
    #[error("{}: this is no socket: choose another path, or remove it", .0.display())]
    NotASocket(PathBuf),
    /// Anybody could put a socket of his own in its place.
    #[error("{}: everybody may replace files there: choose another folder for the socket, or chmod o-w", .0.display())]
    OpenFolder(PathBuf),
    /// There is no such group.
    #[error("there is no group {0:?}: create it, or name another for the socket")]
    Group(String),
    /// The system refuses.
    #[error("{}: cannot {action}: {source}", path.display())]
    System {
        /// Which path.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// What the system says.
        source: io::Error,
    },
}

/// More than will ever wait for one accept.
const BACKLOG: i32 = 64;

/// A socket that listens, and its file.
pub(super) struct OwnSocket {
    pub(super) path: PathBuf,
    /// Device and inode: whether the file there is still ours.
    identity: (u64, u64),
}

/// Makes the socket.
pub(super) fn bind(settings: &SocketSettings) -> Result<(UnixListener, OwnSocket), SocketError> {
    let path = settings.path.as_path();
    let failed = |action| system(path, action);
    let group = settings.group.as_deref().map(group).transpose()?;
    check_folder(path)?;
    make_way(path)?;
    // Beside its place, so that there is never a socket there which nobody answers, or whose permissions are still to come.
    let beside = beside(path);
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(failed("remove what a dead service left")(error));
        }
        _ => {}
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None).map_err(failed("make a socket"))?;
    let address = SockAddr::unix(&beside).map_err(failed("listen there"))?;
    socket.bind(&address).map_err(failed("listen there"))?;
    let placed = place(&socket, settings, group, &beside);
    if placed.is_err() {
        let _ = fs::remove_file(&beside);
    }
    let identity = placed?;
    Ok((socket.into(), OwnSocket { path: path.to_owned(), identity }))
}

fn place(
    socket: &Socket,
    settings: &SocketSettings,
    group: Option<u32>,
    beside: &Path,
) -> Result<(u64, u64), SocketError> {
    let failed = |action| system(&settings.path, action);
    let permissions = fs::Permissions::from_mode(settings.mode & 0o777);
    if group.is_some() {
        chown(beside, None, group).map_err(failed("give it to that group (the service must be a member)"))?;
    }
    fs::set_permissions(beside, permissions).map_err(failed("set its permissions"))?;
    socket.set_nonblocking(true).map_err(failed("listen there"))?;
    // Until now connecting was refused.
    socket.listen(BACKLOG).map_err(failed("listen there"))?;
    let data = fs::symlink_metadata(beside).map_err(failed("listen there"))?;
    fs::rename(beside, &settings.path).map_err(failed("put the socket in its place"))?;
    Ok((data.dev(), data.ino()))
}

impl Drop for OwnSocket {
    /// Whoever took the place over keeps it.
    fn drop(&mut self) {
        let data = fs::symlink_metadata(&self.path).ok();
        if data.is_some_and(|data| (data.dev(), data.ino()) == self.identity) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    name.into()
}

/// The folder must be there, or be made, and not be everybody's.
fn check_folder(path: &Path) -> Result<(), SocketError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let data = match fs::metadata(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::DirBuilder::new().mode(0o755).create(folder).map_err(system(folder, "make the socket's folder"))?;
            return Ok(());
        }
        data => data.map_err(system(folder, "look at the socket's folder"))?,
    };
    const OTHERS_WRITE: u32 = 0o002;
    const STICKY: u32 = 0o1000;
    if data.mode() & OTHERS_WRITE != 0 && data.mode() & STICKY == 0 {
        return Err(SocketError::OpenFolder(folder.to_owned()));
    }
    Ok(())
}

/// A socket that nobody answers may be replaced; nothing else.
fn make_way(path: &Path) -> Result<(), SocketError> {
    let data = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        data => data.map_err(system(path, "look at the socket's place"))?,
    };
    if !data.file_type().is_socket() {
        return Err(SocketError::NotASocket(path.to_owned()));
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None).map_err(system(path, "make a socket"))?;
    // A service whose queue is full answers "not now", and lives.
    socket.set_nonblocking(true).map_err(system(path, "make a socket"))?;
    let address = SockAddr::unix(path).map_err(system(path, "listen there"))?;
    match socket.connect(&address) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        Ok(()) => {
            let pid = rustix::net::sockopt::socket_peercred(&socket).ok().map(|peer| peer.pid.as_raw_nonzero().get());
            Err(SocketError::InUse { path: path.to_owned(), pid })
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            Err(SocketError::InUse { path: path.to_owned(), pid: None })
        }
        Err(error) => Err(system(path, "ask whether a service answers there")(error)),
    }
}

fn group(name: &str) -> Result<u32, SocketError> {
    if let Ok(number) = name.parse() {
        return Ok(number);
    }
    let found = Group::from_name(name).ok().flatten();
    found.map(|group| group.gid.as_raw()).ok_or_else(|| SocketError::Group(name.to_owned()))
}

fn system(path: &Path, action: &'static str) -> impl Fn(io::Error) -> SocketError {
    move |source| SocketError::System { path: path.to_owned(), action, source }
}

fn process(pid: Option<i32>) -> String {
    pid.map_or_else(|| "a service".to_owned(), |pid| format!("process {pid}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(folder: &Path) -> SocketSettings {
        SocketSettings::new(folder.join("control.sock"))
    }

    #[test]
    fn a_socket_has_its_permissions_and_goes_with_the_service() {
        let folder = tempfile::tempdir().unwrap();
        let settings = SocketSettings { mode: 0o600, ..settings(folder.path()) };
        let (listener, own) = bind(&settings).unwrap();
        let data = fs::symlink_metadata(&settings.path).unwrap();
        assert!(data.file_type().is_socket());
        assert_eq!(data.mode() & 0o777, 0o600);
        drop((listener, own));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_live_service_is_left_alone_and_a_dead_ones_socket_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let settings = settings(folder.path());
        let (listener, own) = bind(&settings).unwrap();
        let refused = bind(&settings).err().unwrap();
        let ours = std::process::id() as i32;
        assert!(matches!(refused, SocketError::InUse { pid: Some(pid), .. } if pid == ours), "{refused}");
        // Dead without a word: the file stays.
        drop(listener);
        let (_listener, _next) = bind(&settings).unwrap();
        drop(own);
        assert!(settings.path.exists(), "the dead service's end leaves the new one's socket");
    }

    #[test]
    fn what_is_no_socket_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let settings = settings(folder.path());
        fs::write(&settings.path, "precious").unwrap();
        assert!(matches!(bind(&settings), Err(SocketError::NotASocket(_))));
        assert_eq!(fs::read(&settings.path).unwrap(), b"precious");
        fs::remove_file(&settings.path).unwrap();
        std::os::unix::fs::symlink("/nowhere", &settings.path).unwrap();
        assert!(matches!(bind(&settings), Err(SocketError::NotASocket(_))));
    }

    #[test]
    fn a_folder_of_everybodys_is_refused_and_a_missing_one_is_made() {
        let folder = tempfile::tempdir().unwrap();
        let made = settings(&folder.path().join("spillway"));
        let _kept = bind(&made).unwrap();
        let open = folder.path().join("open");
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(matches!(bind(&settings(&open)), Err(SocketError::OpenFolder(_))));
        fs::set_permissions(&open, fs::Permissions::from_mode(0o1777)).unwrap();
        assert!(bind(&settings(&open)).is_ok(), "as /tmp is");
        assert!(matches!(bind(&settings(&folder.path().join("a/b"))), Err(SocketError::System { .. })));
    }

    #[test]
    fn a_group_that_is_not_there_and_a_path_that_is_too_long_are_errors_in_words() {
        let folder = tempfile::tempdir().unwrap();
        let nobody = SocketSettings { group: Some("no such group".to_owned()), ..settings(folder.path()) };
        assert!(bind(&nobody).err().unwrap().to_string().contains("no group \"no such group\""));
        let long = folder.path().join("x".repeat(120));
        let error = bind(&SocketSettings::new(long)).err().unwrap().to_string();
        assert!(error.contains("cannot listen there"), "{error}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
