//! Every path against its naive twin, `portable`, and against the `sha1` and `sha2` crates.

use proptest::prelude::*;

use crate::{Engine, LANES, Path, Sha1, Sha1Digest, Sha1Lanes, Sha256, Sha256Digest, Sha256Lanes};

/// The lengths where a block or its padding ends, and their neighbours.
const EDGES: [usize; 21] =
    [0, 1, 3, 54, 55, 56, 57, 63, 64, 65, 118, 119, 120, 121, 127, 128, 129, 191, 192, 193, 16 * 1024];

fn engines() -> Vec<Engine> {
    Path::ALL.into_iter().filter_map(|path| Engine::with_path(path).ok()).collect()
}

fn naive() -> Engine {
    Engine::with_path(Path::Portable).unwrap()
}

/// Bytes that differ from lane to lane and from block to block.
fn message(seed: usize, size: usize) -> Vec<u8> {
    let mut x = seed as u64 ^ 0x9e37_79b9_7f4a_7c15;
    (0..size)
        .map(|_| {
            x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (x >> 56) as u8
        })
        .collect()
}

fn sha1_oracle(data: &[u8]) -> Sha1Digest {
    use sha1::Digest;
    Sha1Digest(sha1::Sha1::digest(data).into())
}

fn sha256_oracle(data: &[u8]) -> Sha256Digest {
    use sha2::Digest;
    Sha256Digest(sha2::Sha256::digest(data).into())
}

/// All paths hash the messages, at once and one by one, as the naive twin and the oracles do.
fn check_many(messages: &[Vec<u8>]) {
    let slices: Vec<&[u8]> = messages.iter().map(Vec::as_slice).collect();
    let sha1: Vec<Sha1Digest> = slices.iter().map(|message| sha1_oracle(message)).collect();
    let sha256: Vec<Sha256Digest> = slices.iter().map(|message| sha256_oracle(message)).collect();
    for engine in engines() {
        let mut got = vec![Sha1Digest::default(); slices.len()];
        engine.sha1_many(&slices, &mut got);
        assert_eq!(got, sha1, "{engine}");
        let mut got = vec![Sha256Digest::default(); slices.len()];
        engine.sha256_many(&slices, &mut got);
        assert_eq!(got, sha256, "{engine}");
    }
    for (message, (sha1, sha256)) in slices.iter().zip(sha1.iter().zip(&sha256)) {
        assert_eq!(naive().sha1(message), *sha1);
        assert_eq!(naive().sha256(message), *sha256);
    }
}

/// Feeds each lane its message, cut where `cuts` says (as shares of 256), and compares.
fn check_lanes(messages: &[Vec<u8>], cuts: &[[u8; LANES]]) {
    for engine in engines() {
        let mut lanes = Sha1Lanes::with_engine(&engine, messages.len());
        // Twice, since `finish` makes the lanes empty again.
        for _ in 0..2 {
            let mut rests: Vec<&[u8]> = messages.iter().map(Vec::as_slice).collect();
            for cut in cuts {
                let mut parts = Vec::new();
                for (rest, share) in rests.iter_mut().zip(cut) {
                    let (part, left) = rest.split_at(rest.len() * usize::from(*share) / 256);
                    parts.push(part);
                    *rest = left;
                }
                lanes.update(&parts);
            }
            lanes.update(&rests);
            let mut digests = vec![Sha1Digest::default(); messages.len()];
            lanes.finish(&mut digests);
            for (message, digest) in messages.iter().zip(digests) {
                assert_eq!(digest, sha1_oracle(message), "{engine}");
            }
        }
    }
}

