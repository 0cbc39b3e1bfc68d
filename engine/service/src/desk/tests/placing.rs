//! What is written and deleted where the content of other torrents lies.

use super::*;

async fn failed(bench: &Bench, number: TorrentNumber, events: &mut broadcast::Receiver<DeskEvent>) -> String {
    loop {
        let event = events.recv().await.unwrap();
        if let Happened::Failed { reason } = event.what
            && event.torrent.number == number
        {
            assert!(bench.handle.line(number).await.unwrap().error.is_some());
            return reason;
        }
    }
}

#[test]
fn a_link_whose_name_is_taken_writes_nothing_there() {
    Bench::new(|_, _| {}).run(async |bench| {
        let (out, path) = (ContentPlace::under(bench.out()), bench.out().join("image.iso"));
        fs::write(&path, [1; PIECE]).unwrap();
        bench.add(stopped(new(torrent("image.iso", &[1; PIECE], PIECE), out.clone()))).await;

        // What an earlier run was told of the link. Making room for it would make the other's file longer.
        let other = torrent("image.iso", &vec![2; 3 * PIECE], PIECE);
        let info_hash = Torrent::parse(&other).unwrap().info_hash_v1().unwrap();
        let known = bench.dir.path().join("fetches/metainfo");
        fs::create_dir_all(&known).unwrap();
        fs::write(known.join(format!("{info_hash}.torrent")), other).unwrap();
        let link = format!("magnet:?xt=urn:btih:{info_hash}&dn=harmless").parse().unwrap();
        let mut events = bench.handle.events();
        let link = NewTorrent { source: FetchSource::Magnet(Box::new(link)), ..new(Vec::new(), out) };
        let number = bench.add(link).await;
        let reason = failed(bench, number, &mut events).await;
        assert!(reason.contains("image.iso, torrent 1: choose another folder"), "{reason}");
        assert_eq!(fs::read(&path).unwrap(), [1; PIECE]);
        assert_eq!(fs::read_dir(bench.out()).unwrap().count(), 1);
    });
}

/// A torrent of a folder with so many files of one byte.
fn folder(name: &str, count: usize) -> Vec<u8> {
    let files: String = (0..count).map(|file| format!("d6:lengthi1e4:pathl6:{file:06}ee")).collect();
    let pieces = hash::sha1(&vec![1; count]).0;
    let head = format!("d4:infod5:filesl{files}e4:name{}:{name}12:piece lengthi16384e6:pieces20:", name.len());
    [head.as_bytes(), &pieces, b"ee"].concat()
}

#[test]
fn content_goes_only_when_the_catalogue_knows_that_it_is_served_no_more() {
    Bench::new(|_, _| {}).run(async |bench| {
        let top = bench.out().join("t");
        fs::create_dir(&top).unwrap();
        for file in 0..2000 {
            fs::write(top.join(format!("{file:06}")), [1]).unwrap();
        }
        let number = bench.add(new(folder("t", 2000), ContentPlace::at(&top))).await;
        let mut events = bench.handle.events();
        bench.handle.recheck(number, false).await.unwrap();
        let (first, catalogue) = (top.join("000000"), bench.catalogue.clone());
        let look = std::thread::spawn(move || {
            while first.exists() {
                std::thread::yield_now();
            }
            // As a kill at this moment leaves it.
            catalogue.row(number).unwrap().map(|row| row.wanted)
        });
        bench.handle.remove(number, true).await.unwrap();
        let wanted = tokio::task::spawn_blocking(|| look.join().unwrap()).await.unwrap();
        assert!(matches!(wanted, None | Some(Wanted::Stopped(_))), "{wanted:?}");
        while events.recv().await.unwrap().what != Happened::Removed {}
        assert!(!top.exists());
    });
}

#[test]
fn what_another_torrent_has_in_a_folder_stays_when_that_is_removed_with_its_content() {
    Bench::new(|_, _| {}).run(async |bench| {
        let top = bench.out().join("t");
        fs::create_dir(&top).unwrap();
        for file in 0..3 {
            fs::write(top.join(format!("{file:06}")), [1]).unwrap();
        }
        let outer = bench.add(stopped(new(folder("t", 3), ContentPlace::at(&top)))).await;
        let inner = torrent("000001", &[1], PIECE);
        bench.add(stopped(new(inner, ContentPlace::at(top.join("000001"))))).await;
        bench.handle.remove(outer, true).await.unwrap();
        let left: Vec<_> = fs::read_dir(&top).unwrap().map(|file| file.unwrap().file_name()).collect();
        assert_eq!(left, ["000001"]);
    });
}
