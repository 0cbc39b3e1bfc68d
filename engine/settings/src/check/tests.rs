use std::path::Path;

use crate::Settings;

/// The one thing that is wrong, without file and line.
fn problem(text: &str) -> String {
    let error = Settings::read("s", text, []).unwrap_err();
    assert_eq!(error.problems.len(), 1, "{error}");
    format!("{}: {}", error.problems[0].key, error.problems[0].what)
}

fn fine(text: &str) -> Settings {
    Settings::read("s", text, []).unwrap_or_else(|error| panic!("{error}"))
}

fn publish(name: &str, more: &str) -> String {
    format!("[[publish]]\nname = '{name}'\nroot = '/srv/{name}'\n{more}\n")
}

#[test]
fn what_is_out_of_range_is_told_with_the_range() {
    for (text, expected) in [
        ("[peers]\nslots = 0", "peers.slots: 0 is not from 1 to 10000000"),
        ("[tracker]\ninterval = '1s'", "tracker.interval: 1s is not from 1m to 1d"),
        ("[http]\nheader_size = 10", "http.header_size: 10 is not from 1KiB to 1MiB"),
        ("[[feed]]\nname = \"all\"\nmax_items = 1001", "feed[0].max_items: 1001 is not from 1 to 1000"),
        ("[engine]\nturn_delay_us = 10001", "engine.turn_delay_us: 10001 is not from 0 to 10000"),
        ("[engine]\nshards = 3\ncores = [1, 2]", "engine.shards: 3 shards cannot each have one of 2 cores"),
        ("[torrents]\nseed_ratio = 0.0", "torrents.seed_ratio: a ratio is more than zero; leave it out for no limit"),
    ] {
        assert_eq!(problem(text), expected);
    }
}

#[test]
fn two_things_that_listen_at_one_address_are_told() {
    assert_eq!(
        problem("[peers]\nlisten = ['127.0.0.1:6969']\n[tracker]\nlisten = ['127.0.0.1:6969']"),
        "tracker.listen[0]: 127.0.0.1:6969 is in peers.listen already"
    );
    // Feeds beside the tracker, and free ports, are no clash.
    fine("[tracker]\nlisten = ['127.0.0.1:6969']\n[http]\nlisten = ['127.0.0.1:6969']");
    fine("[peers]\nlisten = ['127.0.0.1:0', '127.0.0.1:0']\n[tracker]\nlisten = ['127.0.0.1:0']");
}

#[test]
fn https_wants_all_three_of_its_keys() {
    let error = Settings::read("s", "[http.tls]\ncertificate = '/c'", []).unwrap_err().to_string();
    assert!(error.contains("http.tls.listen: is missing") && error.contains("http.tls.key: is missing"), "{error}");
}

#[test]
fn trees_do_not_lie_within_each_other_or_around_the_state() {
    let nested = format!("{}[[publish]]\nname = 'b'\nroot = '/srv/a/b'", publish("a", ""));
    assert_eq!(problem(&nested), "publish[1].root: /srv/a/b and publish[0].root lie within each other");
    let mirrored =
        format!("{}[[subscribe]]\nname = 'm'\nfeed = 'https://example.org/feed'\noutput = '/srv'", publish("a", ""));
    assert_eq!(problem(&mirrored), "subscribe[0].output: /srv and publish[0].root lie within each other");
    let state = format!("[engine]\nstate_dir = '/srv/a/state'\n{}", publish("a", ""));
    assert!(problem(&state).starts_with("engine.state_dir: "), "{}", problem(&state));
    // A name that only begins alike is another place.
    let settings = fine(&format!("{}{}", publish("a", ""), publish("ab", "")));
    assert!(settings.state_fits_at(Path::new("/var/lib/spillway")).is_ok());
    assert!(settings.state_fits_at(Path::new("/srv")).is_err());
}

#[test]
fn outputs_are_not_written_into_a_tree_that_would_publish_them() {
    assert!(
        problem(&publish("a", "output = '/srv/a/torrents'")).starts_with("publish[0].output: /srv/a/torrents lies in ")
    );
    fine(&publish("a", "output = '/srv/torrents'"));
}

#[test]
fn paths_are_absolute_and_do_not_climb() {
    assert_eq!(
        problem("[engine]\nstate_dir = 'state'"),
        "engine.state_dir: \"state\" is no absolute path; write it from / on"
    );
    assert_eq!(problem("[tracker]\nallow = '/a/../b'"), "tracker.allow: \"/a/../b\" has `..` in it; write it without");
    let long = format!("[control]\nsocket = '/{}'", "x".repeat(107));
    assert!(problem(&long).contains("at most 107 bytes"));
}

#[test]
fn names_that_are_missing_twice_or_unfit_are_told() {
    assert_eq!(problem("[[publish]]\nroot = '/a'"), "publish[0].name: is missing");
    assert_eq!(problem("[[publish]]\nname = 'a'"), "publish[0].root: is missing");
    let twice = format!("{}[[publish]]\nname = 'a'\nroot = '/b'", publish("a", ""));
    assert_eq!(problem(&twice), "publish[1].name: there are two of the name \"a\"");
    for name in ["a/b", "..", "-x", "ä", "a b"] {
        assert!(problem(&format!("[[feed]]\nname = '{name}'")).starts_with("feed[0].name: "), "{name}");
    }
}

#[test]
fn groups_and_trees_that_are_named_exist() {
    assert_eq!(
        problem("[torrents]\ngroup = 'x'"),
        "torrents.group: there is no group \"x\"; add a section [limits.groups.x]"
    );
    assert!(problem(&publish("a", "group = 'x'")).starts_with("publish[0].group: "));
    assert!(
        problem("[[limits.schedule]]\nupload = '1MB'\ngroups = ['x']").starts_with("limits.schedule[0].groups[0]: ")
    );
    assert!(problem("[[feed]]\nname = 'f'\npublish = ['x']").starts_with("feed[0].publish[0]: "));
}

#[test]
fn a_release_that_nobody_could_find_or_make_is_told() {
    assert!(
        problem(&format!("[tracker]\nlisten = []\n{}", publish("a", "private = true")))
            .contains("through trackers only")
    );
    assert!(problem(&publish("a", "releases = [{ ignore = '*' }]")).starts_with("publish[0].releases: no rule makes"));
    assert!(
        problem(&publish("a", "piece_length = '100KiB'")).contains("100KiB is no power of two from 16KiB to 128MiB")
    );
    assert!(problem(&publish("a", "trackers = [['ftp://x/']]")).starts_with("publish[0].trackers[0][0]: "));
    assert!(problem(&publish("a", "early_key = 'short'")).contains("a key has 16 to 128"));
}

#[test]
fn a_rule_or_a_webhook_that_does_nothing_is_told() {
    assert_eq!(problem("[[limits.schedule]]\nfrom = '08:00'"), "limits.schedule[0]: sets neither upload nor download");
    assert!(problem("[[webhook]]\nurl = 'http://x/'\nevents = []").starts_with("webhook[0].events: is empty"));
    assert!(
        problem("[[limits.devices]]\npath = '/srv'\nreads_in_flight = 0")
            .starts_with("limits.devices[0].reads_in_flight: 0 is not")
    );
}

#[test]
fn lists_without_end_are_refused() {
    let hooks: String = (0..1001).map(|number| format!("[[webhook]]\nurl = 'http://x/{number}'\n")).collect();
    assert_eq!(problem(&hooks), "webhook: there are more than 1000");
}