/// Feeds sixteen lanes or fewer as files are read: so many bytes of each a turn, and a lane whose message ends takes the next.
fn check_lanes_that_take_turns(messages: &[Vec<u8>], lane_count: usize, turn_bytes: usize) {
    for engine in engines() {
        let mut lanes = Sha256Lanes::with_engine(&engine, lane_count);
        let mut digests = vec![None; messages.len()];
        let mut next = 0..messages.len();
        let mut held: Vec<Option<(usize, usize)>> = (0..lane_count).map(|_| Some((next.next()?, 0))).collect();
        while held.iter().any(Option::is_some) {
            let part = |held: &Option<(usize, usize)>| {
                held.map_or(&[][..], |(index, at)| &messages[index][at..messages[index].len().min(at + turn_bytes)])
            };
            lanes.update(&held.iter().map(part).collect::<Vec<_>>());
            for (lane, held) in held.iter_mut().enumerate() {
                let Some((index, at)) = held else { continue };
                *at += turn_bytes;
                if *at >= messages[*index].len() {
                    digests[*index] = Some(lanes.finish_lane(lane));
                    *held = next.next().map(|index| (index, 0));
                }
            }
        }
        for (message, digest) in messages.iter().zip(digests) {
            assert_eq!(digest, Some(sha256_oracle(message)), "{engine}");
        }
    }
}

#[test]
fn every_length_around_a_block_boundary_agrees_for_every_number_of_messages() {
    for size in EDGES {
        for count in 1..=LANES {
            check_many(&(0..count).map(|seed| message(seed, size)).collect::<Vec<_>>());
        }
    }
}

#[test]
fn messages_of_all_small_lengths_at_once_agree() {
    check_many(&(0..200).map(|size| message(size, size)).collect::<Vec<_>>());
}

#[test]
fn one_long_message_among_short_ones_agrees() {
    for long_at in 0..20 {
        let sizes = (0..20).map(|index| if index == long_at { 5000 } else { index * 7 });
        check_many(&sizes.enumerate().map(|(seed, size)| message(seed, size)).collect::<Vec<_>>());
    }
}

#[test]
fn no_message_and_no_lane_are_no_work_not_a_panic() {
    for engine in engines() {
        engine.sha1_many(&[], &mut []);
        engine.sha256_many(&[], &mut []);
        let mut lanes = Sha1Lanes::with_engine(&engine, 0);
        lanes.update(&[]);
        lanes.finish(&mut []);
    }
}

#[test]
fn lanes_that_end_at_every_edge_agree() {
    for (at, size) in EDGES.into_iter().enumerate() {
        for count in 1..=LANES {
            let sizes = (0..count).map(|lane| if lane % 2 == 0 { size } else { EDGES[(at + lane) % EDGES.len()] });
            let messages: Vec<Vec<u8>> = sizes.enumerate().map(|(lane, size)| message(lane, size)).collect();
            check_lanes(&messages, &[[128; LANES]]);
        }
    }
}

/// The last bytes before a page that cannot be read.
#[cfg(unix)]
fn with_bytes_before_a_guard_page(size: usize, check: impl FnOnce(&[u8])) {
    use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect, munmap};
    let page = rustix::param::page_size();
    let usable = size.next_multiple_of(page);
    // SAFETY: a fresh private map, of which the part before the guard page is written and read before it is unmapped.
    unsafe {
        let map =
            mmap_anonymous(std::ptr::null_mut(), usable + page, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE);
        let map = map.unwrap();
        mprotect(map.byte_add(usable), page, MprotectFlags::empty()).unwrap();
        let bytes = std::slice::from_raw_parts_mut(map.byte_add(usable - size).cast::<u8>(), size);
        bytes.copy_from_slice(&message(7, size));
        check(bytes);
        munmap(map, usable + page).unwrap();
    }
}

#[cfg(unix)]
#[test]
fn no_byte_behind_a_message_is_read() {
    for size in EDGES {
        with_bytes_before_a_guard_page(size, |bytes| {
            for engine in engines() {
                for count in 1..=LANES {
                    let mut digests = [Sha1Digest::default(); LANES];
                    engine.sha1_many(&[bytes; LANES][..count], &mut digests[..count]);
                    assert!(digests[..count].iter().all(|digest| *digest == sha1_oracle(bytes)), "{engine}");
                    let mut digests = [Sha256Digest::default(); LANES];
                    engine.sha256_many(&[bytes; LANES][..count], &mut digests[..count]);
                    assert!(digests[..count].iter().all(|digest| *digest == sha256_oracle(bytes)), "{engine}");
                }
            }
        });
    }
}

