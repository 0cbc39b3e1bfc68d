//! TLS by rustls: a certificate and its key from two files, taken up again when they change. A pair that does not fit
//! together, or cannot be read, leaves the old one in force and is told.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

/// How often the files are looked at. Whoever renews certificates writes them one after the other: they are read when they
/// have stayed as they are from one look to the next.
const WATCH_PERIOD: Duration = Duration::from_secs(5);
/// No certificate chain and no key is larger.
const MAX_PEM_BYTES: u64 = 1 << 20;

/// Where a certificate and its key lie, both as PEM.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TlsFiles {
    /// The certificate, and behind it those that lead to the root.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// Why a certificate cannot be used. The fault is the operator's; nothing of a key is ever told.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// Which one.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file is not what it should be.
    #[error("{}: {problem}", path.display())]
    NotPem {
        /// Which one.
        path: PathBuf,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The two do not belong together, or rustls takes neither.
    #[error("{} and {}: {source}", certificate.display(), key.display())]
    Pair {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What rustls says.
        source: rustls::Error,
    },
}

/// A certificate and its key, as they are and as they become.
pub struct TlsKeys {
    files: RwLock<TlsFiles>,
    config: RwLock<Arc<ServerConfig>>,
    seen: Mutex<Seen>,
}

/// What a file looked like. A link is followed: renewal often swaps links.
type Stamp = Option<(u64, u64, u64, i64, i64)>;

struct Seen {
    /// As they were when they were last read, whatever came of it.
    read: [Stamp; 2],
    /// As they were at the last look.
    last: [Stamp; 2],
}

impl TlsKeys {
    /// Reads both files.
    pub fn load(files: TlsFiles) -> Result<TlsKeys, TlsError> {
        let stamps = files.stamps();
        let config = RwLock::new(files.read()?);
        Ok(TlsKeys { files: RwLock::new(files), config, seen: Mutex::new(Seen { read: stamps, last: stamps }) })
    }

    /// Takes certificate and key from other files from now on. If they cannot be used, nothing changes.
    pub fn set_files(&self, files: TlsFiles) -> Result<(), TlsError> {
        files.read()?;
        *self.files.write().unwrap_or_else(PoisonError::into_inner) = files;
        self.reload()
    }

    fn files(&self) -> TlsFiles {
        self.files.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads both files again, now. If that fails, the old pair stays in force.
    pub fn reload(&self) -> Result<(), TlsError> {
        let stamps = self.files().stamps();
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Seen { read: stamps, last: stamps };
        let config = self.files().read()?;
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = config;
        Ok(())
    }

    /// Looks whether the files have changed, and reads them if they have and are still; says whether a new pair is in
    /// force. The same failure is told once. May wait for the disk.
    pub fn look(&self) -> Result<bool, TlsError> {
        let stamps = self.files().stamps();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let is_still = stamps == seen.last;
        seen.last = stamps;
        if !is_still || stamps == seen.read {
            return Ok(false);
        }
        drop(seen);
        self.reload().map(|()| true)
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner)))
    }

    /// Looks at the files for as long as it is polled.
    pub(super) async fn watch(self: Arc<TlsKeys>) {
        let mut ticks = tokio::time::interval(WATCH_PERIOD);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let keys = Arc::clone(&self);
            match tokio::task::spawn_blocking(move || keys.look()).await {
                Ok(Ok(true)) => {
                    tracing::info!(certificate = %self.files().certificate.display(), "a new certificate is in force");
                }
                Ok(Err(error)) => tracing::error!("kept the old certificate: {error}"),
                Ok(Ok(false)) | Err(_) => {}
            }
        }
    }
}

impl TlsFiles {
    fn stamps(&self) -> [Stamp; 2] {
        [stamp(&self.certificate), stamp(&self.key)]
    }

    fn read(&self) -> Result<Arc<ServerConfig>, TlsError> {
        let chain = CertificateDer::pem_slice_iter(&read(&self.certificate)?)
            .collect::<Result<Vec<_>, pem::Error>>()
            .map_err(|_| self.not_pem(&self.certificate, "not a certificate in PEM"))?;
        if chain.is_empty() {
            return Err(self.not_pem(&self.certificate, "no certificate in it"));
        }
        let key = PrivateKeyDer::from_pem_slice(&read(&self.key)?)
            .map_err(|_| self.not_pem(&self.key, "no private key in PEM in it"))?;
        let pair = |source| TlsError::Pair { certificate: self.certificate.clone(), key: self.key.clone(), source };
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(pair)?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(pair)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        // Subscribers that come back shake hands without another signature.
        config.ticketer = ring::Ticketer::new().map_err(pair)?;
        Ok(Arc::new(config))
    }

    fn not_pem(&self, path: &Path, problem: &'static str) -> TlsError {
        TlsError::NotPem { path: path.to_owned(), problem }
    }
}

fn stamp(path: &Path) -> Stamp {
    let data = fs::metadata(path).ok()?;
    Some((data.dev(), data.ino(), data.size(), data.mtime(), data.mtime_nsec()))
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    use io::Read;
    let failed = |source| TlsError::Read { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    fs::File::open(path).map_err(failed)?.take(MAX_PEM_BYTES).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}
