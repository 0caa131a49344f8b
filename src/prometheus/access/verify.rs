//! Checks of a Prometheus's certificate: webpki's, with a say in which name it must prove.
//!
//! A connection to 127.0.0.1 reaches the own Prometheus, whose certificate names the pod and often nothing else. So the
//! name by which the other members know it counts too. Everything but the name is checked as ever.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

/// The name that a certificate must prove.
#[derive(Debug)]
pub(super) enum Expected {
    /// This one, whatever was dialled.
    Always(ServerName<'static>),
    /// The host that was dialled, or the other one.
    Dialled {
        /// The other one.
        or: Option<ServerName<'static>>,
    },
}

/// A verifier for [`Expected`].
#[derive(Debug)]
pub(super) struct NamedServer {
    webpki: Arc<WebPkiServerVerifier>,
    expected: Expected,
}

impl NamedServer {
    pub(super) fn new(roots: RootCertStore, provider: Arc<CryptoProvider>, expected: Expected) -> Result<Self, String> {
        let webpki = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
        Ok(Self { webpki: webpki.map_err(|error| error.to_string())?, expected })
    }
}

impl ServerCertVerifier for NamedServer {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        dialled: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verify =
            |name: &ServerName<'_>| self.webpki.verify_server_cert(end_entity, intermediates, name, ocsp_response, now);
        match &self.expected {
            Expected::Always(name) => verify(name),
            Expected::Dialled { or } => match (verify(dialled), or) {
                (Err(error), Some(other)) if is_name(&error) => verify(other).map_err(|_| error),
                (result, _) => result,
            },
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.webpki.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.webpki.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.webpki.supported_verify_schemes()
    }
}

/// Whether all but the name was right.
fn is_name(error: &Error) -> bool {
    use CertificateError::{NotValidForName, NotValidForNameContext};
    matches!(error, Error::InvalidCertificate(NotValidForName | NotValidForNameContext { .. }))
}
