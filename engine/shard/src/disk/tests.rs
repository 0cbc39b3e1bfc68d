use super::testing::Fixture;
use super::*;
use crate::poller::Token;

const PIECE: u32 = 32 * WINDOW_BYTES;
const NOW: Duration = Duration::from_secs(1);

fn peer(number: u64) -> Key {
    Key::from_token(Token(1 << 32 | number))
}

/// Runs `test` in an executor, with a disk that may have `reads_limit` reads under way at its device.
fn with_disk(reads_limit: usize, test: impl AsyncFnOnce(Disk) + 'static) {
    let executor = glommio::LocalExecutorBuilder::default()
        .io_memory(crate::limits::IO_MEMORY_BYTES)
        .blocking_thread_pool_placement(POOL)
        .make()
        .unwrap();
    let budgets = Arc::new(DeviceBudgets::with_limit(1, reads_limit));
    executor.run(async move { test(Disk::new(Rc::default(), budgets)).await });
}

fn window(fixture: &Fixture, window: u32) -> Need {
    Need::Window(fixture.block(0, 0, 1).piece(), window)
}

/// Waits until a read has ended; who is woken then.
async fn end_of_a_read(disk: &mut Disk, now: Duration) -> Vec<Key> {
    let mut woken = Vec::new();
    loop {
        let done = disk.take_finished(now, &mut woken);
        for done in &done {
            assert!(matches!(done, Done::Read { result: Ok(_), .. }));
        }
        if !done.is_empty() {
            return woken;
        }
        glommio::executor().yield_task_queue_now().await;
    }
}

#[test]
fn a_newcomer_does_not_take_the_read_that_others_wait_for() {
    with_disk(1, async |mut disk| {
        let fixture = Fixture::new(&[PIECE], PIECE);
        let (slot, served) = (fixture.slot, fixture.served());
        for number in 0..3 {
            disk.request(slot, served, &[window(&fixture, number)], peer(number.into()), NOW);
        }
        assert_eq!(disk.reads, 1);
        let woken = end_of_a_read(&mut disk, NOW).await;
        assert!(woken.starts_with(&[peer(0), peer(1)]), "whose read it was, and who waited longest");
        assert_eq!(disk.reads, 0);

        // A newcomer's turn comes before that of those who were woken.
        disk.request(slot, served, &[window(&fixture, 9)], peer(9), NOW);
        assert_eq!(disk.reads, 0);
        disk.request(slot, served, &[window(&fixture, 1)], peer(1), NOW);
        assert!(disk.under_way.contains_key(&(slot, served.id, window(&fixture, 1))));
        // Who was called and found no room after all keeps its place.
        disk.request(slot, served, &[window(&fixture, 2)], peer(2), NOW);
        assert_eq!(disk.reads, 1);
        let woken = end_of_a_read(&mut disk, NOW).await;
        assert_eq!(woken, [peer(1), peer(2), peer(9)]);
    });
}

#[test]
fn a_waiter_that_is_gone_holds_nobody_up_for_long() {
    with_disk(1, async |mut disk| {
        let fixture = Fixture::new(&[PIECE], PIECE);
        let (slot, served) = (fixture.slot, fixture.served());
        for number in 0..2 {
            disk.request(slot, served, &[window(&fixture, number)], peer(number.into()), NOW);
        }
        assert!(end_of_a_read(&mut disk, NOW).await.contains(&peer(1)));
        // It is called, and never comes.
        disk.request(slot, served, &[window(&fixture, 9)], peer(9), NOW);
        assert_eq!(disk.reads, 0);
        let mut woken = Vec::new();
        disk.take_finished(NOW + READ_RETRY, &mut woken);
        assert_eq!(woken, [peer(9)], "there is a place for more than one");
        disk.request(slot, served, &[window(&fixture, 9)], peer(9), NOW + READ_RETRY);
        assert_eq!(disk.reads, 1);
        end_of_a_read(&mut disk, NOW + Duration::from_secs(1)).await;
        assert!(!disk.is_busy(), "and is forgotten");
    });
}

#[test]
fn a_look_ahead_over_hot_content_asks_the_kernel_a_bounded_number_of_times() {
    with_disk(COLD_READS_LIMIT, async |mut disk| {
        let mut fixture = Fixture::new(&[PIECE], PIECE);
        let file = fixture.served().torrent().layout().file_indices().next().unwrap();
        let open = fixture.served().task.seeded.content().file(file).unwrap();
        let cold_from = u64::from(16 * WINDOW_BYTES);
        rustix::fs::fadvise(open.fd(), cold_from, None, rustix::fs::Advice::DontNeed).unwrap();
        fixture.torrents.keep_file(fixture.slot, file, open.clone(), 1);
        if open.resident(cold_from, u64::from(WINDOW_BYTES)) != Some(false) || open.resident(0, cold_from) != Some(true)
        {
            return; // a file system that keeps all in memory, or a kernel that does not tell
        }
        let (slot, served) = (fixture.slot, fixture.served());
        // One block in the middle of each window, so that each is one question.
        let wanted = |from| (from..32).map(|window| fixture.block(0, window * WINDOW_BYTES + 16384, 16384));
        disk.read_ahead(slot, served, wanted(0), NOW);
        assert_eq!(disk.reads, 0, "what lies behind so much hot content is not looked for");
        let near = 16 - AHEAD_QUESTIONS_LIMIT as u32 + 1;
        disk.read_ahead(slot, served, wanted(near), NOW);
        assert_eq!(disk.reads, 1);
        while disk.reads > 0 {
            end_of_a_read(&mut disk, NOW).await;
        }
    });
}
