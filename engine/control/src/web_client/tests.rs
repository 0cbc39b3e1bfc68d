use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};

use super::*;

/// A server that answers each connection with the next of these, byte for byte, and keeps what it was asked.
struct Server {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start(host: &str, answers: Vec<Vec<u8>>) -> Server {
        let listener = TcpListener::bind((host, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let heard = Arc::clone(&asked);
        std::thread::spawn(move || {
            for answer in answers {
                let Ok((mut stream, _)) = listener.accept() else { return };
                let (mut head, mut byte) = (Vec::new(), [0]);
                while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|count| count > 0) {
                    head.push(byte[0]);
                }
                heard.lock().unwrap().push(String::from_utf8_lossy(&head).into_owned());
                let _ = stream.write_all(&answer);
            }
        });
        Server { address, asked }
    }

    fn url(&self, path: &str) -> Url {
        Url::parse(&format!("http://{}{path}", self.address)).unwrap()
    }
}

fn redirect_to(location: &str) -> Vec<u8> {
    format!("HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").into_bytes()
}

fn good(body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len()).into_bytes()
}

/// Loopback's addresses stand for the scopes: 127.0.0.2 is out there.
fn pretended(ip: IpAddr) -> Scope {
    if ip == IpAddr::from([127, 0, 0, 2]) { Scope::Public } else { scope(ip) }
}

fn clients() -> WebClients {
    WebClients::with_scopes(Duration::from_secs(30), &[], pretended).unwrap()
}

fn request(url: &Url) -> WebRequest<'_> {
    let (headers, timeout) = (HeaderMap::new(), Duration::from_secs(60));
    WebRequest { url, reach: Scope::Host, headers, limit_bytes: 100, timeout }
}

#[tokio::test]
async fn a_server_out_there_does_not_redirect_into_this_host() {
    let inner = Server::start("127.0.0.1", vec![good("secret")]);
    let outer = Server::start("127.0.0.2", vec![redirect_to(inner.url("/admin").as_str())]);
    let error = clients().get(request(&outer.url("/feed"))).await.unwrap_err();
    assert!(matches!(&error, WebError::Refused(why) if why.contains("own network")), "{error}");
    assert!(inner.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn what_the_operator_wrote_may_lead_within_this_host_and_out() {
    let outer = Server::start("127.0.0.2", vec![good("there")]);
    let inner = Server::start("127.0.0.1", vec![redirect_to(outer.url("/x").as_str())]);
    let answer = clients().get(request(&inner.url("/feed"))).await.unwrap();
    assert_eq!((answer.body.as_slice(), answer.scope), (&b"there"[..], Scope::Host));
    assert_eq!(answer.url, outer.url("/x"));
}

#[tokio::test]
async fn what_a_feed_out_there_names_does_not_lead_into_this_host() {
    let inner = Server::start("127.0.0.1", vec![good("secret")]);
    let url = inner.url("/metrics");
    let error = clients().get(WebRequest { reach: Scope::Public, ..request(&url) }).await.unwrap_err();
    assert!(matches!(error, WebError::Refused(_)), "{error}");
    assert!(inner.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_body_without_end_is_read_no_further_than_the_limit() {
    let server = Server::start("127.0.0.1", vec![good(&"x".repeat(101)), good(&"x".repeat(100))]);
    let url = server.url("/");
    assert_eq!(clients().get(request(&url)).await.unwrap_err(), WebError::TooLong(100));
    assert_eq!(clients().get(request(&url)).await.unwrap().body.len(), 100);
}

#[tokio::test]
async fn redirects_end() {
    let server = Server::start("127.0.0.1", vec![redirect_to("/again"); MAX_REDIRECTS + 1]);
    let error = clients().get(request(&server.url("/"))).await.unwrap_err();
    assert!(matches!(&error, WebError::Refused(why) if why.contains("redirects")), "{error}");
}

#[tokio::test]
async fn a_post_is_sent_to_nobody_else() {
    let other = Server::start("127.0.0.1", vec![good("")]);
    let server = Server::start("127.0.0.1", vec![redirect_to(other.url("/").as_str())]);
    let answer = clients().post(request(&server.url("/hook")), b"{}".to_vec()).await.unwrap();
    assert_eq!(answer.status, StatusCode::FOUND);
    assert!(other.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_server_that_says_nothing_is_not_waited_for() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = Url::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
    let error = clients().get(WebRequest { timeout: Duration::from_millis(50), ..request(&url) }).await.unwrap_err();
    assert!(matches!(&error, WebError::Lost(why) if why.contains("in time")), "{error}");
}

#[test]
fn a_password_in_a_url_is_in_no_error() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let url = Url::parse("http://me:hush@127.0.0.1:1/?token=hush").unwrap();
        let error = clients().get(request(&url)).await.unwrap_err();
        assert!(!error.to_string().contains("hush"), "{error}");
    });
}
