//! The way of a request to the service and of its answer back.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::OperatorCall;
use super::types::{Caller, ErrorCode, OperatorError, OperatorReply, OperatorRequest};

/// What the service may take for an answer. What takes longer by nature, such as checking content, it only begins.
pub(super) const REPLY_TIMEOUT: Duration = Duration::from_secs(60);

/// Where requests go.
#[derive(Clone)]
pub(super) struct Queue {
    pub(super) calls: mpsc::Sender<OperatorCall>,
    pub(super) reply_timeout: Duration,
}

impl Queue {
    /// Asks the service and waits for what it says. Changes are logged with who asked.
    pub(super) async fn ask(&self, request: OperatorRequest, caller: Caller) -> OperatorReply {
        let (name, is_change) = (request.name(), request.is_change());
        let torrent = request.torrent().map(|torrent| torrent.0.clone());
        let reply = self.wait(request, caller).await;
        if is_change {
            let (uid, pid) = (caller.uid, caller.pid.unwrap_or(0));
            let torrent = torrent.unwrap_or_default();
            match &reply {
                Ok(_) => tracing::info!(request = name, torrent, uid, pid, "done for the operator"),
                Err(error) => tracing::info!(request = name, torrent, uid, pid, %error, "refused to the operator"),
            }
        }
        reply
    }

    async fn wait(&self, request: OperatorRequest, caller: Caller) -> OperatorReply {
        let (reply, answer) = oneshot::channel();
        self.calls.try_send(OperatorCall { request, caller, reply }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => {
                OperatorError::new(ErrorCode::Busy, "too many requests wait").hint("try again in a moment")
            }
            mpsc::error::TrySendError::Closed(_) => stopping(),
        })?;
        match tokio::time::timeout(self.reply_timeout, answer).await {
            Ok(reply) => reply.map_err(|_| stopping())?,
            Err(_) => Err(OperatorError::new(ErrorCode::TimedOut, "there is no answer yet")
                .hint("it may still happen: look with `spillway ctl list`, and into the log")),
        }
    }
}

fn stopping() -> OperatorError {
    OperatorError::new(ErrorCode::Unavailable, "the service is stopping")
}
