//! The client of the operator's socket: one connection, one request after the other.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use api::operator::types::{OperatorError, TorrentRef};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::HOST;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::net::UnixStream;
use tokio::runtime::Runtime;

use crate::failure::Failure;

/// The socket of a service that systemd or root started.
const SYSTEM_SOCKET: &str = "/run/spillway/control.sock";
/// The socket of a service that anybody else started, beneath the folder of his session.
const USER_SOCKET: &str = "spillway/control.sock";
/// The largest answer that is read: a million torrents.
const MAX_REPLY_BYTES: usize = 1 << 30;
/// Longer than the service lets anything take.
const REPLY_TIMEOUT: Duration = Duration::from_secs(90);

/// A connection to a service.
pub(super) struct Client {
    runtime: Runtime,
    sender: SendRequest<Full<Bytes>>,
    path: PathBuf,
}

/// Why a request was not done.
#[derive(Debug)]
pub(super) enum Refusal {
    /// The service says so.
    Service(OperatorError),
    /// There is no service any more, or none that speaks as we do.
    Connection(Failure),
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Failure {
        match refusal {
            Refusal::Service(error) => Failure::new(said(&error)),
            Refusal::Connection(failure) => failure,
        }
    }
}

/// An error and what to do about it, on one line.
pub(super) fn said(error: &OperatorError) -> String {
    match &error.hint {
        Some(hint) => format!("{}: {hint}", error.message),
        None => error.message.clone(),
    }
}

impl Client {
    /// Connects to the service on this socket, or on one of those where it usually is.
    pub(super) fn connect(socket: Option<&Path>) -> Result<Client, Failure> {
        let path = socket.map_or_else(usual_socket, Path::to_owned);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let sender = runtime.block_on(async {
            let stream = UnixStream::connect(&path).await.map_err(|error| why(&path, &error))?;
            let (sender, connection) = handshake(TokioIo::new(stream)).await?;
            tokio::spawn(connection);
            Ok::<_, Failure>(sender)
        })?;
        Ok(Client { runtime, sender, path })
    }

    pub(super) fn get<T: DeserializeOwned>(&mut self, target: &str) -> Result<T, Refusal> {
        self.ask(Method::GET, target, Bytes::new())
    }

    pub(super) fn delete<T: DeserializeOwned>(&mut self, target: &str) -> Result<T, Refusal> {
        self.ask(Method::DELETE, target, Bytes::new())
    }

    pub(super) fn post<T: DeserializeOwned>(&mut self, target: &str, body: &impl Serialize) -> Result<T, Refusal> {
        let body = serde_json::to_vec(body).map_err(|error| Refusal::Connection(error.into()))?;
        self.ask(Method::POST, target, body.into())
    }

    fn ask<T: DeserializeOwned>(&mut self, method: Method, target: &str, body: Bytes) -> Result<T, Refusal> {
        let named = |failure: Failure| Refusal::Connection(failure.context(self.path.display()));
        let request = Request::builder().method(method).uri(target).header(HOST, "spillway").body(Full::new(body));
        let request = request.map_err(|error| named(error.into()))?;
        let sender = &mut self.sender;
        let reply = self.runtime.block_on(async {
            let reply = async { read(sender.send_request(request).await?).await };
            tokio::time::timeout(REPLY_TIMEOUT, reply).await.unwrap_or_else(|_| Err(Failure::new("no answer in time")))
        });
        let (is_done, body) = reply.map_err(named)?;
        if is_done {
            return serde_json::from_slice(&body).map_err(|error| {
                named(Failure::from(error).context("not an answer of this version's (see `spillway ctl version`)"))
            });
        }
        #[derive(Deserialize)]
        struct Wrapped {
            error: OperatorError,
        }
        match serde_json::from_slice(&body) {
            Ok(Wrapped { error }) => Err(Refusal::Service(error)),
            Err(_) => Err(named(Failure::new("what answers there is no spillway service"))),
        }
    }
}

async fn read(reply: Response<Incoming>) -> Result<(bool, Bytes), Failure> {
    let is_done = reply.status().is_success();
    let body = Limited::new(reply.into_body(), MAX_REPLY_BYTES).collect().await;
    let body =
        body.map_err(|error| Failure::new(error).context("the answer broke off (the service's log says why)"))?;
    Ok((is_done, body.to_bytes()))
}

/// The path of something about one torrent, whatever it is called by.
pub(super) fn torrent_path(torrent: &TorrentRef, rest: &str) -> String {
    format!("/v1/torrents/{}{rest}", utf8_percent_encode(&torrent.0, NON_ALPHANUMERIC))
}

/// The system's if it is there or if there can be no other.
fn usual_socket() -> PathBuf {
    let own = std::env::var_os("XDG_RUNTIME_DIR").map(|folder| Path::new(&folder).join(USER_SOCKET));
    let system = PathBuf::from(SYSTEM_SOCKET);
    match own {
        Some(own) if own.exists() && !system.exists() => own,
        _ => system,
    }
}

/// Why there is no connection, and what to do.
fn why(path: &Path, error: &io::Error) -> Failure {
    let advice = match error.kind() {
        io::ErrorKind::NotFound => {
            "there is no such socket: is `spillway serve` running? --socket names that of another service".to_owned()
        }
        io::ErrorKind::ConnectionRefused => {
            "nobody answers: `spillway serve` has died (`systemctl status spillway`, or start it again)".to_owned()
        }
        io::ErrorKind::PermissionDenied => match group_of(path) {
            Some(group) => format!("permission denied: join the group {group} (and log in again), or use sudo"),
            None => "permission denied: join the socket's group, or use sudo".to_owned(),
        },
        _ => error.to_string(),
    };
    Failure::new(advice).context(path.display())
}

fn group_of(path: &Path) -> Option<String> {
    let number = path.symlink_metadata().ok()?.gid();
    let group = nix::unistd::Group::from_gid(number.into()).ok().flatten();
    Some(group.map_or_else(|| number.to_string(), |group| group.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torrent_of_any_name_is_one_part_of_a_path() {
        let path = |name: &str| torrent_path(&TorrentRef(name.to_owned()), "/stop");
        assert_eq!(path("7"), "/v1/torrents/7/stop");
        assert_eq!(path("../a b?"), "/v1/torrents/%2E%2E%2Fa%20b%3F/stop");
    }

    #[test]
    fn an_error_and_its_hint_are_one_line() {
        let error = OperatorError::new(api::operator::types::ErrorCode::Busy, "too many").hint("wait");
        assert_eq!(said(&error), "too many: wait");
    }
}
