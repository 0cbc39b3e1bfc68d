//! An embargo that lets in whom it should, nobody else, and everybody at once.

use super::*;
use proptest::prelude::*;

const KEY: &str = "a-key-that-nobody-guesses";
const HOUR: Duration = Duration::from_secs(3600);

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn gate(networks: &[&str]) -> Gate {
    let networks = networks.iter().map(|network| network.parse().unwrap()).collect();
    Gate::new(Some(1_000_000), networks, Some(KEY)).unwrap()
}

#[test]
fn strangers_of_both_families_are_shut_out_and_listed_networks_are_not() {
    let gate = gate(&["192.0.2.0/24", "2001:db8::/32"]);
    for (address, is_listed) in [
        ("192.0.2.200", true),
        ("::ffff:192.0.2.200", true),
        ("2001:db8:ffff::1", true),
        ("192.0.3.1", false),
        ("2001:db9::1", false),
        ("127.0.0.1", false),
        ("::1", false),
    ] {
        assert_eq!(gate.admits(ip(address), HOUR), is_listed, "{address}");
    }
}

#[test]
fn it_opens_for_everybody_once_and_never_shuts_again() {
    let gate = gate(&[]);
    assert!(!gate.is_due(999_999) && gate.is_due(1_000_000));
    assert!(!gate.admits(ip("192.0.2.1"), HOUR), "that it is due is not yet that it is open");
    gate.open();
    assert!(gate.admits(ip("192.0.2.1"), Duration::ZERO) && gate.admits(ip("::1"), HOUR));
    gate.set_opens_at_unix_s(Some(u64::MAX - 1));
    assert!(gate.is_open() && !gate.is_due(u64::MAX));
}

#[test]
fn a_time_can_be_put_off_brought_forward_and_taken_away() {
    let gate = gate(&[]);
    gate.set_opens_at_unix_s(Some(2_000_000));
    assert!(!gate.is_due(1_999_999) && gate.is_due(2_000_000));
    gate.set_opens_at_unix_s(None);
    assert!(!gate.is_due(u64::MAX));
    assert_eq!(gate.opens_at_unix_s(), None);
}

#[test]
fn who_is_taken_from_the_lists_is_shut_out_at_once() {
    let gate = gate(&["192.0.2.0/24"]);
    assert!(gate.add_guest(ip("198.51.100.1"), HOUR, 2 * HOUR));
    gate.set_early(vec!["203.0.113.0/24".parse().unwrap()], Some(KEY)).unwrap();
    assert!(!gate.admits(ip("192.0.2.1"), HOUR) && gate.admits(ip("203.0.113.1"), HOUR));
    assert!(gate.admits(ip("198.51.100.1"), HOUR), "its key is still the key");
    assert_eq!(gate.set_early(Vec::new(), Some("short")), Err(KeyError::Size { size: 5 }));
    assert!(gate.admits(ip("203.0.113.1"), HOUR) && gate.is_key(KEY));
    gate.set_early(Vec::new(), Some("another-key-nobody-guesses")).unwrap();
    assert!(!gate.admits(ip("203.0.113.1"), HOUR) && !gate.is_key(KEY) && gate.is_key("another-key-nobody-guesses"));
    assert_eq!(gate.try_admits(ip("198.51.100.1"), HOUR), Some(false), "a guest of a key that was revoked");
}

#[test]
fn a_guest_is_let_in_until_it_has_been_silent_too_long() {
    let gate = gate(&[]);
    let guest = ip("192.0.2.1");
    assert!(gate.add_guest(ip("::ffff:192.0.2.1"), HOUR, 2 * HOUR), "whichever way its address is written");
    assert!(gate.admits(guest, HOUR) && !gate.admits(ip("192.0.2.2"), HOUR));
    assert!(!gate.admits(guest, 2 * HOUR));
    gate.add_guest(guest, 2 * HOUR, 3 * HOUR);
    assert!(gate.admits(guest, 2 * HOUR), "it has shown the key again");
}

#[test]
fn who_waits_for_nobody_asks_again_while_guests_are_written() {
    let gate = gate(&["192.0.2.0/24"]);
    gate.add_guest(ip("198.51.100.1"), HOUR, 2 * HOUR);
    assert_eq!(gate.try_admits(ip("198.51.100.1"), HOUR), Some(true));
    assert_eq!(gate.try_admits(ip("198.51.100.2"), HOUR), Some(false));
    let writing = gate.guests();
    assert_eq!(gate.try_admits(ip("198.51.100.1"), HOUR), None);
    assert_eq!(gate.try_admits(ip("192.0.2.1"), HOUR), Some(true), "whoever needs no look is told at once");
    drop(writing);
    gate.open();
    assert_eq!(gate.try_admits(ip("198.51.100.2"), HOUR), Some(true));
}

#[test]
fn guests_are_bounded_and_silent_ones_make_room() {
    let gate = gate(&[]);
    let guest = |n: usize| IpAddr::from([10, 0, (n >> 8) as u8, n as u8]);
    assert!((0..GUESTS_LIMIT).all(|n| gate.add_guest(guest(n), HOUR, 2 * HOUR)));
    let late = ip("2001:db8::1");
    assert!(!gate.add_guest(late, HOUR, 2 * HOUR));
    assert!(!gate.admits(late, HOUR));
    assert_eq!((gate.guest_count(), gate.guests_refused()), (GUESTS_LIMIT, 1));
    assert!(gate.add_guest(guest(7), HOUR, 3 * HOUR), "one that is known needs no room");
    assert!(gate.add_guest(late, 2 * HOUR, 3 * HOUR));
    assert!(gate.admits(late, 2 * HOUR));
    assert_eq!(gate.guest_count(), 2);
}

#[test]
fn a_key_never_shows() {
    let gate = gate(&["192.0.2.0/24"]);
    let text = format!("{gate:?} {gate:#?}");
    assert!(text.contains("has_key: true") && text.contains("192.0.2.0/24"), "{text}");
    let digest = hash::sha256(KEY.as_bytes());
    let hex: String = digest.0.iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(!text.contains(KEY) && !text.contains(&hex));
    for key in ["short", "a key with spaces in it", "ein-schlüssel-mit-umlaut", &"x".repeat(129)] {
        let error = Gate::new(None, Vec::new(), Some(key)).unwrap_err();
        assert!(!format!("{error} {error:?}").contains(key), "{error}");
    }
}

#[test]
fn without_a_key_none_fits() {
    let gate = Gate::new(None, Vec::new(), None).unwrap();
    assert!(!gate.is_key("") && !gate.is_key(KEY));
}

proptest! {
    #[test]
    fn only_the_key_itself_is_the_key(other in ".{0,200}") {
        let gate = gate(&[]);
        prop_assert!(gate.is_key(KEY));
        prop_assert_eq!(gate.is_key(&other), other == KEY);
    }

    #[test]
    fn a_key_that_differs_in_one_character_is_another(at in 0..KEY.len(), to in "[A-Za-z0-9]") {
        let mut other = KEY.to_owned();
        other.replace_range(at..=at, &to);
        prop_assert_eq!(gate(&[]).is_key(&other), other == KEY);
    }
}
