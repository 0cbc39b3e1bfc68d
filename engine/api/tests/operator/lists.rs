//! Long lists, which are told page by page.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use api::operator::types::{
    ErrorCode, ListTorrents, OperatorAnswer, OperatorError, OperatorReply, OperatorRequest, TorrentPage, TorrentRow,
    TorrentState,
};
use serde_json::Value;

use crate::{ask, start};

fn row(id: u64) -> TorrentRow {
    TorrentRow {
        id,
        name: format!("torrent {id} \"\\ \u{0}ü"),
        info_hash_v1: Some("ab".repeat(20)),
        info_hash_v2: None,
        state: if id.is_multiple_of(2) { TorrentState::Seeding } else { TorrentState::Resting },
        error: None,
        size_bytes: 1 << 53,
        wanted_bytes: 1,
        verified_bytes: 1,
        uploaded_bytes: 0,
        downloaded_bytes: 0,
        upload_bytes_per_s: 0,
        download_bytes_per_s: 0,
        peer_count: 0,
        group: None,
        origin: "added".to_owned(),
        added_at_s: 0,
        completed_at_s: None,
        opens_at_s: None,
    }
}

/// A service with torrents 1 to `count`.
fn page(count: u64, request: &OperatorRequest) -> OperatorReply {
    let OperatorRequest::List(ListTorrents { filter, paging }) = request else { panic!("{request:?}") };
    let limit = paging.limit.expect("a page is bounded");
    assert!(limit <= 500);
    let scanned: Vec<TorrentRow> = (paging.after.unwrap_or(0) + 1..=count).take(limit).map(row).collect();
    let next_after = scanned.last().map(|last| last.id).filter(|last| *last < count);
    let torrents = scanned.into_iter().filter(|row| filter.admits(row)).collect();
    Ok(OperatorAnswer::Torrents(TorrentPage { torrents, next_after }))
}

async fn list(count: u64, target: &str) -> Value {
    let path = start().answer(move |request| page(count, &request));
    let (status, body) = ask(&path, "GET", target, "").await;
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).unwrap()
}

fn ids(list: &Value) -> Vec<u64> {
    list["torrents"].as_array().unwrap().iter().map(|row| row["id"].as_u64().unwrap()).collect()
}

#[tokio::test]
async fn twelve_thousand_torrents_are_one_list_of_bounded_pages() {
    let all = list(12_345, "/v1/torrents").await;
    assert_eq!(ids(&all), (1..=12_345).collect::<Vec<_>>());
    assert_eq!(all["next_after"], Value::Null);
    assert_eq!(all["torrents"][6]["name"], row(7).name);
}

#[tokio::test]
async fn a_page_says_where_to_go_on() {
    for (target, expected, next) in [
        ("/v1/torrents?limit=3", (1..=3).collect::<Vec<_>>(), Value::from(3)),
        ("/v1/torrents?after=3&limit=700", (4..=703).collect(), Value::from(703)),
        ("/v1/torrents?after=900", (901..=1000).collect(), Value::Null),
        ("/v1/torrents?after=1000", Vec::new(), Value::Null),
        ("/v1/torrents?limit=0", Vec::new(), Value::Null),
        ("/v1/torrents?state=seeding&limit=4", vec![2, 4, 6, 8], Value::from(8)),
        ("/v1/torrents?state=failed", Vec::new(), Value::Null),
    ] {
        let page = list(1000, target).await;
        assert_eq!(ids(&page), expected, "{target}");
        assert_eq!(page["next_after"], next, "{target}");
    }
    assert_eq!(
        ids(&list(1000, "/v1/torrents?state=seeding").await),
        (1..=500).map(|half| half * 2).collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn a_list_that_breaks_off_does_not_look_whole() {
    let asked = Arc::new(AtomicUsize::new(0));
    let path = start().answer(move |request| match asked.fetch_add(1, Ordering::Relaxed) {
        0 => page(2000, &request),
        _ => Err(OperatorError::new(ErrorCode::Failed, "no more")),
    });
    let (status, body) = ask(&path, "GET", "/v1/torrents", "").await;
    assert_eq!(status, 200);
    assert!(body.ends_with("CUT") && serde_json::from_str::<Value>(&body).is_err(), "{body}");
    // An error at once has its status.
    let path = start().answer(|_| Err(OperatorError::new(ErrorCode::Unavailable, "not yet")));
    assert_eq!(ask(&path, "GET", "/v1/torrents", "").await.0, 503);
}

#[tokio::test]
async fn a_service_that_pages_in_circles_is_cut_off() {
    let path =
        start().answer(|_| Ok(OperatorAnswer::Torrents(TorrentPage { torrents: vec![row(5)], next_after: Some(5) })));
    let (_, body) = ask(&path, "GET", "/v1/torrents", "").await;
    assert!(body.ends_with("CUT"), "{body}");
}
