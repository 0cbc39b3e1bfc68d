//! The limit holds in every window and over long runs, whoever asks and however clocks behave.

use std::sync::atomic::AtomicBool;

use proptest::prelude::*;

use super::*;

fn limiter(rate: u64) -> RateLimiter {
    RateLimiter::new(NonZeroU64::new(rate))
}

fn at_ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[test]
fn without_a_limit_everything_is_granted_at_once() {
    let unlimited = RateLimiter::unlimited();
    assert_eq!(unlimited.take(Duration::ZERO, usize::MAX), usize::MAX);
    assert_eq!(unlimited.next_available(Duration::ZERO), Duration::ZERO);
}

#[test]
fn a_bucket_that_nobody_used_holds_no_more_than_its_burst() {
    let limiter = limiter(1_000_000);
    assert_eq!(limiter.take(at_ms(3_600_000), usize::MAX), 50_000);
    assert_eq!(limiter.take(at_ms(3_600_000), usize::MAX), 0);
}

#[test]
fn a_sender_that_waits_as_told_gets_the_rate_within_five_percent() {
    for rate in [20_000u64, 1_000_000, 125_000_000, 12_500_000_000] {
        let limiter = limiter(rate);
        let mut now = at_ms(1000);
        limiter.take(now, usize::MAX);
        let (mut sent, end) = (0u64, at_ms(11_000));
        loop {
            // Timers are late by up to 3 ms.
            now += limiter.next_available(now) + Duration::from_micros(sent % 3000);
            if now > end {
                break;
            }
            let granted = limiter.take(now, 1 << 30);
            assert!(granted > 0, "the hint promised something");
            sent += granted as u64;
        }
        let expected = rate * 10;
        assert!(sent <= expected + rate / 20 && sent >= expected - expected / 20, "{sent} of {expected} at {rate}");
    }
}

#[test]
fn a_new_rate_holds_from_the_moment_it_is_set() {
    let limiter = limiter(1_000_000);
    limiter.take(at_ms(1000), usize::MAX);
    limiter.set_rate(NonZeroU64::new(100_000));
    let sent: usize = (1001..=2000).map(|ms| limiter.take(at_ms(ms), usize::MAX)).sum();
    assert!((95_000..=105_000).contains(&sent), "{sent}");
    limiter.set_rate(None);
    assert_eq!(limiter.take(at_ms(2000), 1 << 40), 1 << 40);
    limiter.set_rate(NonZeroU64::new(1_000_000));
    let sent: usize = (2001..=3000).map(|ms| limiter.take(at_ms(ms), usize::MAX)).sum();
    assert!((950_000..=1_050_000).contains(&sent), "{sent}");
}

#[test]
fn a_limit_of_a_few_bytes_still_moves() {
    let limiter = limiter(10);
    let mut now = Duration::from_secs(1000);
    limiter.take(now, usize::MAX);
    let mut sent = 0;
    for _ in 0..10 {
        now += limiter.next_available(now);
        sent += limiter.take(now, usize::MAX);
    }
    assert_eq!(sent, 10_240);
    assert!(now >= Duration::from_secs(2024));
}

#[test]
fn the_smaller_of_two_limits_holds_and_the_larger_is_not_used_up() {
    let (global, torrent) = (limiter(10_000_000), limiter(1_000_000));
    let limits = RateLimits { global: &global, group: None, torrent: &torrent };
    let now = at_ms(1000);
    assert_eq!(limits.take(now, usize::MAX), 50_000);
    assert_eq!(global.take(now, usize::MAX), 450_000);
    assert_eq!(limits.take(at_ms(1000), usize::MAX), 0);
    assert!(limits.next_available(now) > Duration::ZERO);
}

#[test]
fn what_the_global_limit_refuses_stays_in_the_torrents_bucket() {
    let (global, torrent) = (limiter(1_000_000), limiter(10_000_000));
    let limits = RateLimits { global: &global, group: None, torrent: &torrent };
    let now = at_ms(1000);
    assert_eq!(limits.take(now, usize::MAX), 50_000);
    assert_eq!(torrent.take(now, usize::MAX), 450_000);
    limits.give_back(50_000);
    assert_eq!(global.take(now, usize::MAX), 50_000);
}

#[test]
fn a_group_that_is_short_takes_nothing_from_the_others() {
    let (global, group, torrent, other) =
        (limiter(1_000_000), limiter(20_480), limiter(10_000_000), RateLimiter::unlimited());
    let short = RateLimits { global: &global, group: Some(&group), torrent: &torrent };
    let free = RateLimits { global: &global, group: None, torrent: &other };
    let now = at_ms(1000);
    assert_eq!(short.take(now, usize::MAX), 1024);
    for _ in 0..1000 {
        assert_eq!(short.take(now, usize::MAX), 0, "the group has spent its part");
    }
    assert_eq!(free.take(now, usize::MAX), 50_000 - 1024, "and nothing else");
    assert_eq!(torrent.take(now, usize::MAX), 500_000 - 1024, "nor does the torrent's own bucket pay for it");
    assert!(short.next_available(now) > Duration::ZERO);
    assert_eq!(short.rate(), NonZeroU64::new(20_480));
    assert_eq!(short.least_grant(16_384), 512);
}

