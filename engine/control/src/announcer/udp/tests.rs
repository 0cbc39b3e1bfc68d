//! Many announces to one tracker that says nothing.

use super::*;

const ASKERS: usize = 64;

#[tokio::test]
async fn a_tracker_that_has_died_is_asked_for_all_at_once_and_not_for_each_in_turn() {
    let mute = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let to = mute.local_addr().unwrap();
    let times = UdpTimes { first_wait: Duration::from_millis(20), attempts: 3 };
    let transport = Arc::new(UdpTransport::new(Family::V4, Some(Ipv4Addr::LOCALHOST.into()), times));
    let mut askers = tokio::task::JoinSet::new();
    for _ in 0..ASKERS {
        let transport = Arc::clone(&transport);
        askers.spawn(async move { transport.scrape(to, &[InfoHash([1; 20])]).await });
    }
    while let Some(asked) = askers.join_next().await {
        assert_eq!(asked.unwrap().err(), Some(TransportError::Lost("timed out".to_owned())));
    }
    let mut buffer = [0; 64];
    let mut questions = 0;
    while let Ok(size) = mute.try_recv(&mut buffer) {
        assert_eq!(size, 16, "nobody gets beyond the first question");
        questions += 1;
    }
    // One a round if all run at one pace; each in turn would be three times the askers.
    assert!((1..ASKERS).contains(&questions), "{questions} questions");
}
