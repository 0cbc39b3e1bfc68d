use proptest::prelude::*;

use super::*;

const V1: &str = "0123456789abcdef0123456789abcdef01234567";
const V2: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

fn read(text: &str) -> Magnet {
    text.parse().unwrap()
}

fn refused(parameters: &str) -> (&'static str, MagnetProblem) {
    let error = format!("magnet:?xt=urn:btih:{V1}&{parameters}").parse::<Magnet>().unwrap_err();
    (error.parameter, error.problem)
}

fn refused_alone(text: &str) -> (&'static str, MagnetProblem) {
    let error = text.parse::<Magnet>().unwrap_err();
    (error.parameter, error.problem)
}

#[test]
fn hex_and_base32_name_the_same_torrent() {
    let hex = read(&format!("magnet:?xt=urn:btih:{V1}"));
    assert_eq!(hex.info_hash_v1.unwrap().to_string(), V1);
    assert_eq!(read(&format!("MAGNET:?xt=URN:BTIH:{}", V1.to_uppercase())), hex);
    let base32 = data_encoding::BASE32.encode(&hex.info_hash_v1.unwrap().0);
    assert_eq!(read(&format!("magnet:?xt=urn:btih:{base32}")), hex);
    assert_eq!(read(&format!("magnet:?xt=urn:btih:{}", base32.to_lowercase())), hex);
    assert_eq!(read(&format!("magnet:?xt=urn%3Abtih%3A{V1}")), hex);
}

#[test]
fn a_hybrid_has_both_info_hashes() {
    let magnet = read(&format!("magnet:?xt=urn:btmh:1220{V2}&xt=urn:btih:{V1}&xt=urn:ed2k:abc"));
    assert_eq!(magnet.info_hash_v2.unwrap().to_string(), V2);
    assert_eq!(magnet.info_hashes().count(), 2);
    assert_eq!(magnet.to_string(), format!("magnet:?xt=urn:btih:{V1}&xt=urn:btmh:1220{V2}"));
    let numbered = read(&format!("magnet:?xt.1=urn:btih:{V1}&xt.2=urn:btmh:1220{V2}"));
    assert_eq!(numbered, magnet);
}

#[test]
fn every_parameter_is_read_and_written() {
    let text = format!(
        "magnet:?xt=urn:btih:{V1}&dn=A%20%26%20b%2B%E6%97%A5&xl=12345&tr=http%3A%2F%2Ft.example%2Fa%3Fk%3D1%26x%3D2\
         &tr=udp%3A%2F%2Fu.example%3A80&ws=http%3A%2F%2Fw.example%2Fpub%2F&x.pe=1.2.3.4:6881&x.pe=[2001:db8::1]:6882\
         &x.pe=host.example:6883&so=0,2,4-6"
    );
    let magnet = read(&text);
    assert_eq!(magnet.name.as_deref(), Some("A & b+日"));
    assert_eq!(magnet.total_size, Some(12345));
    assert_eq!(magnet.trackers, ["http://t.example/a?k=1&x=2", "udp://u.example:80"]);
    assert_eq!(magnet.web_seeds, ["http://w.example/pub/"]);
    let peer = |host: &str, port| MagnetPeer { host: host.into(), port };
    assert_eq!(magnet.peers, [peer("1.2.3.4", 6881), peer("2001:db8::1", 6882), peer("host.example", 6883)]);
    assert_eq!(magnet.select_only, [0..=0, 2..=2, 4..=6]);
    assert_eq!(magnet.to_string(), text);
}

#[test]
fn links_as_they_are_pasted_are_understood() {
    let magnet =
        read(&format!(" magnet:?dn=a+b%2Bc&amp;tr=http://t.example/a&amp;xt=urn:btih:{V1}&tr=&foo=%zz&tr.1=udp://x\n"));
    assert_eq!(magnet.name.as_deref(), Some("a b+c"));
    assert_eq!(magnet.trackers, ["http://t.example/a", "udp://x"]);
}

