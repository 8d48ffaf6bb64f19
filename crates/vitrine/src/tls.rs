//! TLS with a CA of this installation's own.
//!
//! ```text
//! DIR/ca.pem        the CA to trust; readable by everybody     DIR/ca-key.pem      its key
//! DIR/server.pem    the server's certificate, then the CA's    DIR/server-key.pem  its key
//! DIR/server.json   its names and when it ends
//! ```
//!
//! Keys are for their owner alone; every file is written whole or not at all. The CA is made once
//! and stays: clients trust it. The server's certificate is made again when it ends soon, when the
//! machine has another name, or when any of its files is missing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use jiff::{Timestamp, ToSpan as _, tz::TimeZone};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType,
};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use serde::{Deserialize, Serialize};

use crate::data_dir::write_private;

const CA: &str = "ca.pem";
const CA_KEY: &str = "ca-key.pem";
const SERVER: &str = "server.pem";
const SERVER_KEY: &str = "server-key.pem";
const SERVER_FACTS: &str = "server.json";

/// The CA lives as long as an installation.
const CA_DAYS: i64 = 20 * 365;
/// Clients refuse server certificates that live longer than about 13 months.
const SERVER_DAYS: i64 = 397;
/// A certificate is renewed when less than this is left.
const RENEW_DAYS: i64 = 60;
/// Clocks of clients may be behind.
const BACKDATE_DAYS: i64 = 2;
/// How long a CA counts that is made for one run of a program.
const SHORT_DAYS: i64 = 10;
/// How the protocol is called in ALPN.
const HTTP_1: &[u8] = b"http/1.1";

/// What the server's certificate holds.
#[derive(PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Facts {
    names: Vec<String>,
    /// Milliseconds since the epoch, UTC.
    not_after_ms: i64,
}

/// Makes the CA and the server's certificate where they are missing or end soon.
pub fn ensure(dir: &Path) -> anyhow::Result<()> {
    ensure_at(dir, Timestamp::now(), &names())
}

/// Returns the configuration of the listener: HTTP/2 and HTTP/1.1, TLS 1.2 and newer.
pub fn server_config(dir: &Path) -> anyhow::Result<Arc<ServerConfig>> {
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&read(dir, SERVER)?)
        .collect::<Result<_, _>>()
        .with_context(|| format!("{} cannot be read", dir.join(SERVER).display()))?;
    let key = PrivateKeyDer::from_pem_slice(&read(dir, SERVER_KEY)?)
        .with_context(|| format!("{} cannot be read", dir.join(SERVER_KEY).display()))?;
    let mut config = serving(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), HTTP_1.to_vec()];
    Ok(Arc::new(config))
}

/// Returns the configuration of a client that trusts the CA of `dir` alone and speaks HTTP/1.1.
pub fn client_config(dir: &Path) -> anyhow::Result<ClientConfig> {
    let mut trusted = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&read(dir, CA)?) {
        trusted.add(certificate?)?;
    }
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(trusted)
        .with_no_client_auth();
    config.alpn_protocols = vec![HTTP_1.to_vec()];
    Ok(config)
}

/// Makes a CA that nobody keeps the key of and what it signed for `names`; returns the CA's
/// certificate and the configuration of a listener that speaks HTTP/1.1.
pub fn short_lived(names: &[&str]) -> anyhow::Result<(String, ServerConfig)> {
    let now = Timestamp::now();
    let (ca_key, key) = (
        KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?,
        KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?,
    );
    let ca = ca_params(&ca_key, now, SHORT_DAYS)?;
    let mut params = server_params(names)?;
    valid(&mut params, now, SHORT_DAYS)?;
    let certificate = ca.self_signed(&ca_key)?;
    let server = params.signed_by(&key, &Issuer::new(ca, &ca_key))?;
    let chain = vec![server.der().clone(), certificate.der().clone()];
    let key = PrivateKeyDer::try_from(key.serialize_der()).map_err(anyhow::Error::msg)?;
    let mut config = serving(chain, key)?;
    config.alpn_protocols = vec![HTTP_1.to_vec()];
    Ok((certificate.pem(), config))
}

