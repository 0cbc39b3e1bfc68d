//! `spillway ctl limit`: limits of single torrents.

use api::operator::types::{LimitChange, SuperSeedingMode};
use settings::{Period, parse_rate};

use super::act::each;
use super::client::{Client, torrent_path};
use super::select::Selection;
use crate::failure::Failure;

/// Change the limits of torrents; `none` takes a torrent's own limit away, so that its group's and the global ones apply
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    selection: Selection,

    #[command(flatten)]
    limits: LimitOptions,
}

/// The limits of one torrent.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct LimitOptions {
    /// Upload, as in 10MB/s or 100Mbit/s
    #[arg(long, value_name = "RATE|none", value_parser = rate)]
    upload: Option<Own<u64>>,

    /// Download
    #[arg(long, value_name = "RATE|none", value_parser = rate)]
    download: Option<Own<u64>>,

    /// Stop when so many times its size was uploaded
    #[arg(long, value_name = "NUMBER|none", value_parser = ratio)]
    ratio: Option<Own<f64>>,

    /// Stop when it was seeded for so long, as in 30d
    #[arg(long, value_name = "TIME|none", value_parser = period)]
    seed_time: Option<Own<u64>>,

    /// The group whose limits apply
    #[arg(long, value_name = "GROUP|none", value_parser = group)]
    group: Option<Own<String>>,

    /// When it is super-seeded: auto, on or off
    #[arg(long, value_name = "MODE|none", value_parser = super_seeding)]
    super_seed: Option<Own<SuperSeedingMode>>,
}

/// A limit of a torrent's own, or none.
#[derive(Debug, Clone, PartialEq)]
struct Own<T>(Option<T>);

impl LimitOptions {
    pub(super) fn change(&self) -> LimitChange {
        fn given<T: Clone>(own: Option<&Own<T>>) -> Option<Option<T>> {
            own.map(|Own(value)| value.clone())
        }
        LimitChange {
            upload_bytes_per_s: given(self.upload.as_ref()),
            download_bytes_per_s: given(self.download.as_ref()),
            seed_ratio: given(self.ratio.as_ref()),
            seed_time_s: given(self.seed_time.as_ref()),
            group: given(self.group.as_ref()),
            super_seeding: given(self.super_seed.as_ref()),
        }
    }
}

pub(super) fn run(client: &mut Client, args: &Args, json: bool) -> Result<(), Failure> {
    let change = args.limits.change();
    if change.is_empty() {
        return Err(Failure::new(
            "nothing to change: give --upload, --download, --ratio, --seed-time, --group or --super-seed",
        ));
    }
    each(client, &args.selection, json, "changed", |client, torrent| {
        client.post(&torrent_path(torrent, "/limit"), &change)
    })
}

fn own<T>(text: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Result<Own<T>, String> {
    if text == "none" { Ok(Own(None)) } else { parse(text).map(|value| Own(Some(value))) }
}

fn rate(text: &str) -> Result<Own<u64>, String> {
    own(text, |text| parse_rate(text).map_err(|error| error.replace("leave it out for no limit", "none is no limit")))
}

fn ratio(text: &str) -> Result<Own<f64>, String> {
    own(text, |text| {
        let ratio = text.parse().ok().filter(|ratio: &f64| ratio.is_finite() && *ratio > 0.0);
        ratio.ok_or_else(|| format!("{text:?} is no number above zero such as 2 or 1.5"))
    })
}

fn period(text: &str) -> Result<Own<u64>, String> {
    own(text, |text| text.parse().map(|period: Period| period.duration().as_secs()))
}

fn group(text: &str) -> Result<Own<String>, String> {
    own(text, |text| Ok(text.to_owned()))
}

fn super_seeding(text: &str) -> Result<Own<SuperSeedingMode>, String> {
    own(text, |text| match text {
        "auto" => Ok(SuperSeedingMode::Auto),
        "on" => Ok(SuperSeedingMode::On),
        "off" => Ok(SuperSeedingMode::Off),
        _ => Err(format!("{text:?} is none of auto, on, off and none")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn none_is_a_word_and_nonsense_is_not() {
        assert_eq!(rate("none"), Ok(Own(None)));
        assert_eq!(rate("1MB/s"), Ok(Own(Some(1_000_000))));
        assert_eq!(ratio("1.5"), Ok(Own(Some(1.5))));
        assert_eq!(period("1h"), Ok(Own(Some(3600))));
        assert!(rate("0").unwrap_err().contains("none is no limit"));
        for text in ["0", "-1", "NaN", "inf", "x", "None"] {
            assert!(ratio(text).is_err(), "{text}");
        }
        assert!(period("1 century").is_err() && super_seeding("maybe").is_err());
    }
}
