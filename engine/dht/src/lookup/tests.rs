use super::*;

const TARGET: NodeId = NodeId([0; 20]);

/// The node that is `n` away from the target, on a local address.
fn node(n: u16) -> (NodeId, SocketAddr) {
    let mut id = [0; 20];
    id[18..].copy_from_slice(&n.to_be_bytes());
    let [high, low] = n.to_be_bytes();
    (NodeId(id), ([10, 0, high, low], 6881).into())
}

fn lookup(nodes: impl IntoIterator<Item = u16>) -> Lookup {
    let mut lookup = Lookup::new(Family::V4, TARGET);
    nodes.into_iter().for_each(|n| lookup.add(Some(node(n).0), node(n).1));
    lookup
}

fn asked(lookup: &mut Lookup) -> Vec<SocketAddr> {
    std::iter::from_fn(|| lookup.next_to_ask().map(|(_, address)| address)).collect()
}

fn addresses(nodes: impl IntoIterator<Item = u16>) -> Vec<SocketAddr> {
    nodes.into_iter().map(|n| node(n).1).collect()
}

fn answer(lookup: &mut Lookup, n: u16) {
    lookup.answered(node(n).0, node(n).1, Some(b"token"));
}

#[test]
fn the_nearest_are_asked_a_few_at_a_time_until_eight_of_them_have_answered() {
    let mut lookup = lookup((1..=30).rev());
    let mut next = 1;
    while !lookup.is_searched() {
        assert_eq!(asked(&mut lookup), addresses(next..next + ALPHA as u16));
        (next..next + ALPHA as u16).for_each(|n| answer(&mut lookup, n));
        next += ALPHA as u16;
    }
    assert_eq!(lookup.answered_count(), K);
}

#[test]
fn a_silent_node_is_asked_twice_and_holds_up_nobody() {
    let mut lookup = lookup(1..=5);
    assert_eq!(asked(&mut lookup), addresses(1..=4));
    lookup.slow(node(1).1);
    assert_eq!(asked(&mut lookup), addresses([1]), "the nearest once more");
    lookup.slow(node(1).1);
    assert_eq!(asked(&mut lookup), addresses([5]));
    (2..=5).for_each(|n| answer(&mut lookup, n));
    assert!(lookup.is_searched());
    answer(&mut lookup, 1);
    assert_eq!((lookup.answered_count(), lookup.begin_announcing()), (5, 5), "late is not never");
}

#[test]
fn a_node_that_refuses_is_not_asked_again() {
    let mut lookup = lookup([1]);
    assert_eq!(asked(&mut lookup), addresses([1]));
    lookup.refused(node(1).1);
    lookup.refused(node(1).1);
    assert!(lookup.is_searched() && lookup.begin_announcing() == 0);
}

#[test]
fn endless_nearer_nodes_end_the_lookup_at_its_limit() {
    let mut lookup = lookup([u16::MAX]);
    let (mut fresh, mut queries) = (u16::MAX, 0);
    while !lookup.is_searched() {
        for (id, address) in std::iter::from_fn(|| lookup.next_to_ask()).collect::<Vec<_>>() {
            queries += 1;
            lookup.answered(id.unwrap(), address, None);
            for _ in 0..16 {
                fresh -= 1;
                lookup.add(Some(node(fresh).0), node(fresh).1);
            }
            assert!(lookup.candidates.len() <= MAX_CANDIDATES);
        }
    }
    assert!(queries <= MAX_LOOKUP_QUERIES);
}

#[test]
fn nodes_that_chose_their_place_neither_end_a_lookup_nor_get_the_announce() {
    let mut lookup = Lookup::new(Family::V4, TARGET);
    // Of ids this near, none fits an address of the Internet but by chance.
    let unfit = |n: u8| (node(n.into()).0, SocketAddr::from(([8, 8, n, 8], 1)));
    for (id, address) in (1..=100).map(unfit) {
        lookup.add(Some(id), address);
    }
    (1_000..1_020).for_each(|n| lookup.add(Some(node(n).0), node(n).1));
    while !lookup.is_searched() {
        for (id, address) in std::iter::from_fn(|| lookup.next_to_ask()).collect::<Vec<_>>() {
            lookup.answered(id.unwrap(), address, Some(b"token"));
        }
    }
    assert_eq!(lookup.begin_announcing(), K);
    let told: Vec<_> = std::iter::from_fn(|| lookup.next_announce().map(|(address, _)| address)).collect();
    assert_eq!(told, addresses(1_000..1_008));
}

#[test]
fn one_host_of_the_internet_is_asked_once() {
    let mut lookup = Lookup::new(Family::V4, TARGET);
    (1..100).for_each(|port| lookup.add(Some(node(port).0), ([8, 8, 8, 8], port).into()));
    assert_eq!(asked(&mut lookup).len(), 1);
    lookup.add(Some(node(1).0), "[2001:db8::1]:1".parse().unwrap());
    assert_eq!(lookup.candidates.len(), 1, "another family is another lookup");
}

#[test]
fn a_node_without_id_is_asked_last_and_stands_where_it_says() {
    let mut lookup = lookup([5]);
    lookup.add(None, node(1).1);
    assert_eq!(asked(&mut lookup), addresses([5, 1]));
    answer(&mut lookup, 5);
    answer(&mut lookup, 1);
    assert_eq!(lookup.begin_announcing(), 2);
    assert_eq!(lookup.next_announce().map(|(address, _)| address), Some(node(1).1));
}

#[test]
fn an_announce_is_tried_twice() {
    let mut lookup = lookup([1, 2]);
    asked(&mut lookup);
    answer(&mut lookup, 1);
    answer(&mut lookup, 2);
    lookup.begin_announcing();
    let next = |lookup: &mut Lookup| lookup.next_announce().map(|(address, token)| (address, token.to_vec()));
    assert_eq!(next(&mut lookup), Some((node(1).1, b"token".to_vec())));
    assert_eq!(next(&mut lookup), Some((node(2).1, b"token".to_vec())));
    lookup.announce_answered(node(2).1);
    lookup.announce_slow(node(1).1);
    assert!(!lookup.is_announced());
    assert_eq!(next(&mut lookup).map(|(address, _)| address), Some(node(1).1));
    lookup.announce_slow(node(1).1);
    assert!(lookup.is_announced() && lookup.announced_count() == 1);
}
