//! The names of bootstrap nodes to addresses, in the background and until each has been found.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::dht::{DhtError, Shared};

/// How long one name may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Before names that were not found are asked for again.
const FIRST_RETRY: Duration = Duration::from_secs(15);
/// Between tries in the end.
const LAST_RETRY: Duration = Duration::from_secs(1_800);

/// A host, by name or by address, and its port.
pub(super) struct BootstrapName {
    host: String,
    port: u16,
}

impl BootstrapName {
    pub(super) fn parse(text: &str) -> Result<BootstrapName, DhtError> {
        let parts = text.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?)));
        match parts {
            Some((host, port)) if !host.is_empty() && port != 0 => {
                let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
                Ok(BootstrapName { host: host.to_owned(), port })
            }
            _ => Err(DhtError::BadBootstrap(text.to_owned())),
        }
    }

    async fn resolve(&self) -> Vec<SocketAddr> {
        let lookup = tokio::net::lookup_host((self.host.as_str(), self.port));
        match tokio::time::timeout(ANSWER_TIMEOUT, lookup).await {
            Ok(Ok(addresses)) => addresses.collect(),
            Ok(Err(error)) => {
                tracing::debug!(host = self.host, %error, "DHT: bootstrap node not found");
                Vec::new()
            }
            Err(_) => {
                tracing::debug!(host = self.host, "DHT: the name server does not answer");
                Vec::new()
            }
        }
    }
}

/// Ends once every name has an address.
pub(super) async fn resolve_all(mut names: Vec<BootstrapName>, shared: Arc<Shared>) {
    let mut wait = FIRST_RETRY;
    loop {
        let mut missing = Vec::new();
        for name in names {
            let addresses = name.resolve().await;
            if addresses.is_empty() {
                missing.push(name);
            }
            for address in addresses {
                shared.lock().dht.add_router(shared.now(), address);
            }
            shared.changed.notify_one();
        }
        if missing.is_empty() {
            return;
        }
        names = missing;
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(LAST_RETRY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bootstrap_node_is_a_host_and_a_port() {
        let parsed = |text| BootstrapName::parse(text).map(|name| (name.host, name.port)).ok();
        assert_eq!(parsed("router.example:6881"), Some(("router.example".to_owned(), 6881)));
        assert_eq!(parsed("[2001:db8::1]:1"), Some(("2001:db8::1".to_owned(), 1)));
        assert_eq!(parsed("192.0.2.1:65535"), Some(("192.0.2.1".to_owned(), 65535)));
        for wrong in ["", "router.example", ":6881", "router.example:", "router.example:0", "router.example:65536"] {
            assert_eq!(parsed(wrong), None, "{wrong}");
        }
    }
}
