//! Which rates hold at a time of the week: the schedule's rules over the plain limits.

use std::collections::BTreeMap;

use crate::sections::{Limits, ScheduleRule};
use crate::{Day, Rate, TimeOfDay};

/// The rates that hold at some time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rates {
    /// What all peers get together.
    pub upload: Rate,
    /// What all peers and web seeds may send us together.
    pub download: Rate,
    /// The same for each group, upload first.
    pub groups: BTreeMap<String, (Rate, Rate)>,
}

impl Limits {
    /// The rates at a day and minute (from midnight) of the clock that [`Limits::clock`] names. Of the rules that hold, the
    /// last one has its way.
    pub fn rates_at(&self, day: Day, minute: u16) -> Rates {
        let groups = self.groups.iter().map(|(name, group)| (name.clone(), (group.upload, group.download)));
        let mut rates = Rates { upload: self.upload, download: self.download, groups: groups.collect() };
        for rule in self.schedule.iter().filter(|rule| rule.holds_at(day, minute)) {
            if rule.groups.is_empty() {
                rates.upload = rule.upload.unwrap_or(rates.upload);
                rates.download = rule.download.unwrap_or(rates.download);
            }
            for name in &rule.groups {
                if let Some((upload, download)) = rates.groups.get_mut(name) {
                    *upload = rule.upload.unwrap_or(*upload);
                    *download = rule.download.unwrap_or(*download);
                }
            }
        }
        rates
    }
}

impl ScheduleRule {
    /// Whether it holds at a day and minute. One that goes over midnight belongs to the day on which it begins.
    pub fn holds_at(&self, day: Day, minute: u16) -> bool {
        let (from, to) =
            (self.from.unwrap_or(TimeOfDay::MIDNIGHT).minutes(), self.to.unwrap_or(TimeOfDay::END).minutes());
        let begins = |day| self.days.is_empty() || self.days.contains(&day);
        if from < to {
            begins(day) && (from..to).contains(&minute)
        } else {
            begins(day) && minute >= from || begins(day.yesterday()) && minute < to
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

    use super::*;
    use crate::Settings;

    fn limits(text: &str) -> Limits {
        Settings::read("test.toml", text, []).unwrap().limits
    }

    fn rate(bytes: u64) -> Rate {
        Rate(NonZeroU64::new(bytes))
    }

    #[test]
    fn the_last_rule_that_holds_has_its_way_key_by_key() {
        let limits = limits(
            r#"
            [limits]
            upload = "9MB"
            [[limits.schedule]]
            from = "08:00"
            to = "20:00"
            upload = "1MB"
            download = "2MB"
            [[limits.schedule]]
            days = ["sun"]
            upload = "unlimited"
            "#,
        );
        assert_eq!(limits.rates_at(Day::Mon, 7 * 60).upload, rate(9_000_000));
        assert_eq!(limits.rates_at(Day::Mon, 8 * 60).upload, rate(1_000_000));
        assert_eq!(limits.rates_at(Day::Mon, 20 * 60).upload, rate(9_000_000));
        let sunday = limits.rates_at(Day::Sun, 12 * 60);
        assert_eq!((sunday.upload, sunday.download), (Rate::UNLIMITED, rate(2_000_000)));
    }

    #[test]
    fn a_rule_over_midnight_belongs_to_the_day_on_which_it_begins() {
        let rule =
            &limits("[[limits.schedule]]\ndays = ['fri']\nfrom = '22:00'\nto = '06:00'\nupload = '1MB'").schedule[0];
        let holds = |day, hour: u16| rule.holds_at(day, hour * 60);
        assert!(holds(Day::Fri, 23) && holds(Day::Sat, 5));
        assert!(!holds(Day::Fri, 5) && !holds(Day::Sat, 6) && !holds(Day::Sat, 23) && !holds(Day::Thu, 23));
    }

    #[test]
    fn a_rule_for_groups_leaves_the_others_alone() {
        let limits = limits(
            "[limits.groups.a]\nupload = '5MB'\n[limits.groups.b]\n[[limits.schedule]]\ngroups = ['a']\nupload = '1MB'",
        );
        let rates = limits.rates_at(Day::Wed, 0);
        assert_eq!(rates.upload, Rate::UNLIMITED);
        assert_eq!(rates.groups["a"], (rate(1_000_000), Rate::UNLIMITED));
        assert_eq!(rates.groups["b"], (Rate::UNLIMITED, Rate::UNLIMITED));
    }

    /// Each minute of the week against every rule, by walking from each beginning to its end.
    #[test]
    fn every_minute_of_the_week_agrees_with_a_walk_from_each_beginning() {
        for (from, to) in
            [("00:00", "24:00"), ("22:00", "06:00"), ("08:00", "08:00"), ("00:00", "00:00"), ("23:59", "00:01")]
        {
            let rule = ScheduleRule {
                days: vec![Day::Wed, Day::Sun],
                from: from.parse().ok(),
                to: to.parse().ok(),
                ..ScheduleRule::default()
            };
            let mut walked = vec![false; 7 * 1440];
            for day in &rule.days {
                let begin = *day as usize * 1440 + usize::from(rule.from.unwrap().minutes());
                let mut minute = begin;
                loop {
                    walked[minute % (7 * 1440)] = true;
                    minute += 1;
                    if minute % 1440 == usize::from(rule.to.unwrap().minutes()) % 1440 {
                        break;
                    }
                }
            }
            for (minute, expected) in walked.iter().enumerate() {
                let held = rule.holds_at(Day::ALL[minute / 1440], (minute % 1440) as u16);
                assert_eq!(held, *expected, "{from} to {to}, minute {minute}");
            }
        }
    }
}
