//! The clock: an embargo that ends at a time, and feeds with dates, need one that is right.

use seedbox::ClockState;

use super::finding::Finding;

/// An error that a feed or an embargo would show.
const LARGE_ERROR_US: u64 = 1_000_000;

pub(super) fn look() -> Finding {
    judge(seedbox::clock_state())
}

fn judge(state: Option<ClockState>) -> Finding {
    const WHY: &str = "An embargo ends by this clock, and certificates and feeds are dated by it";
    let change = "timedatectl set-ntp true, or install chrony";
    match state {
        None => Finding::unknown("clock", "the kernel does not tell"),
        Some(ClockState { is_synchronised: false, .. }) => {
            Finding::advice("clock", "nothing keeps it on time", change, WHY)
        }
        Some(ClockState { error_us, .. }) if error_us > LARGE_ERROR_US => {
            Finding::advice("clock", format!("kept on time to {} ms", error_us / 1000), change, WHY)
        }
        Some(ClockState { error_us, .. }) => {
            Finding::ok("clock", format!("kept on time to {} ms", error_us.div_ceil(1000)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::Verdict;

    #[test]
    fn a_clock_that_nothing_keeps_is_told() {
        let verdict = |is_synchronised, error_us| judge(Some(ClockState { is_synchronised, error_us })).verdict;
        assert_eq!(verdict(true, 900), Verdict::Ok);
        assert_eq!(verdict(true, 5_000_000), Verdict::Advice);
        assert_eq!(verdict(false, 0), Verdict::Advice);
        assert_eq!(judge(None).verdict, Verdict::Unknown);
    }
}
