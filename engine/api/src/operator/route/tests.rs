use super::super::types::{LimitChange, MoveTorrent, Recheck, Rescan, TorrentState};
use super::*;

fn get(target: &str) -> Result<Route, OperatorError> {
    ask(&Method::GET, target)
}

fn post(target: &str) -> Result<Route, OperatorError> {
    ask(&Method::POST, target)
}

fn ask(method: &Method, target: &str) -> Result<Route, OperatorError> {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    route(method, path, query)
}

fn read(target: &str, body: &str) -> Result<OperatorRequest, OperatorError> {
    match post(target)? {
        Route::Body(verb) => verb.read(body.as_bytes()),
        other => panic!("{other:?}"),
    }
}

fn named(text: &str) -> TorrentRef {
    TorrentRef(text.to_owned())
}

#[test]
fn every_path_leads_somewhere() {
    assert_eq!(
        get("/v1/torrents").unwrap(),
        Route::List(Listing::Torrents(TorrentFilter::default()), Paging::default())
    );
    let filter = TorrentFilter {
        state: Some(TorrentState::Seeding),
        name: Some("a b".to_owned()),
        active: Some(true),
        ..TorrentFilter::default()
    };
    assert_eq!(
        get("/v1/torrents?state=seeding&name=a+b&active=true&after=7&limit=9").unwrap(),
        Route::List(Listing::Torrents(filter), Paging { after: Some(7), limit: Some(9) })
    );
    assert_eq!(get("/v1/torrents/7").unwrap(), Route::Ready(OperatorRequest::Show(named("7"))));
    assert_eq!(get("/v1/torrents/a%2Fb%20c/peers").unwrap(), Route::Ready(OperatorRequest::Peers(named("a/b c"))));
    assert_eq!(
        get("/v1/torrents/7/files?limit=3").unwrap(),
        Route::List(Listing::Files(named("7")), Paging { after: None, limit: Some(3) })
    );
    assert_eq!(post("/v1/torrents/7/start").unwrap(), Route::Ready(OperatorRequest::Start(named("7"))));
    assert_eq!(
        ask(&Method::DELETE, "/v1/torrents/7?delete_content=true").unwrap(),
        Route::Ready(OperatorRequest::Remove(named("7"), Remove { delete_content: true }))
    );
    assert_eq!(
        get("/v1/releases?after=1").unwrap(),
        Route::List(Listing::Releases, Paging { after: Some(1), limit: None })
    );
    for (target, request) in [("/v1/stats", OperatorRequest::Stats), ("/v1/version", OperatorRequest::Version)] {
        assert_eq!(get(target).unwrap(), Route::Ready(request));
    }
    assert_eq!(post("/v1/reload").unwrap(), Route::Ready(OperatorRequest::Reload));
}

#[test]
fn bodies_are_read_and_may_be_left_out_where_they_say_nothing_that_must_be_said() {
    assert_eq!(
        read("/v1/torrents/7/limit", r#"{"upload_bytes_per_s": 5}"#).unwrap(),
        OperatorRequest::Limit(named("7"), LimitChange { upload_bytes_per_s: Some(Some(5)), ..LimitChange::default() })
    );
    assert_eq!(read("/v1/torrents/7/recheck", "").unwrap(), OperatorRequest::Recheck(named("7"), Recheck::default()));
    assert_eq!(read("/v1/releases/rescan", " \n").unwrap(), OperatorRequest::Rescan(Rescan::default()));
    let to = MoveTorrent { folder: "/srv".to_owned() };
    assert_eq!(read("/v1/torrents/7/move", r#"{"folder": "/srv"}"#).unwrap(), OperatorRequest::Move(named("7"), to));
    for (target, body) in [
        ("/v1/torrents/7/move", ""),
        ("/v1/torrents/7/move", "[]"),
        ("/v1/torrents/7/limit", r#"{"upload": 5}"#),
        ("/v1/torrents/7/limit", r#"{"upload_bytes_per_s": -5}"#),
        ("/v1/torrents", "{"),
        ("/v1/torrents", "\u{0}"),
    ] {
        assert_eq!(read(target, body).unwrap_err().code, ErrorCode::Malformed, "{target} {body}");
    }
}

#[test]
fn what_leads_nowhere_says_what_would() {
    for target in ["/", "/v2/torrents", "/v1/torrents/7/eat", "/v1/torrents/7/peers/8", "/v1", "/v1/torrents/7/peers/"]
    {
        assert_eq!(get(target).unwrap_err().code, ErrorCode::NotFound, "{target}");
    }
    for (method, target, right) in [
        (Method::PUT, "/v1/torrents", "GET, POST"),
        (Method::POST, "/v1/torrents/7/peers", "GET"),
        (Method::GET, "/v1/torrents/7/start", "POST"),
        (Method::GET, "/v1/reload", "POST"),
        (Method::HEAD, "/v1/stats", "GET"),
    ] {
        let error = ask(&method, target).unwrap_err();
        assert_eq!(error.code, ErrorCode::MethodNotAllowed);
        assert_eq!(error.hint.as_deref(), Some(format!("it takes {right}").as_str()), "{target}");
    }
    for target in [
        "/v1/torrents?sate=seeding",
        "/v1/torrents?state=seedin",
        "/v1/torrents?after=-1",
        "/v1/torrents?limit=x",
        "/v1/stats?x=1",
        "/v1/torrents/%ff",
    ] {
        assert_eq!(get(target).unwrap_err().code, ErrorCode::Malformed, "{target}");
    }
}
