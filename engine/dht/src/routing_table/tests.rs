use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::limits::{FORGET_FAILURES, GOOD_MS, K};
use crate::secure_id::{id_fits, make_id};

const OWN: NodeId = NodeId([0; 20]);

/// A node on a network of its own, whose id shares `bits` leading bits with ours and belongs to no address.
fn node(bits: usize, n: u16) -> (NodeId, SocketAddr) {
    let mut random = [0; 20];
    random[18..].copy_from_slice(&n.to_be_bytes());
    let [high, low] = n.to_be_bytes();
    (OWN.sibling(bits, random), ([20 + high, low, 1, 1], 6881).into())
}

/// A node on the local network, where every id fits.
fn local(bits: usize, n: u16) -> (NodeId, SocketAddr) {
    let (id, _) = node(bits, n);
    let [high, low] = n.to_be_bytes();
    (id, ([10, high, low, 1], 6881).into())
}

fn fill(table: &mut RoutingTable, now: Millis, nodes: impl IntoIterator<Item = (NodeId, SocketAddr)>) {
    nodes.into_iter().for_each(|(id, address)| table.answered(now, id, address));
}

fn has(table: &RoutingTable, (id, _): (NodeId, SocketAddr)) -> bool {
    table.nodes().any(|node| node.id == id)
}

#[test]
fn far_nodes_are_few_and_near_ones_all_known() {
    let mut table = RoutingTable::new(OWN);
    fill(&mut table, 0, (0..200).map(|n| local(0, n)));
    fill(&mut table, 0, (0..200).map(|n| local(20, 200 + n)));
    fill(&mut table, 0, (0..5).map(|n| local(100, 400 + n)));
    let count = |bits: usize| table.nodes().filter(|node| OWN.shared_bits(node.id) == bits).count();
    assert_eq!((count(0), count(20), count(100)), (K, K, 5));
}

#[test]
fn a_bad_node_gives_way_to_one_that_waits() {
    let mut table = RoutingTable::new(OWN);
    fill(&mut table, 0, (0..K as u16).map(|n| local(0, n)));
    fill(&mut table, 0, [local(1, 100), local(0, 50)]);
    assert!(!has(&table, local(0, 50)));
    for _ in 0..BAD_FAILURES {
        table.failed(10, local(0, 3).1);
    }
    assert!(!has(&table, local(0, 3)) && has(&table, local(0, 50)));
}

#[test]
fn without_another_a_bad_node_is_kept_for_a_while_but_not_told() {
    let mut table = RoutingTable::new(OWN);
    fill(&mut table, 0, [local(0, 1)]);
    for failures in 1..=FORGET_FAILURES {
        table.failed(10, local(0, 1).1);
        assert_eq!(table.closest(OWN, K, 0).len(), 0);
        assert_eq!(has(&table, local(0, 1)), failures < FORGET_FAILURES);
    }
}

#[test]
fn an_id_is_not_taken_over_while_its_owner_answers() {
    let mut table = RoutingTable::new(OWN);
    let (id, address) = local(0, 1);
    let thief = local(0, 2).1;
    fill(&mut table, 0, [(id, address), (id, thief)]);
    assert_eq!(table.closest(OWN, K, 0), [(id, address)]);
    assert_eq!(table.poll_stale(1), Some((id, address)), "its owner is asked at once");
    table.answered(1, id, address);
    assert_eq!((table.poll_stale(1), table.closest(OWN, K, 0)), (None, vec![(id, address)]));
}

#[test]
fn a_node_that_moved_keeps_its_id_once_nobody_answers_at_its_old_address() {
    let mut table = RoutingTable::new(OWN);
    let (id, old) = local(0, 1);
    let new = local(0, 2).1;
    fill(&mut table, 0, [(id, old), (id, new)]);
    assert_eq!(table.poll_stale(1), Some((id, old)));
    table.failed(2, old);
    assert_eq!(table.closest(OWN, K, 0), [(id, new)]);
}

#[test]
fn one_host_of_the_internet_is_one_node_and_one_network_two_of_a_bucket() {
    let mut table = RoutingTable::new(OWN);
    for port in 1..100 {
        table.answered(0, node(0, port).0, ([8, 8, 8, 8], port).into());
    }
    assert_eq!(table.nodes().count(), 1);
    for host in 1..100 {
        table.answered(0, node(0, host).0, ([8, 8, 4, host as u8], 1).into());
    }
    assert_eq!(table.nodes().count(), 3);
}

