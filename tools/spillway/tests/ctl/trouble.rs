//! What an operator reads when something is wrong, and with which exit code.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;

use api::operator::types::{ErrorCode, OperatorRequest};
use serde_json::{Value, json};

use crate::{Service, ctl, done, refused};

#[test]
fn a_socket_that_is_not_there_or_not_answered_says_what_to_look_at() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("control.sock");
    assert!(ctl(&socket, &["list"]).error().contains("is `spillway serve` running?"));
    drop(UnixListener::bind(&socket).unwrap());
    assert!(ctl(&socket, &["list"]).error().contains("nobody answers: `spillway serve` has died"));
    let named = ctl(&socket, &["list", "--socket", "/not/there"]);
    assert!(named.error().starts_with("/not/there: there is no such socket"), "{}", named.stderr);
}

#[test]
fn a_socket_of_others_says_which_group_to_join() {
    if rustix::process::geteuid().is_root() {
        // Nothing is denied to root.
        return;
    }
    let service = Service::start(|_| done(1));
    std::fs::set_permissions(service.socket(), std::fs::Permissions::from_mode(0o000)).unwrap();
    assert!(service.run(&["list"]).error().contains("permission denied: join the group "));
}

#[test]
fn what_the_service_refuses_is_said_with_its_hint_and_others_are_still_done() {
    let service = Service::start(|request| match request {
        OperatorRequest::Stop(torrent) if torrent.0 == "x" => refused(ErrorCode::NotFound, "no torrent is x", "look"),
        _ => done(1),
    });
    assert_eq!(service.run(&["stop", "x"]).error(), "no torrent is x: look");
    let ran = service.run(&["stop", "1", "x", "2"]);
    assert_eq!((ran.code, ran.stdout.lines().count()), (Some(1), 2));
    assert_eq!(ran.stderr, "error: x: no torrent is x: look\nerror: 1 of 3 torrents: not done\n");
    let ran = service.run(&["stop", "1", "x", "--json"]);
    let outcomes: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((ran.code, outcomes[0]["done"]["id"].as_u64()), (Some(1), Some(1)));
    assert_eq!(outcomes[1]["error"], json!({"code": "not_found", "message": "no torrent is x", "hint": "look"}));
}

#[test]
fn what_is_no_service_is_not_believed() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("control.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let thread = std::thread::spawn(move || {
        use std::io::{Read, Write};
        for answer in [
            "HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]",
            "HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{",
            "SSH-2.0-x\r\n",
        ] {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                head.push(byte[0]);
            }
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    for text in ["no spillway service", "not an answer of this version's", "broke off", ""] {
        let ran = ctl(&socket, &["stats"]);
        assert!(ran.error().contains(text), "{}", ran.stderr);
    }
    thread.join().unwrap();
}

#[test]
fn a_slip_of_the_pen_is_a_usage_error() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("control.sock");
    for arguments in [&["lits"][..], &[], &["list", "--state", "seedin"], &["limit", "1", "--upload", "fast"]] {
        assert_eq!(ctl(&socket, arguments).code, Some(2), "{arguments:?}");
    }
}
