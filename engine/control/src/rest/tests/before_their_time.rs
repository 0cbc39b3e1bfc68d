//! Torrents at rest that are under embargo, and content that is told of too late.

use super::*;
use crate::TorrentOrder;
use crate::rechecking::{CheckError, Checked, ContentCheck, RecheckReport};
use crate::registry::NewTorrent;
use mesh::Wakes;
use storage::Progress;
use swarm::{Gate, TorrentLimits};

fn shut() -> Arc<Gate> {
    Arc::new(Gate::new(None, Vec::new(), None).unwrap())
}

impl Bench {
    async fn add_under(&self, sleeper: &Sleeper, gate: &Arc<Gate>) -> TorrentId {
        let terms = Arc::new(Terms::with(TorrentLimits::default(), Some(gate.clone())));
        let (reply, answer) = oneshot::channel();
        let torrents = vec![AtRest { terms, ..sleeper.at_rest() }];
        assert!(self.orders.send(Order::AddMany { torrents, reply }).await.is_ok());
        answer.await.unwrap().remove(0).unwrap()
    }

    fn wakes(&self, sleeper: &Sleeper) -> bool {
        matches!(self.names.wakes(sleeper.torrent.info_hashes().next().unwrap()), Wakes::Torrent(_))
    }
}

#[tokio::test]
async fn a_stranger_can_wake_a_torrent_that_could_not_be_loaded_when_its_time_has_come_and_not_before() {
    let bench = Bench::with(1, Duration::MAX, |sleep| sleep.broken_pause = 2 * DEADLINE);
    let (sleeper, gate) = (Sleeper::new("a"), shut());
    sleeper.fails_with(changed);
    let id = bench.add_under(&sleeper, &gate).await;
    assert!(!bench.wakes(&sleeper), "while it is loaded");
    bench.refused().await;
    assert!(!bench.wakes(&sleeper), "when that has failed");
    sleeper.recovers();
    gate.open();
    bench.until(|_| bench.wakes(&sleeper)).await;
    assert!(bench.is_tracked(&sleeper));
    bench.say(Event::Wanted { id });
    bench.served().await;
}

#[tokio::test]
async fn what_could_not_be_loaded_before_its_time_is_tried_again_though_nobody_can_ask() {
    let bench = Bench::new(1, Duration::MAX);
    let sleeper = Sleeper::new("a");
    sleeper.fails_with(changed);
    bench.add_under(&sleeper, &shut()).await;
    bench.refused().await;
    sleeper.recovers();
    while !matches!(bench.said(0).await, Command::Serve { .. }) {}
    assert!(bench.status().await.torrents[0].error.is_none() && !bench.wakes(&sleeper));
}

/// A check that ends when it is told, and finds all in order.
struct Patient {
    end: Mutex<Option<std::sync::mpsc::Receiver<()>>>,
    found: Arc<Seeded>,
}

impl ContentCheck for Patient {
    fn check(&self, _: &Arc<Torrent>) -> Result<Checked, CheckError> {
        if let Some(end) = self.end.lock().unwrap().take() {
            let _ = end.recv_timeout(DEADLINE);
        }
        Ok(Checked { report: RecheckReport::default(), seeded: Some(self.found.clone()) })
    }

    fn progress(&self) -> Progress {
        Progress::default()
    }

    fn cancel(&self) {}
}

#[tokio::test]
async fn a_late_word_of_content_that_was_given_up_does_not_mark_what_is_found_in_its_place() {
    let bench = Bench::new(1, Duration::MAX);
    let sleeper = Sleeper::new("a");
    let torrent = NewTorrent { seeded: sleeper.source.load().unwrap(), terms: Arc::default(), tiers: Arc::default() };
    let (reply, answer) = oneshot::channel();
    assert!(bench.orders.send(Order::Add { torrent, reply }).await.is_ok());
    let id = answer.await.unwrap().unwrap();
    bench.served().await;
    let (end, ended) = std::sync::mpsc::channel();
    let found = sleeper.source.load().unwrap();
    let check = Arc::new(Patient { end: Mutex::new(Some(ended)), found: found.clone() });
    let (reply, answer) = oneshot::channel();
    let order = TorrentOrder::Recheck { torrent: sleeper.torrent.clone(), check, reply };
    assert!(bench.orders.send(Order::About { id, order }).await.is_ok());
    answer.await.unwrap().unwrap();
    assert!(matches!(bench.said(0).await, Command::Withdraw { .. }));
    // A shard had seen that the old content is not what it was, before it read that.
    bench.say(Event::TorrentFailed { id });
    assert_eq!(bench.status().await.torrents[0].error, None);
    end.send(()).unwrap();
    assert!(Arc::ptr_eq(&bench.served().await, &found));
    bench.say(Event::TorrentFailed { id });
    let status = bench.status().await;
    assert_eq!((status.torrents[0].error.clone(), bench.is_tracked(&sleeper)), (None, true));
}
