//! Torrents at rest that are under embargo.

use super::*;
use mesh::Wakes;
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
