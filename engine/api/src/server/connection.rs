//! One connection, from its first request to its end, whatever carries it.

use std::convert::Infallible;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::Instant;

use super::STOP_TIMEOUT;
use super::body::Body;
use super::counters::{Count, Tally};
use super::limits::HttpLimits;
use super::pulse::{Beat, Pulse};

/// Who answers the requests of one connection.
pub(crate) trait Answer: Clone + Send + 'static {
    fn answer(self, request: Request<Incoming>) -> impl Future<Output = Response<Body>> + Send;
}

/// What a connection needs beside its stream.
pub(crate) struct Connection<'a, A> {
    pub(crate) builder: &'a http1::Builder,
    pub(crate) answers: A,
    pub(crate) limits: &'a HttpLimits,
    pub(crate) pulse: Pulse,
    pub(crate) tally: &'a Tally,
}

/// How requests are read.
pub(crate) fn builder(limits: &HttpLimits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        // The pulse bounds it, from the first byte of each request.
        .header_read_timeout(None)
        .max_header_size(limits.max_head_bytes)
        .max_buf_size(limits.max_head_bytes.max(MIN_BUFFER_BYTES))
        // Some clients close their side as soon as they have asked.
        .half_close(true);
    builder
}

/// hyper's own lower bound, below which it panics.
const MIN_BUFFER_BYTES: usize = 8192;

/// Answers requests until the client, the limits or the server's end say that it is enough.
pub(crate) async fn serve<S, A>(stream: S, connection: Connection<'_, A>, mut stopped: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    A: Answer,
{
    let Connection { builder, answers, limits, pulse, tally } = connection;
    let requests_left = AtomicU32::new(limits.max_requests);
    let pulse = &pulse;
    let respond = service_fn(|request: Request<Incoming>| {
        tally.count(Count::Requests);
        let is_last = requests_left.fetch_sub(1, Relaxed) <= 1;
        let answers = answers.clone();
        pulse.answering();
        async move {
            let mut response = answers.answer(request).await;
            pulse.answered();
            if is_last {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(response)
        }
    });
    let connection = builder.serve_connection(TokioIo::new(stream), respond);
    tokio::pin!(connection);
    let patience = tokio::select! {
        ended = connection.as_mut() => {
            if let Some(count) = ended.err().as_ref().and_then(fault) {
                tally.count(count);
            }
            return;
        }
        late = outlive(pulse, limits) => match late {
            // Its answer would be nobody's.
            Beat::LateHead => return tally.count(Count::NoRequestInTime),
            Beat::LongIdle | Beat::Until(_) => limits.connection_life,
        },
        _ = stopped.changed() => STOP_TIMEOUT,
    };
    connection.as_mut().graceful_shutdown();
    let ended = async {
        tokio::select! {
            _ = tokio::time::timeout(patience, connection.as_mut()) => return,
            _ = stopped.changed() => {}
        }
        let _ = tokio::time::timeout(STOP_TIMEOUT, connection.as_mut()).await;
    };
    ended.await;
}

/// Waits until a connection has taken what it may take: for a request, between two, or as a whole.
async fn outlive(pulse: &Pulse, limits: &HttpLimits) -> Beat {
    let end = Instant::now() + limits.connection_life;
    loop {
        match pulse.beat(Instant::now(), limits) {
            Beat::Until(next) if next < end => tokio::time::sleep_until(next).await,
            Beat::Until(_) => {
                tokio::time::sleep_until(end).await;
                return Beat::LongIdle;
            }
            late => return late,
        }
    }
}

/// What a client did that ended its connection, as it is counted. Most ends, resets among them, are no fault.
fn fault(error: &hyper::Error) -> Option<Count> {
    match error {
        error if error.is_parse_too_large() => Some(Count::HeadTooLong),
        error if error.is_parse() => Some(Count::NotHttp),
        _ => None,
    }
}
