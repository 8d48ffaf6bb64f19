//! NBD over TCP with TLS, spoken by libnbd: certificates on both sides.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use blocks::nbd::{NbdOptions, NbdServer, NbdStream, Upgrade};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::RootCertStore;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use tokio_rustls::TlsAcceptor;

use crate::world::{MIB, World, run, sample, try_run};

type Issuer = CertifiedIssuer<'static, KeyPair>;

fn issuer() -> Issuer {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// Writes what libnbd looks for in a directory of certificates.
fn write_client(directory: &Path, trusts: &Issuer, signed_by: &Issuer) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["client".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, signed_by).unwrap();
    std::fs::create_dir(directory).unwrap();
    std::fs::write(directory.join("ca-cert.pem"), trusts.pem()).unwrap();
    std::fs::write(directory.join("client-cert.pem"), certificate.pem()).unwrap();
    std::fs::write(directory.join("client-key.pem"), key.serialize_pem()).unwrap();
}

/// A server certificate for `localhost`; clients must have one of the same issuer.
fn upgrade(issuer: &Issuer) -> Upgrade {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, issuer).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(issuer.der().clone()).unwrap();
    let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
        );
    let acceptor = TlsAcceptor::from(Arc::new(config.unwrap()));
    Arc::new(move |stream| {
        let acceptor = acceptor.clone();
        Box::pin(async move {
            let stream = acceptor.accept(stream).await?;
            Ok(Box::new(stream) as Box<dyn NbdStream>)
        })
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn nbdinfo_and_nbdcopy_over_tls_need_a_certificate() {
    let world = World::new().await;
    let bytes = sample(9 * MIB, 5);
    let (issuer, stranger) = (issuer(), issuer());
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    let server = NbdServer::listen_tls(address, upgrade(&issuer), NbdOptions::default()).await;
    let server = server.unwrap();
    server
        .add("image", Arc::new(world.reader(&bytes).await))
        .unwrap();
    write_client(&world.path("good"), &issuer, &issuer);
    write_client(&world.path("unknown"), &issuer, &stranger);
    write_client(&world.path("misled"), &stranger, &issuer);
    let port = server.address().unwrap().port();
    let uri = |certificates: &str| {
        let directory = world.path(certificates).display().to_string();
        format!("nbds://localhost:{port}/image?tls-certificates={directory}")
    };
    let info = run("nbdinfo", &[&uri("good")]).await;
    assert!(info.contains("protocol: newstyle-fixed with TLS"), "{info}");
    let out = world.path("out.raw").display().to_string();
    run("nbdcopy", &[&uri("good"), &out]).await;
    assert!(std::fs::read(&out).unwrap() == bytes);
    for certificates in ["unknown", "misled"] {
        let done = try_run("nbdinfo", &[&uri(certificates)]).await;
        assert!(!done.status.success(), "{certificates}");
    }
    let plain = try_run("nbdinfo", &[&format!("nbd://localhost:{port}/image")]).await;
    assert!(!plain.status.success());
    server.stop().await;
}
