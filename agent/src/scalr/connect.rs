//! How an agent finds and trusts its server: the address from the token, the roots from the options.

use std::{path::Path, time::Duration};

use anyhow::Context;
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use reqwest::Certificate;
/// An HTTP client, by the name under which the wiring hands it on.
pub use reqwest::Client;
use scalr_protocol::secret::Secret;
use serde::Deserialize;
use url::Url;

use crate::options::BadOption;

/// How long a connection may take to come about.
const CONNECT_MS_MAX: u64 = 10_000;
/// How long an idle connection is kept: longer than a heartbeat's interval, shorter than usual proxies'.
const IDLE_MS_MAX: u64 = 55_000;

/// How many redirects a download may follow: a release page, a storage, a mirror of it.
const REDIRECTS_MAX: usize = 5;
/// How long a download may be silent in between.
const SILENCE_MS_MAX: u64 = 60_000;
/// How long a download may take: a hundred megabytes at 100 KB/s.
const DOWNLOAD_MS_MAX: u64 = 20 * 60 * 1_000;
/// Where people set the roots.
const PLACE: &str = "SCALR_AGENT_CA_CERT";
const NO_CLIENT: &str =
    "the HTTP client can't be made; are there any CA certificates? (SCALR_AGENT_CA_CERT, SSL_CERT_FILE)";

/// The HTTP client of this process that speaks to Scalr.
///
/// Redirects are not followed: a token must not go where a server's answer points. Roots given as
/// `ca_cert` (a file, or PEM as base64) replace the system's. Where neither are had, as in an image without
/// any, plain HTTP still works.
pub fn client(url: &Url, ca_cert: Option<&str>) -> anyhow::Result<Client> {
    let builder = builder(url, ca_cert)?.redirect(reqwest::redirect::Policy::none());
    builder.build().context(NO_CLIENT)
}

/// The HTTP client that downloads tools: it carries no token, so it may follow redirects.
pub fn download_client(url: &Url, ca_cert: Option<&str>) -> anyhow::Result<Client> {
    let builder = builder(url, ca_cert)?
        .redirect(reqwest::redirect::Policy::limited(REDIRECTS_MAX))
        .read_timeout(Duration::from_millis(SILENCE_MS_MAX))
        .timeout(Duration::from_millis(DOWNLOAD_MS_MAX));
    builder.build().context(NO_CLIENT)
}

fn builder(url: &Url, ca_cert: Option<&str>) -> anyhow::Result<reqwest::ClientBuilder> {
    let builder = Client::builder()
        .user_agent(concat!("scalr-agent/", env!("CARGO_PKG_VERSION")))
        // One call, one try: reqwest would repeat some by itself.
        .retry(reqwest::retry::never())
        .connect_timeout(Duration::from_millis(CONNECT_MS_MAX))
        .pool_idle_timeout(Duration::from_millis(IDLE_MS_MAX))
        .tcp_nodelay(true);
    Ok(match ca_cert {
        Some(given) => builder.tls_certs_only(certificates(given)?),
        None if url.scheme() == "http" => builder.tls_certs_only([]),
        None => builder,
    })
}

/// The roots that `ca_cert` gives, as PEM.
pub fn authorities(ca_cert: &str) -> anyhow::Result<String> {
    // Comments between certificates may be in any encoding.
    Ok(String::from_utf8_lossy(&pem(ca_cert)?).into_owned())
}

fn pem(given: &str) -> anyhow::Result<Vec<u8>> {
    Ok(if Path::new(given).is_file() {
        std::fs::read(given).with_context(|| format!("{PLACE}: `{given}` can't be read"))?
    } else {
        let packed: String = given.split_whitespace().collect();
        let Ok(pem) = STANDARD.decode(packed) else {
            let line = format!("{PLACE} is neither a file that can be read nor PEM as base64");
            return Err(BadOption(line).into());
        };
        pem
    })
}

fn certificates(given: &str) -> anyhow::Result<Vec<Certificate>> {
    let certificates =
        Certificate::from_pem_bundle(&pem(given)?).with_context(|| format!("{PLACE} is not PEM"))?;
    if certificates.is_empty() {
        let line = format!("{PLACE} holds no certificate; it should begin with -----BEGIN CERTIFICATE-----");
        return Err(BadOption(line).into());
    }
    Ok(certificates)
}

/// The server that issued a pool token, from its `iss` claim. The claim is only read, not verified: it
/// says where to go, and the server there decides whether the token is good.
pub fn issuer(token: &Secret) -> anyhow::Result<Url> {
    #[derive(Deserialize)]
    struct Claims {
        iss: Option<String>,
    }
    let remedy = "set SCALR_URL to the address of your Scalr";
    let Some(payload) = token.expose().split('.').nth(1) else {
        return Err(BadOption(format!("the pool token does not say where it is from; {remedy}")).into());
    };
    let claims = URL_SAFE_NO_PAD
        .decode(payload.trim_end_matches('='))
        .ok()
        .and_then(|json| serde_json::from_slice::<Claims>(&json).ok());
    let Some(issuer) = claims.and_then(|claims| claims.iss) else {
        return Err(BadOption(format!("the pool token does not say where it is from; {remedy}")).into());
    };
    let address = if issuer.contains("://") { issuer.clone() } else { format!("https://{issuer}") };
    Url::parse(&address)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
        .with_context(|| {
            format!("the pool token says that it is from `{issuer}`, which is no address; {remedy}")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(claims: &str) -> Secret {
        Secret::new(format!("head.{}.tail", URL_SAFE_NO_PAD.encode(claims)))
    }

    #[test]
    fn the_address_comes_from_the_token() {
        let from =
            |claims| issuer(&token(claims)).map(|url| url.to_string()).map_err(|error| error.to_string());
        assert_eq!(from(r#"{"iss":"https://a.scalr.io"}"#).as_deref(), Ok("https://a.scalr.io/"));
        assert_eq!(from(r#"{"iss":"a.scalr.io"}"#).as_deref(), Ok("https://a.scalr.io/"));
        assert!(from(r#"{"sub":"x"}"#).unwrap_err().contains("SCALR_URL"));
        assert!(from(r#"{"iss":"file:///etc/passwd"}"#).unwrap_err().contains("no address"));
        assert!(issuer(&Secret::new("opaque")).unwrap_err().to_string().contains("SCALR_URL"));
    }

    #[test]
    fn authorities_must_be_certificates() {
        let url = Url::parse("https://a.scalr.io").unwrap();
        assert!(client(&url, Some("not base64!")).unwrap_err().to_string().contains("neither a file"));
        assert!(client(&url, Some("aGVsbG8=")).is_err());
    }
}
