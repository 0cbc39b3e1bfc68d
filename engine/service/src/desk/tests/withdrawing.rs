//! Releases that are withdrawn, and a process that is killed right after that.

use std::net::TcpListener;

use catalogue::{Release, ReleaseState};
use settings::{Period, Secret, Webhook, WebhookEvent};

use super::*;
use crate::webhooks::Webhooks;

/// The catalogue as a kill at this moment leaves it.
fn killed(bench: &Bench, name: &str) -> PathBuf {
    let copy = bench.dir.path().join(name);
    fs::create_dir_all(&copy).unwrap();
    for file in fs::read_dir(bench.dir.path().join("state")).unwrap().map(Result::unwrap) {
        if file.file_type().unwrap().is_file() {
            fs::copy(file.path(), copy.join(file.file_name())).unwrap();
        }
    }
    copy
}

/// What waits for each URL after a start and an end of the webhooks; nobody answers them.
async fn told(catalogue: &Catalogue, listener: &TcpListener) -> Vec<(String, Vec<String>)> {
    let address = listener.local_addr().unwrap();
    let hook = |path: &str, events: Vec<WebhookEvent>| Webhook {
        url: format!("http://{address}/{path}").parse().unwrap(),
        secret: Some(Secret::new("hush")),
        secret_file: None,
        events,
        timeout: Period(Duration::from_secs(60)),
        attempts: 9,
    };
    let all = [hook("all", WebhookEvent::ALL.to_vec()), hook("more", vec![WebhookEvent::Withdrawn])];
    let webhook = all.into_iter().chain([hook("errors", vec![WebhookEvent::Error])]).collect();
    let (handle, _, _events) = DeskHandle::new();
    let settings = Settings { webhook, ..Settings::default() };
    Webhooks::start(catalogue.clone(), handle.events(), &settings).unwrap().stop().await;
    let counts = catalogue.delivery_counts().unwrap();
    let events = |target: &str| catalogue.deliveries(target).unwrap().into_iter().map(|one| one.event).collect();
    counts.into_iter().map(|(target, _)| (events(&target), target)).map(|(events, target)| (target, events)).collect()
}

#[test]
fn a_withdrawal_before_a_kill_is_told_once_to_each_url_that_wants_it() {
    Bench::new(|_, _| {}).run(async |bench| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        assert_eq!(told(&bench.catalogue, &listener).await, []);
        let number = bench.handle.record(release(bench, "image.iso")).await.unwrap().torrent;
        bench.handle.open(number).await.unwrap();
        bench.handle.withdraw(number, "its content is gone").await.unwrap();
        let withdrawn = killed(bench, "withdrawn");
        bench.handle.forget(number).await.unwrap();
        for left in [withdrawn, killed(bench, "forgotten")] {
            for _ in 0..2 {
                let (catalogue, _) = Catalogue::open(&left).unwrap();
                let told = told(&catalogue, &listener).await;
                assert!(told.len() == 2 && told.iter().all(|(_, events)| events[..] == ["withdrawn"]), "{told:?}");
                tokio::task::spawn_blocking(|| catalogue.close()).await.unwrap();
            }
        }
    });
}

#[test]
fn what_a_withdrawn_release_did_is_kept_with_its_torrent() {
    let mut number = TorrentNumber(0);
    let mut bench = Bench::new(|out, catalogue| {
        number = keep_complete(out, catalogue);
        let release = Release {
            number: catalogue.next_release(),
            label: "images".into(),
            path: "image.iso".into(),
            torrent: Some(number),
            state: ReleaseState::Published,
            published_at_s: Some(1),
            gone_since_s: None,
            withdrawn_at_s: None,
        };
        catalogue.apply_blocking(vec![Change::PutRelease(release)]).unwrap();
    });
    let (mut desk, heard) = bench.desk.take().unwrap();
    bench.runtime.block_on(async {
        let shown = desk.begin().await.unwrap();
        desk.table.get_mut(number).unwrap().served_since = Some(Duration::ZERO);
        tokio::spawn(desk.run(heard));
        shown.await;
        bench.handle.withdraw(number, "its content is gone").await.unwrap();
    });
    assert!(bench.row(number).totals.seeded_s >= 3600);
    assert_eq!(bench.catalogue.releases().unwrap()[0].state, ReleaseState::Withdrawn);
}
