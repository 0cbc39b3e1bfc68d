//! HTTPS: a certificate that is trusted, and one that is not.

use std::sync::Arc;

use control::announcer::{Announcer, AnnouncerConfig};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use crate::announcer::{config, seed, settle};

/// An HTTPS tracker, and the certificate that it signed itself.
async fn start() -> (String, Vec<u8>) {
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
    let url = format!("https://{}/announce", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // A client that does not trust us breaks off here.
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") && stream.read_buf(&mut request).await.unwrap_or(0) > 0 {}
            let reply = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 18\r\n\r\nd8:intervali1800ee";
            let _ = stream.write_all(reply.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    });
    (url, cert.der().to_vec())
}

#[tokio::test]
async fn a_trusted_tracker_is_announced_to_over_tls() {
    let (url, certificate) = start().await;
    let announcer = Announcer::start(&AnnouncerConfig { extra_roots_der: vec![certificate], ..config() }).unwrap();
    announcer.add(seed(&[&[url]]));
    let status = settle(&announcer, 1).await;
    assert_eq!((status[0].outcome.success_count, &status[0].outcome.error), (1, &None));
}

#[tokio::test]
async fn a_tracker_whose_certificate_nobody_vouches_for_is_an_error() {
    let (url, _) = start().await;
    let announcer = Announcer::start(&config()).unwrap();
    announcer.add(seed(&[&[url]]));
    let status = settle(&announcer, 1).await;
    let error = status[0].outcome.error.as_deref().expect("no trust");
    assert!(error.contains("certificate"), "{error}");
}
