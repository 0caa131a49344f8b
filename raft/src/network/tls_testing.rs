//! Certificates for tests.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::RootCertStore;
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use tokio::sync::watch;

use super::tls::{Tls, TlsMaterial, TlsMode};

/// A certificate authority.
pub(super) struct Ca {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
}

/// A certificate and its key.
pub(super) struct Issued {
    pub(super) certificate: CertificateDer<'static>,
    key: KeyPair,
}

impl Ca {
    pub(super) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap().der().clone();
        Self { issuer: Issuer::new(params, key), certificate }
    }

    pub(super) fn issue(&self, names: &[&str]) -> Issued {
        self.issue_with(names, |_| {})
    }

    fn issue_with(&self, names: &[&str], adjust: impl FnOnce(&mut CertificateParams)) -> Issued {
        let key = KeyPair::generate().unwrap();
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        adjust(&mut params);
        Issued { certificate: params.signed_by(&key, &self.issuer).unwrap().der().clone(), key }
    }

    /// What a member with such a certificate needs.
    pub(super) fn material(&self, names: &[&str]) -> Arc<TlsMaterial> {
        self.trusting(self.issue(names))
    }

    /// The same; the certificate ended an hour ago.
    pub(super) fn expired(&self, names: &[&str]) -> Arc<TlsMaterial> {
        let hour = Duration::from_secs(3600);
        self.trusting(self.issue_with(names, |params| params.not_after = (SystemTime::now() - hour).into()))
    }

    /// This certificate, of whatever CA, for a member that trusts this one.
    pub(super) fn trusting(&self, issued: Issued) -> Arc<TlsMaterial> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        let key = PrivateKeyDer::try_from(issued.key.serialize_der()).unwrap();
        let own = CertifiedKey::from_der(vec![issued.certificate], key, &ring::default_provider()).unwrap();
        Arc::new(TlsMaterial::new(roots, Arc::new(own)).unwrap())
    }
}

/// This material for ever.
pub(super) fn fixed(mode: TlsMode, material: Arc<TlsMaterial>) -> Tls {
    Tls { mode, material: watch::channel(material).1 }
}
