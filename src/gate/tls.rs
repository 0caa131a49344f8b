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
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme, SupportedProtocolVersion};

use super::remote::{TlsSettings, TlsVersion};

/// Why no TLS configuration can be made.
#[derive(Debug, thiserror::Error)]
pub(super) enum TlsError {
    #[error("tls_config: cannot read {key} {}: {source}; is it mounted into the sidecar too?", path.display())]
    File { key: &'static str, path: PathBuf, source: io::Error },
    #[error("tls_config: {key}: {detail}")]
    Pem { key: &'static str, detail: String },
    #[error("tls_config: a client certificate needs both cert and key")]
    Half,
    #[error("this host has no CA certificates ({detail}): install them, or set tls_config.ca_file")]
    NoRoots { detail: String },
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
                let key = PrivateKeyDer::from_pem_slice(key)
                    // The detail of a key's error is not shown: it could hold a part of the key.
                    .map_err(|_| TlsError::Pem { key: "key", detail: "no private key in PEM".into() })?;
                Ok(builder.with_client_auth_cert(certificates("cert", cert)?, key)?)
            }
            (Some(_), None) | (None, Some(_)) => Err(TlsError::Half),
        }
    }

    fn roots(&self) -> Result<RootCertStore, TlsError> {
        let mut roots = RootCertStore::empty();
        if let Some(ca) = &self.ca {
            for certificate in certificates("ca", ca)? {
                roots.add(certificate)?;
            }
            return Ok(roots);
        }
        let found = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(found.certs);
        if roots.is_empty() {
            let detail = found.errors.first().map_or_else(|| "none found".to_owned(), ToString::to_string);
            return Err(TlsError::NoRoots { detail });
        }
        Ok(roots)
    }
}

fn certificates(key: &'static str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let found = found.map_err(|error| TlsError::Pem { key, detail: error.to_string() })?;
    if found.is_empty() {
        return Err(TlsError::Pem { key, detail: "no certificate in PEM".into() });
    }
    Ok(found)
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
    let detail = format!("`{name}` is neither a host name nor an address");
    ServerName::try_from(name).map_err(|_| TlsError::Pem { key: "server_name", detail })
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
