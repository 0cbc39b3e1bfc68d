use super::*;

const TICK: Duration = Duration::from_millis(250);

/// A pipeline and the peer behind it, which answers so many blocks a tick.
struct Fixture {
    pipeline: Pipeline,
    now: Duration,
}

impl Fixture {
    fn new(limit: u32) -> Fixture {
        Fixture { pipeline: Pipeline::new(Duration::ZERO, limit, FIRST_DEPTH), now: Duration::ZERO }
    }

    fn tick(&mut self, blocks: u32, delay: Duration) {
        (0..blocks).for_each(|_| self.pipeline.handle_block(BLOCK_SIZE, delay));
        self.now += TICK;
        self.pipeline.handle_tick(self.now);
    }
}

#[test]
fn every_block_of_a_peer_that_gets_faster_adds_a_request() {
    let mut fixture = Fixture::new(PIPELINE_LIMIT);
    let mut blocks = 16;
    while blocks < 600 {
        let before = fixture.pipeline.depth();
        fixture.tick(blocks, Duration::from_millis(1));
        assert_eq!(fixture.pipeline.depth(), before + blocks as usize);
        blocks *= 2;
    }
}

#[test]
fn a_pipeline_settles_at_what_the_rate_needs() {
    let mut fixture = Fixture::new(PIPELINE_LIMIT);
    // 100 blocks a second, 200 ms away: a second of slack, and twice the delay.
    (0..60).for_each(|_| fixture.tick(25, Duration::from_millis(200)));
    assert_eq!(fixture.pipeline.depth(), 140);
    // One that is faster needs no second of slack.
    (0..60).for_each(|_| fixture.tick(5_000, Duration::from_millis(1)));
    assert_eq!(fixture.pipeline.depth(), SLACK_BLOCKS as usize + 40);
    // One that slows down keeps its place for a while.
    fixture.tick(0, Duration::ZERO);
    assert!(fixture.pipeline.depth() > 400);
    (0..60).for_each(|_| fixture.tick(1, Duration::from_millis(200)));
    assert_eq!(fixture.pipeline.depth(), 5);
}

#[test]
fn no_peer_gets_more_requests_than_it_takes() {
    let mut fixture = Fixture::new(40);
    (0..10).for_each(|_| fixture.tick(1_000, Duration::from_millis(50)));
    assert_eq!(fixture.pipeline.depth(), 40);
    fixture.pipeline.set_limit(u32::MAX);
    (0..10).for_each(|_| fixture.tick(30_000, Duration::from_millis(50)));
    assert_eq!(fixture.pipeline.depth(), PIPELINE_LIMIT as usize);
    fixture.pipeline.set_limit(0);
    assert_eq!(fixture.pipeline.depth(), 1);
}

#[test]
fn a_pause_is_no_snub_and_a_slow_peer_has_more_time() {
    let mut fixture = Fixture::new(PIPELINE_LIMIT);
    assert_eq!(fixture.pipeline.patience(16), UNPROVEN_PATIENCE);
    (0..80).for_each(|_| fixture.tick(25, Duration::from_millis(20)));
    assert_eq!(fixture.pipeline.patience(100), LEAST_PATIENCE);
    let mut fixture = Fixture::new(PIPELINE_LIMIT);
    (0..400).for_each(|at| fixture.tick(u32::from(at % 16 == 0), Duration::from_secs(4)));
    assert_eq!(fixture.pipeline.patience(16), SNUB_TIME, "a block in four seconds, sixteen under way");
    assert!(fixture.pipeline.depth() < LEAST_DEPTH as usize, "{}", fixture.pipeline.depth());
}

#[test]
fn a_peer_that_refuses_gets_no_more_than_it_took() {
    let mut fixture = Fixture::new(PIPELINE_LIMIT);
    fixture.tick(500, Duration::from_millis(1));
    fixture.pipeline.handle_reject(100);
    assert_eq!(fixture.pipeline.depth(), 100);
}
