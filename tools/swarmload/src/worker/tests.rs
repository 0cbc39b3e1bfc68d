//! How a thread's connections come, go and owe, event by event, towards a listener that says nothing.

use std::net::{SocketAddr, TcpListener};

use clap::Parser;

use super::*;
use crate::asked::Batch;
use crate::clock::SECOND_NS;

/// A thread of the load with these options, and nothing dialled.
fn with_worker(target: SocketAddr, options: &str, test: impl FnOnce(&mut Worker<'_>, &Board)) {
    let target = target.to_string();
    let fixed = ["swarmload", target.as_str(), "--torrent", "content.torrent"];
    let args = Args::parse_from(fixed.into_iter().chain(options.split_whitespace()));
    let (content, window, board) = (Content::sample(64, 32 * 1024), Window::new(), Board::default());
    let shared = Shared { args: &args, content: &content, clock: Clock::start(), window: &window, seed: 1 };
    let slots = crate::run::share(&args).remove(0);
    let rate = args.rate.map(|rate| rate as f64);
    test(&mut Worker::new(&shared, &board, slots, rate).unwrap(), &board);
}

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Dials all and waits until all are connected.
fn connect_all(worker: &mut Worker<'_>) {
    worker.dial_more(worker.shared.clock.now_ns()).unwrap();
    while worker.connecting > 0 {
        let mut events = Vec::with_capacity(EVENTS);
        epoll::wait(&worker.epoll, rustix::buffer::spare_capacity(&mut events), None).unwrap();
        events.iter().for_each(|event| worker.on_event(event.data.u64(), event.flags));
    }
}

/// Has a connection ask for so many blocks, which the schedule wanted at `scheduled_ns`.
fn ask(worker: &mut Worker<'_>, place: usize, blocks: u32, scheduled_ns: u64) {
    let (content, now_ns) = (worker.shared.content, worker.shared.clock.now_ns());
    let connection = worker.slots[place].connection.as_mut().unwrap();
    connection.leech.choked = false;
    connection.ask(0, blocks, now_ns, scheduled_ns, content, &mut worker.scratch).unwrap();
}

/// A connect that fails at once was begun again and again, for ever.
#[test]
fn a_connect_that_cannot_begin_rests_before_it_is_begun_again() {
    let (_listener, target) = listener();
    // Documentation's own addresses (RFC 5737) are nobody's to bind.
    with_worker(target, "--connections 0 --metadata 3 --sources 192.0.2.1", |worker, _| {
        let failed = |worker: &Worker<'_>| worker.tally.errors.get("no-source-address").copied();
        worker.dial_more(0).unwrap();
        worker.dial_more(0).unwrap();
        assert_eq!((failed(worker), worker.to_dial.len(), worker.resting.len()), (Some(3), 0, 3));
        let rested_ns = worker.resting.back().unwrap().allowed_ns;
        assert!(rested_ns >= SECOND_NS);
        worker.dial_more(rested_ns).unwrap();
        assert_eq!((failed(worker), worker.resting.len()), (Some(6), 3));
    });
}

/// The window could open while connects were still under way.
#[test]
fn a_connection_is_pending_until_it_has_connected_or_failed() {
    let (_listener, target) = listener();
    with_worker(target, "--connections 2 --metadata 1", |worker, board| {
        worker.dial_more(0).unwrap();
        assert_eq!((worker.connecting, board.pending.load(Relaxed)), (3, 2));
        connect_all(worker);
        assert_eq!((board.connected.load(Relaxed), board.pending.load(Relaxed)), (2, 0));
        worker.conclude(0, Err("closed"));
        assert_eq!((board.connected.load(Relaxed), board.pending.load(Relaxed)), (1, 0));
    });
    with_worker(target, "--connections 2 --sources 192.0.2.1", |worker, board| {
        assert_eq!(board.pending.load(Relaxed), 2);
        worker.dial_more(0).unwrap();
        assert_eq!(board.pending.load(Relaxed), 0);
    });
}

#[test]
fn who_waits_for_its_turn_to_be_dialled_waits_since_the_first_dial() {
    let (_listener, target) = listener();
    with_worker(target, "--connections 300", |worker, _| {
        worker.dial_more(0).unwrap();
        let left = worker.to_dial.len();
        assert!((1..300).contains(&left), "{left} of 300 wait");
        worker.connecting = 0; // As if they had connected.
        worker.dial_more(0).unwrap();
        let (first, last) =
            (worker.slots[0].connection.as_ref().unwrap(), worker.slots[299].connection.as_ref().unwrap());
        assert_eq!((Some(last.allowed_ns), last.allowed_ns), (worker.tally.first_dial_ns, first.allowed_ns));
        assert!(last.dialled_ns > last.allowed_ns);
    });
}

/// Draws that met slow readers and metadata fetchers were lost.
#[test]
fn churn_strikes_as_often_as_asked_whoever_else_is_there() {
    let (_listener, target) = listener();
    with_worker(target, "--connections 8 --metadata 50 --slow 40:1MB --churn 8", |worker, _| {
        connect_all(worker);
        worker.churn(SECOND_NS, 5);
        assert_eq!((worker.tally.churned, worker.to_dial.len()), (8, 8));
        assert!(worker.to_dial.iter().all(|next| next.place < 8 && next.allowed_ns == 5));
    });
}

#[test]
fn what_a_failed_connection_owed_is_counted_and_what_churn_closed_is_not() {
    let (_listener, target) = listener();
    with_worker(target, "--connections 3 --churn 1", |worker, _| {
        connect_all(worker);
        (0..3).for_each(|place| ask(worker, place, 5, 0));
        worker.conclude(0, Err("closed"));
        assert_eq!(worker.tally.abandoned_blocks, 0, "nothing is measured yet");
        worker.open_window();
        worker.slots[1].connection.as_mut().unwrap().leech.asked.void();
        worker.slots[1].connection.as_mut().unwrap().due_blocks = 2;
        worker.conclude(1, Err("closed"));
        assert_eq!(worker.tally.abandoned_blocks, 7, "five that a choke took back and two that were due");
        worker.churn(SECOND_NS, 0);
        assert_eq!((worker.tally.churned, worker.tally.abandoned_blocks), (1, 7));
    });
}

/// A request that a choke took back left the schedule, and its answer looked as fast as any.
#[test]
fn what_was_taken_back_is_asked_for_beside_what_is_due_and_keeps_its_schedule() {
    let (_listener, target) = listener();
    with_worker(target, "--connections 1 --depth 10 --rate 1MB/s", |worker, _| {
        connect_all(worker);
        ask(worker, 0, 3, 100);
        let connection = worker.slots[0].connection.as_mut().unwrap();
        connection.leech.asked.void();
        connection.due.push_back(Batch { sent_ns: 0, scheduled_ns: 900, blocks: 2 });
        connection.due_blocks = 2;
        worker.serve_due(0, u32::MAX, 1000).unwrap();
        let connection = worker.slots[0].connection.as_mut().unwrap();
        assert_eq!((connection.owed_blocks(), connection.due_blocks, connection.oldest_owed_ns()), (5, 0, Some(100)));
        let mut seen = Vec::new();
        connection.leech.asked.answered(5, |batch| seen.push((batch.sent_ns, batch.scheduled_ns, batch.blocks)));
        assert_eq!(seen, [(1000, 100, 3), (1000, 900, 2)]);
    });
}

/// Every request of the schedule asked again for all that had been rejected: a thousand times the rate.
#[test]
fn a_seeder_that_rejects_everything_is_offered_twice_the_rate_at_most() {
    let (_listener, target) = listener();
    with_worker(target, "--connections 1 --depth 50 --rate 16384kB/s", |worker, _| {
        connect_all(worker);
        ask(worker, 0, 40, 100);
        let connection = worker.slots[0].connection.as_mut().unwrap();
        connection.was_unchoked = true;
        connection.leech.asked.void();
        worker.schedule = Some(Schedule::new(0, 16384e3, 16_384));
        worker.offer(3_500_000);
        let connection = worker.slots[0].connection.as_ref().unwrap();
        let asked = &connection.leech.asked;
        assert_eq!(
            (asked.open(), asked.voided(), connection.due_blocks),
            (4 + 4, 36, 0),
            "four are due, and four again"
        );
    });
}

#[test]
fn what_the_schedule_wants_while_nobody_can_be_asked_is_counted() {
    let (_listener, target) = listener();
    with_worker(target, "--connections 1 --rate 16384kB/s --burst 4", |worker, _| {
        worker.offer(SECOND_NS);
        assert_eq!(worker.tally.abandoned_blocks, 0, "nothing is measured yet");
        worker.open_window();
        worker.offer(2 * SECOND_NS);
        assert!((996..=1004).contains(&worker.tally.abandoned_blocks), "{}", worker.tally.abandoned_blocks);
    });
}
