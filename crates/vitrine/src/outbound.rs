//! The one way out: small documents from origins that the operator named.
//!
//! `domain::outbound` says which URLs and addresses; here the name is resolved once, every address is
//! checked, and the connection goes to exactly those: a name that changes its mind between check and use
//! leads nowhere else. No redirect, no proxy, no cookie, a limit on time and bytes.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use domain::outbound::{Allowed, is_public};
use futures::StreamExt as _;
use reqwest::{Certificate, Client, redirect};

/// How long a document may take.
const FETCH_LIMIT: Duration = Duration::from_secs(10);
/// Bytes of a document.
const DOCUMENT_BYTES_MAX: usize = 256 << 10;

/// Fetches documents from allowed origins.
#[derive(Clone)]
pub struct Outbound {
    allowed: Allowed,
    /// Authorities trusted beside the system's, in PEM.
    authorities: Vec<Vec<u8>>,
}

impl Outbound {
    /// Returns the way out to these origins.
    pub fn new(allowed: Allowed, authorities: Vec<Vec<u8>>) -> Self {
        Self {
            allowed,
            authorities,
        }
    }

    /// Says whether a URL would be called, without calling it.
    pub fn check(&self, url: &str) -> anyhow::Result<()> {
        self.allowed
            .check(url)
            .map(drop)
            .with_context(|| format!("'{url}' cannot be called"))
    }

    /// Returns the document at a URL.
    pub async fn fetch(&self, url: &str) -> anyhow::Result<Vec<u8>> {
        let (origin, is_inside) = self.allowed.check(url)?;
        let addresses = resolve(&origin.host, origin.port, is_inside).await?;
        let mut builder = Client::builder()
            .https_only(true)
            .redirect(redirect::Policy::none())
            .timeout(FETCH_LIMIT)
            .no_proxy()
            .resolve_to_addrs(&origin.host, &addresses);
        for pem in &self.authorities {
            for certificate in Certificate::from_pem_bundle(pem)? {
                builder = builder.add_root_certificate(certificate);
            }
        }
        let answer = builder.build()?.get(url).send().await?;
        ensure!(
            answer.status() == reqwest::StatusCode::OK,
            "{} answered {}",
            origin.host,
            answer.status()
        );
        let mut document = Vec::new();
        let mut parts = answer.bytes_stream();
        while let Some(part) = parts.next().await {
            document.extend_from_slice(&part?);
            ensure!(
                document.len() <= DOCUMENT_BYTES_MAX,
                "the document of {} is longer than {DOCUMENT_BYTES_MAX} bytes",
                origin.host
            );
        }
        Ok(document)
    }
}

/// Returns all addresses of a host; refuses all when one of them is inside and must not be.
async fn resolve(host: &str, port: u16, is_inside: bool) -> anyhow::Result<Vec<SocketAddr>> {
    let addresses: Vec<SocketAddr> = tokio::net::lookup_host((host, port)).await?.collect();
    ensure!(!addresses.is_empty(), "{host} has no address");
    for address in &addresses {
        ensure!(
            is_inside || is_public(address.ip()),
            "{host} is not on the public internet; put its origin into outbound.inside of the configuration if that is right"
        );
    }
    Ok(addresses)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outbound(public: &[&str], inside: &[&str]) -> Outbound {
        let text = |urls: &[&str]| urls.iter().map(|u| (*u).to_owned()).collect::<Vec<_>>();
        Outbound::new(
            Allowed::new(&text(public), &text(inside)).unwrap(),
            Vec::new(),
        )
    }

    #[tokio::test]
    async fn a_public_origin_that_turns_out_to_be_inside_is_not_called() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (name, number) = (
            format!("https://localhost:{port}"),
            format!("https://127.0.0.1:{port}"),
        );
        let out = outbound(&[&name, &number, "https://[::1]:1"], &[]);
        for url in [name.as_str(), &number, "https://[::1]:1/x"] {
            let error = out.fetch(url).await.unwrap_err();
            assert!(error.to_string().contains("outbound.inside"), "{error:#}");
        }
        let error = out.fetch("https://other.example/").await.unwrap_err();
        assert!(error.to_string().contains("outbound.allow"), "{error:#}");
        // Nobody came.
        let came = tokio::time::timeout(Duration::from_millis(1), listener.accept()).await;
        assert!(came.is_err());
    }
}
