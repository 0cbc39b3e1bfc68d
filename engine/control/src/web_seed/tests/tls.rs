//! HTTPS: a server that is trusted, one that is not, and one that redirects to plain HTTP.

use rcgen::{CertifiedKey, generate_simple_self_signed};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use super::peer_end::PeerEnd;
use super::server::{Reply, Server, answer_over};
use super::*;

/// An HTTPS server, and the certificate that it signed itself. It redirects to `location` if there is one.
async fn start(torrent: &Arc<Torrent>, location: Option<String>) -> (String, Vec<u8>) {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(signing_key.serialize_der().into());
    let tls = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(tls));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/pub/", listener.local_addr().unwrap());
    let torrent = Arc::clone(torrent);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // A client that does not trust us breaks off here.
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let (torrent, location) = (Arc::clone(&torrent), location.clone());
            tokio::spawn(async move {
                match location {
                    None => answer_over(torrent.layout(), stream).await,
                    Some(to) => {
                        let reply = format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n");
                        let _ = stream.write_all(reply.as_bytes()).await;
                    }
                }
            });
        }
    });
    (url, cert.der().to_vec())
}

fn torrent() -> Arc<Torrent> {
    Arc::new(torrent_of(Version::Hybrid, 1 << 15, &[300_000, 5]))
}

#[tokio::test]
async fn a_trusted_server_delivers_over_tls() {
    let torrent = torrent();
    let (url, certificate) = start(&torrent, None).await;
    let clients = clients(WebSeedConfig { extra_roots_der: vec![certificate], ..quick() });
    let seed = seed_at(&clients, Arc::clone(&torrent), &url);
    let mut end = PeerEnd::greet(&seed).await;
    end.fetch(torrent.layout(), &all_blocks(torrent.layout()), 16).await;
}

#[tokio::test]
async fn a_server_whose_certificate_nobody_vouches_for_is_backed_off() {
    let torrent = torrent();
    let (url, _) = start(&torrent, None).await;
    let seed = seed_at(&clients(quick()), Arc::clone(&torrent), &url);
    let mut end = PeerEnd::greet(&seed).await;
    end.request(&all_blocks(torrent.layout())[..1]).await;
    assert_eq!(end.rejects(1).await, 1);
    let error = seed.status().last_error.unwrap();
    assert!(error.contains("certificate"), "{error}");
}

#[tokio::test]
async fn https_is_not_redirected_to_plain_http() {
    let torrent = torrent();
    let plain = Server::start(torrent.layout(), |_| Reply::Good).await;
    let (url, certificate) = start(&torrent, Some(plain.url())).await;
    let clients = clients(WebSeedConfig { extra_roots_der: vec![certificate], ..quick() });
    let seed = seed_at(&clients, Arc::clone(&torrent), &url);
    let mut end = PeerEnd::greet(&seed).await;
    end.request(&all_blocks(torrent.layout())[..1]).await;
    assert_eq!(end.rejects(1).await, 1);
    end.ended().await;
    let error = seed.status().last_error.unwrap();
    assert!(error.contains("from HTTPS to HTTP"), "{error}");
    assert!(plain.asked().is_empty());
}
