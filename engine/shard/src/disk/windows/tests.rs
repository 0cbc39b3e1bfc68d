use super::*;
use crate::limits::TICK_INTERVAL;

fn pieces() -> Vec<PieceIndex> {
    let info =
        format!("d6:lengthi{}e4:name1:f12:piece lengthi16384e6:pieces20000:{}e", 16384 * 1000, "h".repeat(20000));
    metainfo::Torrent::from_info(info.as_bytes()).unwrap().layout().pieces().collect()
}

fn key(piece: usize) -> WindowKey {
    WindowKey { slot: Slot(piece % 2), id: TorrentId(0), piece: pieces()[piece], window: 0 }
}

fn read(windows: &mut Windows, piece: usize, now: Duration) -> bool {
    let Some(mut buffer) = windows.take_buffer(now) else { return false };
    buffer.fill(100);
    windows.keep(key(piece), buffer, false, now);
    true
}

/// Windows that take up all room, all read at zero.
fn full() -> (Windows, usize) {
    let mut windows = Windows::default();
    let count = (0..1000).take_while(|piece| read(&mut windows, *piece, Duration::ZERO)).count();
    assert!(count < 1000 && count * WINDOW_BYTES as usize <= COLD_BYTES_LIMIT, "{count} windows are bounded");
    (windows, count)
}

#[test]
fn what_was_read_for_somebody_is_not_thrown_away_unsent() {
    let (mut windows, count) = full();
    assert!(windows.take_buffer(WINDOW_HELD / 2).is_none());
    assert!(windows.take_buffer(WINDOW_HELD).is_some(), "but nobody holds a window for ever");
    assert_eq!(windows.kept.len(), count - 1);
}

#[test]
fn a_window_that_was_sent_goes_first() {
    let (mut windows, count) = full();
    assert!(!windows.handle_sent(key(3), 60, Duration::ZERO), "half of it");
    assert!(windows.take_buffer(Duration::ZERO).is_none());
    assert!(windows.handle_sent(key(3), 40, Duration::ZERO));
    assert!(read(&mut windows, count, Duration::ZERO));
    assert!(!windows.contains(key(3)) && windows.contains(key(count)));
    assert!(windows.take_buffer(Duration::ZERO).is_none());
}

#[test]
fn a_window_that_another_peer_still_reads_goes_after_those_that_nobody_does() {
    let (mut windows, count) = full();
    let now = Duration::from_millis(1);
    for piece in [1, 2] {
        assert!(windows.handle_sent(key(piece), 100, Duration::ZERO));
    }
    assert!(windows.get(key(1), now).is_some());
    assert!(read(&mut windows, count, now));
    assert!(windows.contains(key(1)) && !windows.contains(key(2)));
}

#[test]
fn a_window_that_is_read_again_has_to_be_sent_again() {
    let (mut windows, count) = full();
    windows.handle_sent(key(1), 100, Duration::ZERO);
    windows.drop_window(key(1));
    assert!(read(&mut windows, 1, Duration::ZERO));
    assert!(windows.take_buffer(Duration::ZERO).is_none());
    assert_eq!(windows.kept.len(), count);
}

#[test]
fn a_window_in_a_write_is_not_overwritten() {
    let (mut windows, _) = full();
    let bytes = windows.get(key(1), Duration::ZERO).unwrap();
    windows.handle_sent(key(1), 100, Duration::ZERO);
    windows.drop_window(key(1));
    assert_eq!(windows.free.len(), 0, "its buffer is not for others while somebody looks at it");
    assert_eq!(bytes.len(), 100);
    assert!(windows.take_buffer(Duration::ZERO).is_some(), "there is room for a new one");
}

#[test]
fn room_is_not_made_of_a_window_that_a_write_holds() {
    let (mut windows, count) = full();
    let in_write = windows.get(key(1), Duration::ZERO).unwrap();
    for piece in [1, 2] {
        assert!(windows.handle_sent(key(piece), 100, Duration::ZERO));
    }
    assert!(read(&mut windows, count, Duration::ZERO));
    assert!(windows.contains(key(1)) && !windows.contains(key(2)));
    assert!(windows.take_buffer(Duration::ZERO).is_none());
    drop(in_write);
    assert!(read(&mut windows, count + 1, Duration::ZERO));
    assert!(!windows.contains(key(1)), "its turn has come");
}

#[test]
fn a_write_that_holds_the_oldest_window_does_not_keep_others_from_going() {
    let (mut windows, count) = full();
    let in_write = windows.get(key(0), Duration::ZERO).unwrap();
    assert!((0..count - 1).all(|piece| read(&mut windows, count + piece, WINDOW_HELD)));
    assert!(windows.contains(key(0)) && windows.kept.len() == count);
    drop(in_write);
}

#[test]
fn idle_memory_is_given_back() {
    let (mut windows, count) = full();
    windows.drop_torrent(Slot(1));
    assert_eq!((windows.kept.len(), windows.free.len()), (count.div_ceil(2), count / 2));
    windows.handle_tick(false, TICK_INTERVAL);
    assert_eq!(windows.buffer_count, count);
    windows.handle_tick(true, TICK_INTERVAL);
    assert_eq!(windows.buffer_count, count.div_ceil(2));
    windows.handle_tick(true, WINDOW_IDLE_LIMIT);
    assert_eq!((windows.kept.len(), windows.buffer_count), (0, 0));
}

#[test]
fn a_read_that_fails_takes_no_room_for_good() {
    let (mut windows, count) = full();
    windows.drop_torrent(Slot(1));
    while let Some(buffer) = windows.free.pop() {
        drop(buffer);
        windows.forget_buffer();
    }
    assert!((0..count / 2).all(|piece| read(&mut windows, 2 * piece + 1, Duration::ZERO)));
}

#[test]
fn a_window_whose_pages_are_in_the_cache_too_keeps_no_other_out() {
    let (mut windows, count) = full();
    windows.handle_sent(key(0), 100, Duration::ZERO);
    let mut buffer = windows.take_buffer(Duration::ZERO).unwrap();
    buffer.fill(100);
    windows.keep(key(count), buffer, true, Duration::ZERO);
    assert!(windows.take_buffer(Duration::ZERO).is_some());
    assert!(!windows.contains(key(count)));
}
