//! What is different between two settings, and what of it can be applied while the service runs.

use crate::sections::{
    Control, Engine, Http, Limits, Log, Peers, Publish, Settings, Subscribe, Tls, Torrents, Tracker,
};

/// The difference of two settings.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Change {
    /// What can be applied now, each at most once.
    pub live: Vec<Live>,
    /// The keys that wait for a restart, as `peers.listen`.
    pub needs_restart: Vec<&'static str>,
}

/// A part of the settings that can change live.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Live {
    /// `peers.connections` or `peers.slots`.
    Peers,
    /// Rates, groups or the schedule of `[limits]`.
    Limits,
    /// What of `[torrents]`, and `peers.super_seed`, holds for each torrent that says nothing else.
    Torrents,
    /// `tracker.allow`.
    TrackerAllow,
    /// `[tracker.client]`.
    TrackerClient,
    /// `http.base_url`: where links in feeds lead.
    Links,
    /// `http.tls.certificate` or `http.tls.key`.
    Certificate,
    /// `log.filter`.
    LogFilter,
    /// Trees that publish themselves, by name.
    Publish(Named),
    /// `[[feed]]`.
    Feeds,
    /// Subscriptions, by name.
    Subscribe(Named),
    /// `[[webhook]]`.
    Webhooks,
}

/// The entries of a list that came, went, or are different.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Named {
    /// New ones. One whose place is another counts as gone and new.
    pub added: Vec<String>,
    /// Those that are no more.
    pub removed: Vec<String>,
    /// Those that are different in something else than their place.
    pub changed: Vec<String>,
}

impl Change {
    /// Whether nothing is different.
    pub fn is_empty(&self) -> bool {
        self.live.is_empty() && self.needs_restart.is_empty()
    }
}

/// What a key that is different asks for.
enum Asks {
    Restart,
    Apply(Live),
}

use Asks::{Apply, Restart};

/// Compares two sections key by key. A key that is not named here does not compile.
macro_rules! compare {
    ($change:ident, $path:literal, $section:ident, $old:expr, $new:expr; $($key:ident => $asks:expr),+ $(,)?) => {
        let $section { $($key: _),+ } = $old;
        $(if $old.$key != $new.$key {
            $change.note(concat!($path, ".", stringify!($key)), $asks);
        })+
    };
    // A key that is a section, or compared as a list, is not compared here.
    ($change:ident, $path:literal, $section:ident, $old:expr, $new:expr; $($key:ident => $asks:expr),+; but $($other:ident),+) => {
        let $section { $($key: _,)+ $($other: _),+ } = $old;
        $(if $old.$key != $new.$key {
            $change.note(concat!($path, ".", stringify!($key)), $asks);
        })+
    };
}

impl Settings {
    /// What is different in `new`.
    pub fn difference(&self, new: &Settings) -> Change {
        let mut change = Change::default();
        self.compare_sections(new, &mut change);
        self.compare_lists(new, &mut change);
        change
    }

    fn compare_sections(&self, new: &Settings, change: &mut Change) {
        compare!(change, "peers", Peers, &self.peers, &new.peers;
            listen => Restart, external_addresses => Restart, connections => Apply(Live::Peers),
            connections_per_address => Restart, slots => Apply(Live::Peers), pex => Restart, dht => Restart,
            dht_nodes => Restart, lsd => Restart, super_seed => Apply(Live::Torrents));
        compare!(change, "engine", Engine, &self.engine, &new.engine;
            shards => Restart, cores => Restart, state_dir => Restart, turn_delay_us => Restart, zero_copy => Restart);
        compare!(change, "limits", Limits, &self.limits, &new.limits;
            upload => Apply(Live::Limits), download => Apply(Live::Limits), clock => Apply(Live::Limits),
            groups => Apply(Live::Limits), devices => Restart, schedule => Apply(Live::Limits));
        compare!(change, "torrents", Torrents, &self.torrents, &new.torrents;
            group => Apply(Live::Torrents), upload => Apply(Live::Torrents), download => Apply(Live::Torrents),
            seed_ratio => Apply(Live::Torrents), seed_time => Apply(Live::Torrents), rest_after => Restart,
            announce => Restart, web_seeds => Restart);
        compare!(change, "tracker", Tracker, &self.tracker, &new.tracker;
            listen => Restart, external_urls => Restart, open => Restart, allow => Apply(Live::TrackerAllow),
            interval => Restart, client => Apply(Live::TrackerClient));
        compare!(change, "http", Http, &self.http, &new.http;
            listen => Restart, base_url => Apply(Live::Links), connections => Restart,
            connections_per_address => Restart, header_size => Restart, header_timeout => Restart,
            idle_timeout => Restart, requests_per_connection => Restart; but tls);
        compare!(change, "http.tls", Tls, &self.http.tls, &new.http.tls;
            listen => Restart, certificate => Apply(Live::Certificate), key => Apply(Live::Certificate));
        compare!(change, "control", Control, &self.control, &new.control;
            socket => Restart, mode => Restart, group => Restart);
        compare!(change, "log", Log, &self.log, &new.log; filter => Apply(Live::LogFilter), format => Restart);
    }

