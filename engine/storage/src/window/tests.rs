use std::fs;
use std::os::unix::process::ExitStatusExt;

use super::*;
use crate::testing::{pattern, resize};

const SIZE: usize = 2 << 20;

fn file() -> (tempfile::NamedTempFile, File) {
    let named = tempfile::NamedTempFile::new().unwrap();
    fs::write(named.path(), pattern(3, SIZE)).unwrap();
    let file = File::open(named.path()).unwrap();
    (named, file)
}

#[test]
fn a_window_shows_the_file_from_any_offset() {
    let (_named, file) = file();
    let bytes = pattern(3, SIZE);
    for offset in [0, 1, 4096, 5000] {
        // Only a kernel that tells residency (cachestat(2)) lets a window be made the regular way.
        let windows = [Window::unchecked(&file, offset, 1 << 20), Window::over(&file, offset, 1 << 20)];
        for window in windows.into_iter().flatten() {
            assert!(window.bytes() == &bytes[offset as usize..][..1 << 20] && window.is_intact());
        }
    }
    assert!(Window::over(&file, 0, 1000).is_none(), "a short range is copied");
}

#[test]
fn what_vanishes_under_a_reader_is_zeros_and_known_not_a_crash() {
    let (named, file) = file();
    let window = Window::unchecked(&file, 4096, 1 << 20).unwrap();
    let other = Window::unchecked(&file, 0, 4096).unwrap();
    assert_eq!(window.bytes()[0], pattern(3, SIZE)[4096]);
    resize(named.path(), 12_288);
    let sum: u64 = window.bytes()[8192..].iter().map(|byte| u64::from(*byte)).sum();
    assert_eq!(sum, 0);
    assert!(!window.is_intact());
    // What is still there reads as before, here and through another window.
    assert!(window.bytes()[..8192] == pattern(3, SIZE)[4096..12_288]);
    assert!(other.bytes() == &pattern(3, SIZE)[..4096] && other.is_intact());
    drop(window);
    // The entry is free again, and the next window in it begins unhurt.
    resize(named.path(), SIZE as u64);
    assert!(Window::unchecked(&file, 0, 1 << 20).unwrap().is_intact());
}

#[test]
fn many_threads_lose_their_pages_at_once() {
    let (named, file) = file();
    let barrier = std::sync::Barrier::new(9);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..20 {
                    barrier.wait();
                    let window = Window::unchecked(&file, 0, 1 << 20).unwrap();
                    barrier.wait();
                    barrier.wait();
                    let sum: u64 = window.bytes().iter().map(|byte| u64::from(*byte)).sum();
                    assert!(sum == 0 && !window.is_intact());
                    barrier.wait();
                }
            });
        }
        for _ in 0..20 {
            resize(named.path(), SIZE as u64);
            barrier.wait();
            barrier.wait();
            resize(named.path(), 0);
            barrier.wait();
            barrier.wait();
        }
    });
}

#[test]
fn a_bus_error_of_somebody_else_still_ends_the_process() {
    const CHILD: &str = "SPILLWAY_TEST_BUS_ERROR";
    if std::env::var_os(CHILD).is_some() {
        let (named, file) = file();
        let guarded = Window::unchecked(&file, 0, 4096).unwrap();
        // SAFETY: that this map faults is the point of the test.
        let unguarded = unsafe { Mmap::map(&file) }.unwrap();
        resize(named.path(), 0);
        assert_eq!(guarded.bytes()[0], 0);
        println!("the guarded one is zeros");
        std::hint::black_box(unguarded[SIZE / 2]);
        println!("the other one was read");
        return;
    }
    let name = "window::tests::a_bus_error_of_somebody_else_still_ends_the_process";
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout).into_owned();
    assert!(said.contains("the guarded one is zeros") && !said.contains("the other one was read"), "{said}");
    assert_eq!(child.status.signal(), Some(libc::SIGBUS));
}
