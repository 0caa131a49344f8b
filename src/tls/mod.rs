//! PEM as rustls wants it: what every TLS client of the sidecar needs. Pure, but for the look at the host's CAs.

#[cfg(test)]
pub(crate) mod testing;

use std::path::Path;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use crate::files::FileError;

/// What is wrong with a PEM text; completes the sentence "this file …".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PemError {
    /// There is nothing in it.
    #[error("holds no certificate in PEM")]
    NoCertificate,
    /// It cannot be read.
    #[error("holds a certificate that cannot be read: {0}")]
    Certificate(String),
    /// The reason is not shown: it could hold a part of the key.
    #[error("holds no private key in PEM")]
    NoKey,
}

/// The host has no CA certificates, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this host has no CA certificates ({0})")]
pub(crate) struct NoRoots(String);

/// At least one certificate, in order.
pub(crate) fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let found = found.map_err(|error| PemError::Certificate(error.to_string()))?;
    if found.is_empty() { Err(PemError::NoCertificate) } else { Ok(found) }
}

/// The first private key.
pub(crate) fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, PemError> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|_| PemError::NoKey)
}

/// The CAs of a PEM text.
pub(crate) fn roots(pem: &[u8]) -> Result<RootCertStore, PemError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(pem)? {
        roots.add(certificate).map_err(|error| PemError::Certificate(error.to_string()))?;
    }
    Ok(roots)
}

/// A file as messages name it, and what is in it: flag, path, bytes.
pub(crate) type Named<'f> = (&'static str, &'f Path, &'f [u8]);

/// A certificate, and the key that belongs to it.
pub(crate) fn certified_key(cert: Named<'_>, key: Named<'_>) -> Result<Arc<CertifiedKey>, FileError> {
    let chain = certificates(cert.2).map_err(|error| FileError::content(cert.0, cert.1, &error))?;
    let private = private_key(key.2).map_err(|error| FileError::content(key.0, key.1, &error))?;
    let pair = CertifiedKey::from_der(chain, private, &ring::default_provider());
    let other = || FileError::content(key.0, key.1, &format!("is no key for {}", cert.1.display()));
    Ok(Arc::new(pair.map_err(|_| other())?))
}

/// The CAs of the host. Blocks on the disk for some milliseconds.
pub(crate) fn host_roots() -> Result<RootCertStore, NoRoots> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        return Err(NoRoots(found.errors.first().map_or_else(|| "none found".to_owned(), ToString::to_string)));
    }
    Ok(roots)
}