#[test]
fn errors_name_the_parameter() {
    assert_eq!(refused_alone("http://x"), ("magnet", MagnetProblem::NotAMagnet));
    assert_eq!(refused_alone(""), ("magnet", MagnetProblem::NotAMagnet));
    assert_eq!(refused_alone("magnet:?"), ("xt", MagnetProblem::NoInfoHash));
    assert_eq!(refused_alone("magnet:?xt=urn:sha1:abc&dn=x"), ("xt", MagnetProblem::NoInfoHash));
    assert_eq!(refused_alone(&format!("magnet:?xt=urn:btih:{}", &V1[1..])), ("xt", MagnetProblem::BadInfoHash));
    assert_eq!(refused_alone(&format!("magnet:?xt=urn:btih:{}", "1".repeat(32))), ("xt", MagnetProblem::BadInfoHash));
    assert_eq!(refused_alone(&format!("magnet:?xt=urn:btih:g{}", &V1[1..])), ("xt", MagnetProblem::BadInfoHash));
    assert_eq!(refused_alone(&format!("magnet:?xt=urn:btmh:1320{V2}")), ("xt", MagnetProblem::BadMultihash));
    assert_eq!(refused_alone(&format!("magnet:?xt=urn:btmh:1220{}", &V2[2..])), ("xt", MagnetProblem::BadMultihash));
    assert_eq!(refused(&format!("xt=urn:btih:{}", V1.replace('0', "1"))), ("xt", MagnetProblem::TwoInfoHashes));
    assert_eq!(refused("xl=-1"), ("xl", MagnetProblem::NotANumber));
    assert_eq!(refused("xl=18446744073709551616"), ("xl", MagnetProblem::NotANumber));
    assert_eq!(refused("dn=%zz"), ("dn", MagnetProblem::BadEncoding));
    assert_eq!(refused("dn=%4"), ("dn", MagnetProblem::BadEncoding));
    assert_eq!(refused("tr=%ff"), ("tr", MagnetProblem::BadEncoding));
    for peer in ["host", "host:0", "host:65536", ":1", "::1:80", "[::1]", "a b:1", "host:x"] {
        assert_eq!(refused(&format!("x.pe={peer}")), ("x.pe", MagnetProblem::BadPeer), "{peer}");
    }
    for selection in ["x", "2-1", "1-", "-1", "1;2", "4294967296", "0-4000000000"] {
        assert_eq!(refused(&format!("so={selection}")), ("so", MagnetProblem::BadSelection), "{selection}");
    }
    assert_eq!(MagnetError { parameter: "xl", problem: MagnetProblem::NotANumber }.to_string(), "xl: is not a number");
}

#[test]
fn what_is_too_much_is_refused() {
    assert_eq!(refused(&"x".repeat(70_000)), ("magnet", MagnetProblem::TooLong));
    assert_eq!(refused(&format!("tr={}", "x".repeat(3000))), ("tr", MagnetProblem::TooLong));
    let many: String = (0..300).map(|index| format!("&tr=http://{index}/")).collect();
    assert_eq!(refused(&many[1..]), ("tr", MagnetProblem::TooMany(256)));
    assert_eq!(refused(&format!("so={}", "1,".repeat(1001))), ("so", MagnetProblem::TooMany(1000)));
}

#[test]
fn a_source_that_is_too_long_or_one_too_many_is_passed_over() {
    let hash = "xt=urn:btih:c1358948eb337bff1a844ceb95536f6ade2feca9";
    let text = format!("magnet:?{hash}&xs={}&xs=%zz&xs=http%3A%2F%2Fa%2F1", "x".repeat(3000));
    assert_eq!(text.parse::<Magnet>().unwrap().exact_sources, ["http://a/1"]);
    let many: String = (0..40).map(|index| format!("&xs=http://a/{index}")).collect();
    assert_eq!(format!("magnet:?{hash}{many}").parse::<Magnet>().unwrap().exact_sources.len(), 16);
}

fn magnets() -> impl Strategy<Value = Magnet> {
    let text = "\\PC{1,30}";
    let urls = || prop::collection::btree_set(text, 0..4).prop_map(|urls| urls.into_iter().collect::<Vec<_>>());
    let peer = (prop_oneof!["[a-z0-9.-]{1,20}", Just("2001:db8::7".to_owned())], 1u16..)
        .prop_map(|(host, port)| MagnetPeer { host, port });
    let range = (0u32..1000, 0u32..1000).prop_map(|(start, more)| start..=start + more);
    let v1 = prop::option::of(any::<[u8; 20]>().prop_map(Sha1Digest));
    let v2 = prop::option::of(any::<[u8; 32]>().prop_map(Sha256Digest));
    (
        (v1, v2).prop_filter("an info-hash", |(v1, v2)| v1.is_some() || v2.is_some()),
        prop::option::of(text),
        prop::option::of(any::<u64>()),
        (urls(), urls(), urls()),
        prop::collection::vec(peer, 0..4),
        prop::collection::vec(range, 0..4),
    )
        .prop_map(|(hashes, name, total_size, (trackers, web_seeds, exact_sources), peers, select_only)| Magnet {
            info_hash_v1: hashes.0,
            info_hash_v2: hashes.1,
            name,
            total_size,
            trackers,
            web_seeds,
            exact_sources,
            peers,
            select_only,
        })
}

proptest! {
    #[test]
    fn what_is_written_reads_back(magnet in magnets()) {
        prop_assert_eq!(magnet.to_string().parse::<Magnet>(), Ok(magnet));
    }

    #[test]
    fn no_text_makes_it_panic(tail in "[\\PC%&=:,.\\-\\[\\]]{0,80}", key in prop::sample::select(vec!["xt", "xt=urn:btih:", "x.pe", "so", "tr", "xl", "dn"])) {
        let _ = format!("magnet:?{key}={tail}").parse::<Magnet>();
        let _ = tail.parse::<Magnet>();
    }
}
