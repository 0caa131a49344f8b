//! Certificates for tests.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::server::WebPkiClientVerifier;
use tokio_rustls::TlsAcceptor;

use super::{certificates, private_key, roots};

/// A certificate authority.
pub(crate) struct Ca {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) pem: String,
}

impl Ca {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// A certificate for these names and its key, in PEM.
    pub(crate) fn issue(&self, names: &[&str]) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    /// A server with such a certificate, which wants one of `clients` from its clients.
    pub(crate) fn acceptor(&self, names: &[&str], alpn: &[&str], clients: Option<&Self>) -> TlsAcceptor {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (certificate, key) = self.issue(names);
        let builder = rustls::ServerConfig::builder();
        let builder = if let Some(clients) = clients {
            let roots = Arc::new(roots(clients.pem.as_bytes()).unwrap());
            builder.with_client_cert_verifier(WebPkiClientVerifier::builder(roots).build().unwrap())
        } else {
            builder.with_no_client_auth()
        };
        let chain = certificates(certificate.as_bytes()).unwrap();
        let mut config = builder.with_single_cert(chain, private_key(key.as_bytes()).unwrap()).unwrap();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        TlsAcceptor::from(Arc::new(config))
    }
}
