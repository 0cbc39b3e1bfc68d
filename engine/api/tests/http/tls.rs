//! TLS: a certificate that changes under way, pairs that do not fit, and clients that do not shake hands.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use api::HttpLimits;
use api::server::{Routes, Server, TlsError, TlsFiles, TlsKeys};
use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};
use reqwest::{Certificate, Client};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::{board, client, count, get, listener, read_all, soon, until};

/// A certificate that signed itself, in a folder, and a client that trusts it alone.
struct Pair {
    certificate: String,
    key: String,
}

impl Pair {
    fn new() -> Pair {
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        Pair { certificate: cert.pem(), key: signing_key.serialize_pem() }
    }

    fn write(&self, folder: &Path) {
        fs::write(folder.join("certificate.pem"), &self.certificate).unwrap();
        fs::write(folder.join("key.pem"), &self.key).unwrap();
    }

    fn client(&self) -> Client {
        let certificate = Certificate::from_pem(self.certificate.as_bytes()).unwrap();
        client().tls_certs_only([certificate]).pool_max_idle_per_host(0).build().unwrap()
    }
}

fn files(folder: &Path) -> TlsFiles {
    TlsFiles { certificate: folder.join("certificate.pem"), key: folder.join("key.pem") }
}

#[tokio::test]
async fn plain_and_tls_listeners_serve_side_by_side() {
    let folder = tempfile::tempdir().unwrap();
    let pair = Pair::new();
    pair.write(folder.path());
    let keys = Arc::new(TlsKeys::load(files(folder.path())).unwrap());
    let routes = Routes { feeds: Some(board()), ..Routes::default() };
    let listeners = vec![listener(&routes, None), listener(&routes, Some(keys))];
    let server = Server::start(listeners, HttpLimits::default()).unwrap();
    let (plain, tls) = (server.local_addrs()[0], server.local_addrs()[1]);
    assert!(get(plain, "/feeds/iso.rss").await.starts_with("HTTP/1.1 200 "));
    let url = format!("https://{tls}/feeds/iso.rss");
    let response = soon(pair.client().get(&url).send()).await.unwrap();
    assert_eq!((response.status(), response.version()), (reqwest::StatusCode::OK, reqwest::Version::HTTP_11));
    assert!(soon(response.text()).await.unwrap().contains("Release 49"));
    assert!(soon(Pair::new().client().get(&url).send()).await.is_err(), "nobody vouches for it");
    soon(server.stop()).await;
}

#[tokio::test]
async fn a_new_certificate_is_taken_up_and_a_pair_that_does_not_fit_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (Pair::new(), Pair::new());
    old.write(folder.path());
    let keys = Arc::new(TlsKeys::load(files(folder.path())).unwrap());
    let server =
        Server::start(vec![listener(&Routes::default(), Some(Arc::clone(&keys)))], HttpLimits::default()).unwrap();
    let url = format!("https://{}/healthz", server.local_addrs()[0]);
    let trusts = async |pair: &Pair| soon(pair.client().get(&url).send()).await.is_ok();
    assert!(trusts(&old).await && !trusts(&new).await);
    // Half of a renewal: the certificate is there, its key is not.
    fs::write(folder.path().join("certificate.pem"), &new.certificate).unwrap();
    assert!(matches!(keys.reload(), Err(TlsError::Pair { .. })));
    assert!(trusts(&old).await, "the old pair stays in force");
    new.write(folder.path());
    keys.reload().unwrap();
    assert!(trusts(&new).await && !trusts(&old).await);
    fs::remove_file(folder.path().join("key.pem")).unwrap();
    let error = keys.reload().unwrap_err();
    assert!(matches!(&error, TlsError::Read { path, .. } if path.ends_with("key.pem")), "{error}");
    assert!(trusts(&new).await);
    soon(server.stop()).await;
}

#[tokio::test]
async fn files_are_read_again_when_they_have_changed_and_are_still() {
    let folder = tempfile::tempdir().unwrap();
    let pair = Pair::new();
    pair.write(folder.path());
    let keys = TlsKeys::load(files(folder.path())).unwrap();
    assert!(!keys.look().unwrap() && !keys.look().unwrap(), "nothing has changed");
    let place = |pair: &Pair| {
        // As certbot does: beside their place, then renamed.
        fs::write(folder.path().join("c"), &pair.certificate).unwrap();
        fs::write(folder.path().join("k"), &pair.key).unwrap();
        fs::rename(folder.path().join("c"), folder.path().join("certificate.pem")).unwrap();
        fs::rename(folder.path().join("k"), folder.path().join("key.pem")).unwrap();
    };
    place(&Pair::new());
    assert!(!keys.look().unwrap(), "they may still be written");
    assert!(keys.look().unwrap());
    assert!(!keys.look().unwrap(), "once");
    fs::write(folder.path().join("key.pem"), "no key").unwrap();
    assert!(!keys.look().unwrap());
    assert!(matches!(keys.look(), Err(TlsError::NotPem { .. })));
    assert!(!keys.look().unwrap(), "told once");
}

#[test]
fn what_is_no_certificate_is_refused_in_words_that_hold_no_key() {
    let folder = tempfile::tempdir().unwrap();
    let (one, other) = (Pair::new(), Pair::new());
    let error = |certificate: &str, key: &str| {
        Pair { certificate: certificate.to_owned(), key: key.to_owned() }.write(folder.path());
        TlsKeys::load(files(folder.path())).err().unwrap().to_string()
    };
    assert!(error("", &one.key).contains("certificate.pem: no certificate in it"));
    assert!(error(&one.certificate, "").contains("key.pem: no private key in PEM"));
    assert!(error(&one.key, &one.key).contains("no certificate in it"));
    assert!(error(&one.certificate, &one.certificate).contains("no private key"));
    let unfit = error(&one.certificate, &other.key);
    assert!(unfit.contains("certificate.pem and ") && unfit.contains("not be consistent"), "{unfit}");
    let broken = error(&one.certificate.replace("MII", "!!!"), &one.key);
    assert!(broken.contains("certificate.pem"), "{broken}");
    let secret = KeyPair::generate().unwrap().serialize_pem();
    assert!(!error(&one.certificate, &secret).contains(secret.lines().nth(1).unwrap()));
}

#[tokio::test]
async fn who_does_not_shake_hands_is_let_go_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let pair = Pair::new();
    pair.write(folder.path());
    let keys = Arc::new(TlsKeys::load(files(folder.path())).unwrap());
    let limits = HttpLimits { header_timeout: Duration::from_millis(500), ..HttpLimits::default() };
    let server = Server::start(vec![listener(&Routes::default(), Some(keys))], limits).unwrap();
    let to = server.local_addrs()[0];
    let mut silent = TcpStream::connect(to).await.unwrap();
    let mut plain = TcpStream::connect(to).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    assert!(!read_all(&mut plain).await.contains("HTTP/1.1"), "no plain text behind a TLS port");
    until(&server.counters(), "tls_failed", 1).await;
    assert_eq!(read_all(&mut silent).await, "");
    until(&server.counters(), "no_request_in_time", 1).await;
    assert_eq!(count(&server.counters(), "requests"), 0);
    soon(server.stop()).await;
}
