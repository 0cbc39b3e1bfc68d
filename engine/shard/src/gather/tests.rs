use super::*;
use crate::disk::DeviceBudgets;
use crate::disk::testing::Fixture;
use std::sync::Arc;

const NOW: Duration = Duration::from_secs(1);

/// A write that is taken for cold goes last in its turn and as a small one.
#[test]
fn a_block_of_which_only_a_part_was_read_does_not_make_a_hot_write_cold() {
    // A block of more files than are opened for one is always sent from windows; this one lies in two of them.
    let small = [200; FILES_PER_BLOCK + 2];
    let sizes = [&[WINDOW_BYTES - 1000], &small[..], &[2 * WINDOW_BYTES]].concat();
    let mut fixture = Fixture::new(&sizes, 4 * WINDOW_BYTES);
    let mut disk = Disk::new(Rc::default(), Arc::new(DeviceBudgets::new(1)));
    let block = fixture.block(0, WINDOW_BYTES - 1000, 2000);
    let slot = fixture.slot;
    let id = fixture.served().id;
    let key = |window| WindowKey { slot, id, piece: block.piece(), window };
    let read = |disk: &mut Disk, window| {
        let mut buffer = disk.windows.take_buffer(NOW).unwrap();
        buffer.fill(WINDOW_BYTES as usize);
        disk.windows.keep(key(window), buffer, false, NOW);
    };

    let mut gather = Gather::new();
    gather.add_outbox(5);
    read(&mut disk, 0);
    let served = fixture.torrents.get_mut(slot).unwrap();
    let mut source = Source { slot, served, disk: &mut disk, now: NOW, turn: 1 };
    let added = gather.add_block(&mut source, block, 0).unwrap();
    assert_eq!(added, Added::Lacks([Need::Window(block.piece(), 1)].into_iter().collect()));
    assert_eq!(gather.len(), 5, "nothing of the block is in the write");
    assert!(!gather.is_cold());

    read(source.disk, 1);
    assert_eq!(gather.add_block(&mut source, block, 0).unwrap(), Added::Yes);
    assert!(gather.is_cold());
    let sent: Vec<_> = gather.sent_windows(gather.len()).collect();
    assert_eq!(sent, [(key(0), 1000), (key(1), 1000)]);
}