#[test]
fn the_million_a_of_fips_180_agree_over_odd_updates() {
    for engine in engines() {
        let (mut sha1, mut sha256) = (Sha1::with_engine(&engine), Sha256::with_engine(&engine));
        let data = [b'a'; 1000];
        for _ in 0..1000 {
            let (left, right) = data.split_at(333);
            sha1.update(left);
            sha1.update(right);
            sha256.update(left);
            sha256.update(right);
        }
        assert_eq!(sha1.finish().to_string(), "34aa973cd4c4daa4f61eeb2bdbad27316534016f", "{engine}");
        let expected = "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0";
        assert_eq!(sha256.finish().to_string(), expected, "{engine}");
    }
}

#[test]
fn the_free_functions_agree() {
    let bytes = message(1, 1000);
    assert_eq!(crate::sha1(&bytes), sha1_oracle(&bytes));
    assert_eq!(crate::sha256(&bytes), sha256_oracle(&bytes));
    let mut sha1 = [Sha1Digest::default(); 2];
    crate::sha1_many(&[&bytes, b""], &mut sha1);
    assert_eq!(sha1, [sha1_oracle(&bytes), sha1_oracle(b"")]);
    let mut sha256 = [Sha256Digest::default(); 2];
    crate::sha256_many(&[&bytes, b""], &mut sha256);
    assert_eq!(sha256, [sha256_oracle(&bytes), sha256_oracle(b"")]);
    let (mut one, mut other) = (Sha1::default(), Sha256::default());
    one.update(&bytes);
    other.update(&bytes);
    assert_eq!((one.finish(), other.finish()), (sha1[0], sha256[0]));
}

fn size() -> impl Strategy<Value = usize> {
    prop_oneof![0usize..300, 0usize..5000, proptest::sample::select(EDGES.to_vec())]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_messages_agree(sizes in prop::collection::vec(size(), 0..50), seed in any::<usize>()) {
        check_many(&sizes.iter().enumerate().map(|(at, &size)| message(seed ^ at, size)).collect::<Vec<_>>());
    }

    #[test]
    fn any_lanes_with_any_updates_agree(
        sizes in prop::collection::vec(size(), 1..=LANES),
        cuts in prop::collection::vec(any::<[u8; LANES]>(), 0..5),
        seed in any::<usize>(),
    ) {
        let messages: Vec<Vec<u8>> = sizes.iter().enumerate().map(|(at, &size)| message(seed ^ at, size)).collect();
        check_lanes(&messages, &cuts);
    }

    #[test]
    fn lanes_that_take_the_next_message_agree(
        sizes in prop::collection::vec(size(), 0..40),
        lane_count in 1..=LANES,
        turn_bytes in prop_oneof![1usize..200, Just(64), Just(4096)],
        seed in any::<usize>(),
    ) {
        let messages: Vec<Vec<u8>> = sizes.iter().enumerate().map(|(at, &size)| message(seed ^ at, size)).collect();
        check_lanes_that_take_turns(&messages, lane_count, turn_bytes);
    }

    #[test]
    fn any_split_of_a_stream_agrees(size in size(), cuts in prop::collection::vec(any::<u8>(), 0..8)) {
        let bytes = message(size, size);
        for engine in engines() {
            let (mut sha1, mut sha256) = (Sha1::with_engine(&engine), Sha256::with_engine(&engine));
            let mut rest = bytes.as_slice();
            for cut in &cuts {
                let (part, left) = rest.split_at(rest.len() * usize::from(*cut) / 256);
                sha1.update(part);
                sha256.update(part);
                rest = left;
            }
            sha1.update(rest);
            sha256.update(rest);
            prop_assert_eq!(sha1.finish(), sha1_oracle(&bytes));
            prop_assert_eq!(sha256.finish(), sha256_oracle(&bytes));
        }
    }
}