#[test]
fn a_node_whose_id_fits_takes_the_place_of_one_whose_id_does_not() {
    let mut table = RoutingTable::new(OWN);
    let mut unfit = (0..).map(|n| node(0, n)).filter(|(id, address)| !id_fits(*id, address.ip()));
    fill(&mut table, 0, unfit.by_ref().take(K));
    let fitting = (1..=255u8).find_map(|n| {
        let address: SocketAddr = ([99, 1, 1, n], 1).into();
        let id = make_id(address.ip(), [n; 20]);
        (OWN.shared_bits(id) == 0).then_some((id, address))
    });
    // A node nearer to us makes the table split, so that the bucket of the others is a closed one.
    fill(&mut table, 0, [local(1, 1)].into_iter().chain(fitting));
    assert!(fitting.is_some_and(|fitting| has(&table, fitting)));
    fill(&mut table, 0, unfit.take(1));
    assert_eq!(table.nodes().count(), K + 1);
}

#[test]
fn a_stale_node_is_asked_and_the_next_poll_finds_another() {
    let mut table = RoutingTable::new(OWN);
    fill(&mut table, 0, [local(0, 1), local(0, 2)]);
    assert_eq!(table.poll_stale(GOOD_MS - 1), None);
    let asked: BTreeSet<_> = (0..3).filter_map(|_| table.poll_stale(GOOD_MS)).collect();
    assert_eq!(asked, BTreeSet::from([local(0, 1), local(0, 2)]));
    fill(&mut table, GOOD_MS, [local(0, 1)]);
    assert!(table.nodes().any(|node| node.is_good(GOOD_MS)));
}

#[test]
fn a_forged_query_keeps_nobody_in_the_table() {
    let mut table = RoutingTable::new(OWN);
    let (id, address) = local(0, 1);
    assert_eq!(table.queried(0, id, address), Asker::Welcome);
    assert_eq!(table.nodes().count(), 0, "asking is not enough");
    table.answered(0, id, address);
    assert_eq!(table.queried(GOOD_MS - 1, id, address), Asker::Known);
    assert!(table.nodes().all(|node| node.is_good(GOOD_MS)), "as BEP 5 has it");
    assert_eq!(table.poll_stale(GOOD_MS), Some((id, address)), "and asked all the same");
}

#[test]
fn a_quiet_bucket_is_refreshed_once() {
    let mut table = RoutingTable::new(OWN);
    fill(&mut table, 0, (0..30).map(|n| local(usize::from(n % 4), n)));
    let mut random = Random::new([1; 32]);
    let targets: Vec<_> = std::iter::from_fn(|| table.poll_refresh(REFRESH_MS, &mut random)).collect();
    let bits: Vec<_> = targets.iter().map(|target| OWN.shared_bits(*target)).collect();
    assert_eq!(bits, (0..table.buckets.len()).collect::<Vec<_>>());
}

#[test]
fn our_new_id_keeps_the_nodes() {
    let mut table = RoutingTable::new(OWN);
    fill(&mut table, 0, (0..30).map(|n| local(usize::from(n % 10), n)));
    let before = table.nodes().count();
    table.change_own(1, NodeId([0xff; 20]));
    assert!(table.nodes().count() >= K && table.nodes().count() <= before);
    assert_eq!(table.own(), NodeId([0xff; 20]));
}

proptest! {
    #[test]
    fn the_closest_are_those_of_a_naive_search_and_no_bucket_overflows(
        own: [u8; 20], target: [u8; 20], ids in proptest::collection::vec(any::<([u8; 20], u16)>(), 1..300),
    ) {
        let (own, target) = (NodeId(own), NodeId(target));
        let mut table = RoutingTable::new(own);
        for (n, (id, bits)) in ids.iter().enumerate() {
            let id = own.sibling(usize::from(bits % 160), *id);
            table.answered(n as Millis, id, ([10, 1, (n / 256) as u8, (n % 256) as u8], 1).into());
        }
        let mut all: Vec<_> = table.nodes().map(|node| (node.id, node.address)).collect();
        all.sort_by_key(|(id, _)| id.distance(target));
        prop_assert_eq!(table.closest(target, K, 0), &all[..all.len().min(K)]);
        for (index, bucket) in table.buckets.iter().enumerate() {
            prop_assert!(bucket.nodes().len() <= K);
            let is_last = index + 1 == table.buckets.len();
            for node in bucket.nodes() {
                let bits = own.shared_bits(node.id);
                prop_assert!(bits == index || is_last && bits > index);
            }
        }
    }
}