fn serving(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> anyhow::Result<ServerConfig> {
    ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .context("the server's certificate and key do not belong together")
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn ensure_at(dir: &Path, now: Timestamp, names: &[String]) -> anyhow::Result<()> {
    let ca_key = ensure_ca(dir, now)?;
    if is_current(dir, now, names) {
        return Ok(());
    }
    let issuer = Issuer::new(ca_params(&ca_key, now, CA_DAYS)?, &ca_key);
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let mut params = server_params(names)?;
    let not_after_ms = valid(&mut params, now, SERVER_DAYS)?.as_millisecond();
    let certificate = params.signed_by(&key, &issuer)?;
    let ca = String::from_utf8(read(dir, CA)?)?;
    // The facts come last: without them the other two are made again.
    let facts = Facts {
        names: names.to_vec(),
        not_after_ms,
    };
    write_private(&dir.join(SERVER_KEY), key.serialize_pem().as_bytes())?;
    write_private(&dir.join(SERVER), (certificate.pem() + &ca).as_bytes())?;
    write_private(&dir.join(SERVER_FACTS), &serde_json::to_vec_pretty(&facts)?)
}

fn server_params<Name: AsRef<str>>(names: &[Name]) -> anyhow::Result<CertificateParams> {
    let mut params = CertificateParams::default();
    params.distinguished_name = named("Vitrine server");
    params.subject_alt_names = names
        .iter()
        .map(|name| alternative(name.as_ref()))
        .collect::<Result<_, _>>()?;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

/// Returns the CA's key; makes key and certificate when there is no key.
fn ensure_ca(dir: &Path, now: Timestamp) -> anyhow::Result<KeyPair> {
    let path = dir.join(CA_KEY);
    if path.exists() {
        let text = String::from_utf8(read(dir, CA_KEY)?)?;
        let key = KeyPair::from_pem(&text)
            .with_context(|| format!("{} cannot be read", path.display()))?;
        if dir.join(CA).exists() {
            return Ok(key);
        }
        write_ca(dir, &key, now)?;
        return Ok(key);
    }
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    // What another CA signed must not look current.
    let facts = dir.join(SERVER_FACTS);
    if facts.exists() {
        std::fs::remove_file(&facts)
            .with_context(|| format!("cannot remove {}", facts.display()))?;
    }
    write_private(&path, key.serialize_pem().as_bytes())?;
    write_ca(dir, &key, now)?;
    Ok(key)
}

fn write_ca(dir: &Path, key: &KeyPair, now: Timestamp) -> anyhow::Result<()> {
    let certificate = ca_params(key, now, CA_DAYS)?.self_signed(key)?;
    write_private(&dir.join(CA), certificate.pem().as_bytes())?;
    make_readable(&dir.join(CA))
}

/// Returns what the CA's certificate says; its name comes from its key, so that two CAs differ.
fn ca_params(key: &KeyPair, now: Timestamp, days: i64) -> anyhow::Result<CertificateParams> {
    let mut params = CertificateParams::default();
    let id: String = params
        .key_identifier(key)
        .iter()
        .take(4)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    params.distinguished_name = named(&format!("Vitrine CA {id}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    valid(&mut params, now, days)?;
    Ok(params)
}

/// Sets from when to when a certificate counts; returns its end.
fn valid(params: &mut CertificateParams, now: Timestamp, days: i64) -> anyhow::Result<Timestamp> {
    let today = now.to_zoned(TimeZone::UTC).date();
    let (begin, end) = (
        today.checked_sub(BACKDATE_DAYS.days())?,
        today.checked_add((days - BACKDATE_DAYS).days())?,
    );
    let (year, month, day) = parts(begin)?;
    params.not_before = rcgen::date_time_ymd(year, month, day);
    let (year, month, day) = parts(end)?;
    params.not_after = rcgen::date_time_ymd(year, month, day);
    Ok(end.to_zoned(TimeZone::UTC)?.timestamp())
}

fn parts(day: jiff::civil::Date) -> anyhow::Result<(i32, u8, u8)> {
    Ok((
        i32::from(day.year()),
        u8::try_from(day.month())?,
        u8::try_from(day.day())?,
    ))
}

fn named(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, "Vitrine");
    name.push(DnType::CommonName, common_name);
    name
}

/// Whether the server's certificate has these names and does not end soon.
fn is_current(dir: &Path, now: Timestamp, names: &[String]) -> bool {
    let facts = std::fs::read(dir.join(SERVER_FACTS))
        .ok()
        .and_then(|text| serde_json::from_slice::<Facts>(&text).ok());
    let Some(facts) = facts else { return false };
    let left_ms = facts.not_after_ms.saturating_sub(now.as_millisecond());
    facts.names == names && left_ms > RENEW_DAYS * 24 * 3600 * 1000 && server_config(dir).is_ok()
}

/// Returns the names of this machine, as clients may write them.
fn names() -> Vec<String> {
    let mut names: Vec<String> = ["localhost", "*.localhost", "*.blob.localhost"]
        .map(str::to_owned)
        .to_vec();
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = host.trim().to_ascii_lowercase();
    let is_name = host
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.');
    if is_name && !host.is_empty() && host.len() <= 200 && host != "localhost" {
        names.extend([format!("*.blob.{host}"), host]);
    }
    names.extend(
        [
            IpAddr::from(Ipv4Addr::LOCALHOST),
            IpAddr::from(Ipv6Addr::LOCALHOST),
        ]
        .map(|ip| ip.to_string()),
    );
    names
}

fn alternative(name: &str) -> anyhow::Result<SanType> {
    Ok(match name.parse::<IpAddr>() {
        Ok(ip) => SanType::IpAddress(ip),
        Err(_) => SanType::DnsName(name.try_into()?),
    })
}

fn read(dir: &Path, name: &str) -> anyhow::Result<Vec<u8>> {
    let path = dir.join(name);
    std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
}

/// Lets everybody read a certificate; it holds no secret.
fn make_readable(path: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o644))
        .with_context(|| format!("cannot make {} readable", path.display()))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "the task ends with its test")]

    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn some_names() -> Vec<String> {
        ["localhost", "*.blob.localhost", "127.0.0.1", "::1"]
            .map(str::to_owned)
            .to_vec()
    }

    fn all_files(dir: &Path) -> Vec<Vec<u8>> {
        [CA, CA_KEY, SERVER, SERVER_KEY]
            .iter()
            .map(|name| read(dir, name).unwrap())
            .collect()
    }

    #[test]
    fn the_files_are_made_once_and_keys_are_for_their_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        ensure(dir.path()).unwrap();
        let before = all_files(dir.path());
        ensure(dir.path()).unwrap();
        assert_eq!(all_files(dir.path()), before);
        let mode = |name: &str| {
            dir.path()
                .join(name)
                .metadata()
                .unwrap()
                .permissions()
                .mode()
                & 0o777
        };
        assert_eq!(
            (mode(CA_KEY), mode(SERVER_KEY), mode(CA)),
            (0o600, 0o600, 0o644)
        );
        let config = server_config(dir.path()).unwrap();
        assert_eq!(
            config.alpn_protocols,
            [b"h2".to_vec(), b"http/1.1".to_vec()]
        );
    }

    #[test]
    fn the_server_certificate_is_renewed_by_the_same_ca_before_it_ends() {
        let dir = tempfile::tempdir().unwrap();
        let now = Timestamp::now();
        ensure_at(dir.path(), now, &some_names()).unwrap();
        let before = all_files(dir.path());
        let later = |days: i64| now + (days * 24).hours();
        ensure_at(
            dir.path(),
            later(SERVER_DAYS - RENEW_DAYS - 10),
            &some_names(),
        )
        .unwrap();
        assert_eq!(all_files(dir.path()), before, "not yet due");
        ensure_at(dir.path(), later(SERVER_DAYS - RENEW_DAYS), &some_names()).unwrap();
        let after = all_files(dir.path());
        assert_eq!(after[..2], before[..2], "the CA stays");
        assert_ne!(after[2], before[2]);
    }

    #[test]
    fn another_name_or_a_lost_file_makes_a_new_certificate() {
        let dir = tempfile::tempdir().unwrap();
        let now = Timestamp::now();
        ensure_at(dir.path(), now, &some_names()).unwrap();
        let before = read(dir.path(), SERVER).unwrap();
        let mut names = some_names();
        names.push("gallery.test".to_owned());
        ensure_at(dir.path(), now, &names).unwrap();
        let renamed = read(dir.path(), SERVER).unwrap();
        assert_ne!(renamed, before);
        std::fs::remove_file(dir.path().join(SERVER_KEY)).unwrap();
        ensure_at(dir.path(), now, &names).unwrap();
        assert!(server_config(dir.path()).is_ok());
        assert_ne!(read(dir.path(), SERVER).unwrap(), renamed);
    }

    #[tokio::test]
    async fn a_client_that_trusts_the_ca_reaches_every_name_and_no_other() {
        let dir = tempfile::tempdir().unwrap();
        ensure(dir.path()).unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        listener.set_nonblocking(true).unwrap();
        let config =
            axum_server::tls_rustls::RustlsConfig::from_config(server_config(dir.path()).unwrap());
        let data = crate::data_dir::DataDir::from(&dir.path().to_path_buf());
        let engine = data
            .open_engine_with("eastus", None, Default::default(), &Default::default())
            .await
            .unwrap();
        let app = api::router(api::ApiState::new(engine)).into_make_service();
        let server = tokio::task::spawn(async move {
            axum_server::from_tcp_rustls(listener, config)
                .unwrap()
                .serve(app)
                .await
        });
        let ca = reqwest::Certificate::from_pem(&read(dir.path(), CA).unwrap()).unwrap();
        let mut client = reqwest::Client::builder().tls_certs_only([ca]).no_proxy();
        for name in ["localhost", "acct.blob.localhost", "gallery.test"] {
            client = client.resolve(name, address);
        }
        let client = client.build().unwrap();
        for (name, is_ours) in [
            ("localhost", true),
            ("127.0.0.1", true),
            ("acct.blob.localhost", true),
            ("gallery.test", false),
        ] {
            let url = format!("https://{name}:{}/healthz", address.port());
            assert_eq!(client.get(&url).send().await.is_ok(), is_ours, "{name}");
        }
        server.abort();
    }
}
