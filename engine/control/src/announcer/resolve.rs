//! Names of trackers to addresses: looked up once for all who ask at the same time, remembered for a while, and never
//! more than a few at once. Ten thousand torrents at one tracker make one question.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OnceCell, Semaphore};
use tracker::Family;

/// How long an answer is believed; the system's resolver does not tell its time to live.
const KEEP_FOR: Duration = Duration::from_secs(300);
/// How long a failure is.
const KEEP_FAILURE_FOR: Duration = Duration::from_secs(15);
/// Names that are remembered.
const MAX_NAMES: usize = 1024;
/// Questions under way; each holds a thread of the blocking pool until the system gives up.
const MAX_QUESTIONS: usize = 32;
/// How long an answer is waited for. The system may go on for longer, but one dead name server must not hold up the
/// names that others know.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// The resolver of all announces, or of all web seeds.
pub(crate) struct Resolver {
    names: Mutex<HashMap<String, Entry>>,
    questions: Semaphore,
}

/// One name's answer, there or on its way.
struct Entry {
    cell: Arc<OnceCell<Lookup>>,
    asked: Instant,
}

type Lookup = Result<Vec<IpAddr>, Arc<str>>;

impl Resolver {
    pub(crate) fn new() -> Resolver {
        Resolver { names: Mutex::default(), questions: Semaphore::new(MAX_QUESTIONS) }
    }

    /// The addresses of `host` in one family; empty if it has none in that family.
    pub(super) async fn lookup(&self, host: &str, family: Family) -> Result<Vec<IpAddr>, Arc<str>> {
        if let Ok(ip) = host.parse::<IpAddr>() {
            return Ok(if Family::of(ip) == family { vec![ip] } else { Vec::new() });
        }
        let all = self.lookup_all(host).await?;
        Ok(all.into_iter().filter(|ip| Family::of(*ip) == family).collect())
    }

    /// The addresses of the name `host` in both families.
    pub(crate) async fn lookup_all(&self, host: &str) -> Result<Vec<IpAddr>, Arc<str>> {
        self.cell(host).get_or_init(|| self.ask(host)).await.clone()
    }

    /// Answers for `host` from now on, as long as any answer is believed.
    #[cfg(test)]
    pub(crate) async fn remember(&self, host: &str, ips: &[IpAddr]) {
        self.cell(host).get_or_init(async || Ok(ips.to_vec())).await.clone().unwrap();
    }

    /// The cell of a name, a fresh one if the last answer is too old.
    fn cell(&self, host: &str) -> Arc<OnceCell<Lookup>> {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        if names.len() >= MAX_NAMES && !names.contains_key(host) {
            names.retain(|_, entry| entry.is_fresh());
            if names.len() >= MAX_NAMES {
                names.clear();
            }
        }
        let entry = names.entry(host.to_owned()).or_insert_with(Entry::new);
        if !entry.is_fresh() {
            *entry = Entry::new();
        }
        Arc::clone(&entry.cell)
    }

    async fn ask(&self, host: &str) -> Lookup {
        // The semaphore is never closed.
        let _permit = self.questions.acquire().await;
        match tokio::time::timeout(ANSWER_TIMEOUT, tokio::net::lookup_host((host, 0))).await {
            Ok(Ok(addresses)) => Ok(addresses.map(|address| address.ip().to_canonical()).collect()),
            Ok(Err(error)) => Err(error.to_string().into()),
            Err(_) => Err("the name server does not answer".into()),
        }
    }
}

impl Entry {
    fn new() -> Entry {
        Entry { cell: Arc::new(OnceCell::new()), asked: Instant::now() }
    }

    fn is_fresh(&self) -> bool {
        match self.cell.get() {
            None => true,
            Some(Ok(_)) => self.asked.elapsed() < KEEP_FOR,
            Some(Err(_)) => self.asked.elapsed() < KEEP_FAILURE_FOR,
        }
    }
}
