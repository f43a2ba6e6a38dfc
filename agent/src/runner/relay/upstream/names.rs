//! The addresses of hosts, asked for by ourselves.
//!
//! The C library would load plugins for it that `nsswitch.conf` names, and in the user's image those belong
//! to another C library than the one in our program.

use std::{net::SocketAddr, sync::Arc};

use hickory_resolver::TokioResolver;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// Resolves as `/etc/hosts` and `/etc/resolv.conf` have it.
#[derive(Clone)]
pub(super) struct Names(TokioResolver);

impl Names {
    /// Reads the system's files; or why that can't be done.
    pub(super) fn of_system() -> Result<Arc<Self>, String> {
        let resolver = TokioResolver::builder_tokio().and_then(|mut builder| {
            // What was wrong in an outage must not be believed after it.
            builder.options_mut().cache_size = 0;
            builder.build()
        });
        resolver
            .map(|resolver| Arc::new(Self(resolver)))
            .map_err(|error| format!("no names of hosts: {error}"))
    }
}

impl Resolve for Names {
    fn resolve(&self, name: Name) -> Resolving {
        let resolver = self.0.clone();
        Box::pin(async move {
            let found = resolver.lookup_ip(name.as_str()).await?;
            let addresses: Vec<SocketAddr> =
                found.iter().map(|address| SocketAddr::new(address, 0)).collect();
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_hosts_of_this_machine_are_known_without_asking_anybody() {
        let names = Names::of_system().expect("the system's files");
        let mut found = names.resolve("localhost".parse().expect("a name")).await.expect("an address");
        assert!(found.any(|address| address.ip().is_loopback()));
    }
}
