//! `tls_config` as rustls wants it.
//!
//! Inputs: settings and the files that they name, which are read again for every new connection, so that renewed
//! certificates are used without a restart. Outputs: a client configuration, rebuilt only when a file has changed (sessions
//! are resumed otherwise). Versions below 1.2 are not spoken: a `min_version` below means 1.2.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme, SupportedProtocolVersion};

use super::remote::{TlsSettings, TlsVersion};
use crate::tls::{NoRoots, PemError, certificates, host_roots, private_key, roots};

/// Why no TLS configuration can be made.
#[derive(Debug, thiserror::Error)]
pub(super) enum TlsError {
    #[error("tls_config: cannot read {key} {}: {source}; is it mounted into the sidecar too?", path.display())]
    File { key: &'static str, path: PathBuf, source: io::Error },
    #[error("tls_config: {key} {source}")]
    Pem { key: &'static str, source: PemError },
    #[error("tls_config: server_name: `{0}` is neither a host name nor an address")]
    Name(String),
    #[error("tls_config: a client certificate needs both cert and key")]
    Half,
    #[error("{0}: install them, or set tls_config.ca_file")]
    NoRoots(#[from] NoRoots),
    #[error("tls_config: {0}")]
    Rustls(#[from] rustls::Error),
}

/// What the files hold.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Material {
    ca: Option<Vec<u8>>,
    cert: Option<Vec<u8>>,
    key: Option<Vec<u8>>,
}

impl Material {
    /// Reads them. `base`: the directory that relative paths start from. Blocking.
    pub(super) fn read(settings: &TlsSettings, base: &Path) -> Result<Self, TlsError> {
        let file = |key, text: Option<&str>, path: &Option<String>| match (text, path) {
            (Some(text), _) => Ok(Some(text.as_bytes().to_vec())),
            (None, Some(path)) => {
                let path = base.join(path);
                std::fs::read(&path).map(Some).map_err(|source| TlsError::File { key, path, source })
            }
            (None, None) => Ok(None),
        };
        Ok(Self {
            ca: file("ca_file", settings.ca.as_deref(), &settings.ca_file)?,
            cert: file("cert_file", settings.cert.as_deref(), &settings.cert_file)?,
            key: file("key_file", settings.key.as_ref().map(super::remote::Secret::reveal), &settings.key_file)?,
        })
    }

    /// Makes the configuration; the protocols of ALPN are for the caller to set. Blocking: may read the host's CAs.
    pub(super) fn config(&self, settings: &TlsSettings) -> Result<ClientConfig, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone());
        let builder = builder.with_protocol_versions(&versions(settings))?;
        let builder = if settings.insecure_skip_verify {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Anyone(provider)))
        } else {
            builder.with_root_certificates(self.roots()?)
        };
        match (&self.cert, &self.key) {
            (None, None) => Ok(builder.with_no_client_auth()),
            (Some(cert), Some(key)) => {
                let key = private_key(key).map_err(|source| TlsError::Pem { key: "key", source })?;
                let chain = certificates(cert).map_err(|source| TlsError::Pem { key: "cert", source })?;
                Ok(builder.with_client_auth_cert(chain, key)?)
            }
            (Some(_), None) | (None, Some(_)) => Err(TlsError::Half),
        }
    }

    fn roots(&self) -> Result<RootCertStore, TlsError> {
        match &self.ca {
            Some(ca) => roots(ca).map_err(|source| TlsError::Pem { key: "ca", source }),
            None => Ok(host_roots()?),
        }
    }
}

fn versions(settings: &TlsSettings) -> Vec<&'static SupportedProtocolVersion> {
    let wanted = |version| {
        settings.min_version.is_none_or(|min| min <= version) && settings.max_version.is_none_or(|max| version <= max)
    };
    let all = [(TlsVersion::Tls13, &rustls::version::TLS13), (TlsVersion::Tls12, &rustls::version::TLS12)];
    all.into_iter().filter(|(version, _)| wanted(*version)).map(|(_, supported)| supported).collect()
}

/// The name that a server must prove: `server_name`, else its host.
pub(super) fn server_name(settings: &TlsSettings, host: &str) -> Result<ServerName<'static>, TlsError> {
    let name = settings.server_name.as_deref().unwrap_or(host).trim_matches(['[', ']']).to_owned();
    ServerName::try_from(name.clone()).map_err(|_| TlsError::Name(name))
}

/// `insecure_skip_verify`: any certificate will do.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