    fn compare_lists(&self, new: &Settings, change: &mut Change) {
        let name = |publish: &Publish| publish.name.clone();
        let publish = named(&self.publish, &new.publish, name, |old, new| old.root == new.root);
        if publish != Named::default() {
            change.note("publish", Apply(Live::Publish(publish)));
        }
        if self.feed != new.feed {
            change.note("feed", Apply(Live::Feeds));
        }
        let name = |subscribe: &Subscribe| subscribe.name.clone();
        let subscribe = named(&self.subscribe, &new.subscribe, name, |old, new| old.output == new.output);
        if subscribe != Named::default() {
            change.note("subscribe", Apply(Live::Subscribe(subscribe)));
        }
        if self.webhook != new.webhook {
            change.note("webhook", Apply(Live::Webhooks));
        }
    }
}

impl Change {
    fn note(&mut self, key: &'static str, asks: Asks) {
        match asks {
            Restart => self.needs_restart.push(key),
            Apply(live) if !self.live.contains(&live) => self.live.push(live),
            Apply(_) => {}
        }
    }
}

/// Compares two lists by their entries' names; an entry that is not in the same place counts as another.
fn named<T: PartialEq>(
    old: &[T],
    new: &[T],
    name: impl Fn(&T) -> String,
    same_place: impl Fn(&T, &T) -> bool,
) -> Named {
    let twin = |list: &'_ [T], entry: &T| -> Option<usize> {
        list.iter().position(|other| name(other) == name(entry) && same_place(other, entry))
    };
    let gone = old.iter().filter(|entry| twin(new, entry).is_none());
    let come = new.iter().filter(|entry| twin(old, entry).is_none());
    let changed = new.iter().filter(|entry| twin(old, entry).is_some_and(|index| old[index] != **entry));
    Named {
        added: come.map(&name).collect(),
        removed: gone.map(&name).collect(),
        changed: changed.map(&name).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> Settings {
        Settings::read("test.toml", text, []).unwrap_or_else(|error| panic!("{error}"))
    }

    fn change(old: &str, new: &str) -> Change {
        settings(old).difference(&settings(new))
    }

    #[test]
    fn nothing_different_is_no_change() {
        assert!(change("", "[peers]\nslots = 3").live == [Live::Peers]);
        assert!(change("[peers]\nslots = 3", "[peers]\nslots = 3").is_empty());
    }

    #[test]
    fn what_cannot_change_live_is_named_by_its_key() {
        let change =
            change("", "[peers]\nlisten = ['127.0.0.1:1']\ndht = false\n[log]\nfilter = 'debug'\nformat = 'json'");
        assert_eq!(change.needs_restart, ["peers.listen", "peers.dht", "log.format"]);
        assert_eq!(change.live, [Live::LogFilter]);
    }

    #[test]
    fn several_keys_of_one_part_are_applied_once() {
        let change = change("", "[limits]\nupload = '1MB'\n[limits.groups.a]\n[[limits.schedule]]\nupload = '2MB'");
        assert_eq!((change.live, change.needs_restart), (vec![Live::Limits], vec![]));
    }

    #[test]
    fn trees_are_told_apart_by_name_and_place() {
        let old = "[[publish]]\nname = 'a'\nroot = '/a'\n[[publish]]\nname = 'b'\nroot = '/b'\n[[publish]]\nname = 'c'\nroot = '/c'";
        let new = "[[publish]]\nname = 'b'\nroot = '/b'\nsettle = '1s'\n[[publish]]\nname = 'c'\nroot = '/other'\n[[publish]]\nname = 'd'\nroot = '/d'";
        let names = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        let named = Named { added: names(&["c", "d"]), removed: names(&["a", "c"]), changed: names(&["b"]) };
        assert_eq!(change(old, new).live, [Live::Publish(named)]);
    }

    #[test]
    fn another_secret_is_a_change() {
        let hook = |secret: &str| format!("[[webhook]]\nurl = 'https://example.org/?{secret}'\nsecret = '{secret}'");
        assert_eq!(change(&hook("one"), &hook("two")).live, [Live::Webhooks]);
    }
}