#[test]
fn whoever_waits_for_the_least_grant_gets_it_in_the_end() {
    for rate in [1, 1000, 60_000, 1_000_000] {
        let (global, torrent) = (limiter(rate), limiter(2 * rate));
        let limits = RateLimits { global: &global, group: None, torrent: &torrent };
        let least = limits.least_grant(16_384);
        assert!(least > 0);
        let rested = at_ms(3_600_000);
        assert!(limits.take(rested, 16_384) >= least, "{rate} bytes a second");
    }
    let unlimited = RateLimiter::unlimited();
    assert_eq!(RateLimits { global: &unlimited, group: None, torrent: &unlimited }.least_grant(16_384), 16_384);
}

#[test]
fn threads_together_get_no_more_than_the_rate() {
    // Simulated time that all threads push forward: the test does not depend on how fast they run.
    let rate = 100_000_000u64;
    let (limiter, clock_us, stop) = (limiter(rate), AtomicU64::new(1_000_000), AtomicBool::new(false));
    let end_us = 3_000_000;
    let (limiter, clock_us, stop) = (&limiter, &clock_us, &stop);
    let total: u64 = std::thread::scope(|scope| {
        let senders: Vec<_> = (0..4u64)
            .map(|thread| {
                scope.spawn(move || {
                    let mut sent = 0u64;
                    while !stop.load(Relaxed) {
                        let now_us = clock_us.fetch_add(20, Relaxed);
                        if now_us >= end_us {
                            stop.store(true, Relaxed);
                            break;
                        }
                        let granted = limiter.take(Duration::from_micros(now_us), 16_384 << thread);
                        let unused = granted / 5;
                        limiter.give_back(unused);
                        sent += (granted - unused) as u64;
                    }
                    sent
                })
            })
            .collect();
        senders.into_iter().map(|sender| sender.join().unwrap()).sum()
    });
    let (expected, burst) = (2 * rate, rate / 20);
    assert!(total <= expected + burst, "{total}");
    // A thread may hold a grant while it is descheduled and others run the clock far ahead, so only the bound from
    // above is exact.
    assert!(total > expected / 2, "{total}");
}

#[test]
fn an_estimate_follows_the_rate_and_forgets() {
    let mut estimate = RateEstimator::default();
    assert_eq!(estimate.rate(at_ms(10_000)), 0);
    for ms in (10_000..20_000).step_by(10) {
        estimate.add(at_ms(ms), 1000);
        let rate = estimate.rate(at_ms(ms));
        assert!(ms < 11_000 || (95_000..=110_000).contains(&rate), "{rate} at {ms} ms");
    }
    assert!(estimate.rate(at_ms(22_500)) < 60_000);
    assert_eq!(estimate.rate(at_ms(26_000)), 0);
    estimate.add(at_ms(500), 7); // a clock that jumped back is harmless
    assert!(estimate.rate(at_ms(26_000)) <= 7);
}

proptest! {
    #[test]
    fn no_window_of_a_second_sees_more_than_the_rate_and_five_percent(
        rate in 20_480u64..20_000_000_000,
        steps in prop::collection::vec((0u64..40_000_000, 1usize..1 << 28, 0usize..100), 1..200),
    ) {
        let limiter = limiter(rate);
        let mut now = Duration::from_secs(5);
        let mut sent: Vec<(Duration, u64)> = Vec::new();
        for (pause_ns, want, unused_percent) in steps {
            now += Duration::from_nanos(pause_ns);
            let granted = limiter.take(now, want);
            prop_assert!(granted <= want);
            let unused = granted * unused_percent / 100;
            limiter.give_back(unused);
            sent.push((now, (granted - unused) as u64));
        }
        for (first, (start, _)) in sent.iter().enumerate() {
            let window = sent[first..].iter().take_while(|(time, _)| *time <= *start + Duration::from_secs(1));
            let total: u64 = window.map(|(_, bytes)| bytes).sum();
            prop_assert!(total <= rate + rate / 20 + 1, "{} in one second at {}", total, rate);
        }
    }

    #[test]
    fn time_that_stands_still_or_runs_back_grants_no_more_than_one_burst(
        rate in 20_480u64..20_000_000_000,
        back in prop::collection::vec((0u64..10_000_000_000, 1usize..1 << 30), 1..100),
    ) {
        let limiter = limiter(rate);
        let now = Duration::from_secs(20);
        let total: u64 = back.iter().map(|(ns, want)| {
            limiter.take(now - Duration::from_nanos(*ns), *want) as u64
        }).sum();
        // Time that ran back and came again is spent once: at most the ten seconds and a burst.
        prop_assert!(total <= rate * 10 + rate / 20 + 1);
        let still: u64 = back.iter().map(|(_, want)| limiter.take(now, *want) as u64).sum();
        prop_assert!(still <= rate / 20 + 1);
    }

    #[test]
    fn no_number_from_an_operator_overflows(rate: u64, now_ns: u64, want: usize, back: usize) {
        let limiter = limiter(rate);
        let now = Duration::from_nanos(now_ns);
        let granted = limiter.take(now, want);
        prop_assert!(granted <= want);
        limiter.give_back(back);
        limiter.next_available(now);
        limiter.take(Duration::MAX, want);
    }
}
