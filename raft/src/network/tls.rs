//! Certificates as rustls wants them: one for both ends of a connection, and the CA that it and all others come from.
//!
//! A handshake proves that the other side has a certificate of the CA, in force now. Which member it names is looked at
//! afterwards, when it is known who speaks ([`super::identity`]): what is dialled may be a bare address. No session is resumed,
//! so every connection is proven by what counts then.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, verify_server_cert_signed_by_trust_anchor};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, ParsedCertificate, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, ServerConfig, SignatureScheme,
};
use tokio::sync::watch;

use super::identity::proves;
use super::tls_error::{Side, explain};
use crate::Member;

/// Later than any certificate ends, in seconds since 1970.
const END_OF_TIME: Duration = Duration::from_secs(1 << 40);

/// Who is spoken with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsMode {
    /// Only whoever proves itself by a certificate.
    Required,
    /// Those who do not speak TLS too: for the way to TLS and back.
    Optional,
}

/// How the members prove themselves to each other.
#[derive(Clone, Debug)]
pub struct Tls {
    /// Who is spoken with.
    pub mode: TlsMode,
    /// The certificates, now and later.
    pub material: watch::Receiver<Arc<TlsMaterial>>,
}

impl Tls {
    pub(super) fn is_required(&self) -> bool {
        self.mode == TlsMode::Required
    }
}

/// CA, certificate and key at one moment, checked.
pub struct TlsMaterial {
    pub(super) server: Arc<ServerConfig>,
    pub(super) client: ClientConfig,
    own: Arc<CertifiedKey>,
    verifier: Arc<ChainVerifier>,
    expires: Duration,
}

impl fmt::Debug for TlsMaterial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsMaterial(..)")
    }
}

impl TlsMaterial {
    /// `roots`: the CA of all members. `own`: this member's certificate and key.
    pub fn new(roots: RootCertStore, own: Arc<CertifiedKey>) -> Result<Self, Error> {
        let provider = Arc::new(ring::default_provider());
        let verifier = Arc::new(ChainVerifier::new(roots, provider.clone())?);
        let single = Arc::new(SingleCertAndKey::from(own.clone()));
        let mut server = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(verifier.clients.clone())
            .with_cert_resolver(single.clone());
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;
        let mut client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(verifier.clone())
            .with_client_cert_resolver(single);
        client.resumption = Resumption::disabled();
        // At the end of time every certificate has expired, and the error tells since when.
        let expires = match verifier.verify(&own.cert, UnixTime::since_unix_epoch(END_OF_TIME)) {
            Err(Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. })) => not_after.as_secs(),
            Err(error) => return Err(error),
            Ok(()) => END_OF_TIME.as_secs(),
        };
        let expires = Duration::from_secs(expires);
        Ok(Self { server: Arc::new(server), client, own, verifier, expires })
    }

    /// Since 1970: the own certificate is in force until then.
    pub fn expires(&self) -> Duration {
        self.expires
    }

    /// Why members with the same CA refuse the own certificate at this time, since 1970.
    pub fn fault(&self, now: Duration) -> Option<String> {
        let judged = self.verifier.verify(&self.own.cert, UnixTime::since_unix_epoch(now));
        judged.err().map(|error| explain(&error, Side::Own))
    }

    /// Whether the own certificate names this member; the error completes the sentence "it …".
    pub fn names(&self, member: &Member) -> Result<(), String> {
        self.own.cert.first().map_or_else(|| Err("is empty".into()), |own| proves(own, member))
    }
}

/// Checks everything of a certificate but the name.
#[derive(Debug)]
struct ChainVerifier {
    provider: Arc<CryptoProvider>,
    roots: Arc<RootCertStore>,
    clients: Arc<dyn ClientCertVerifier>,
}

impl ChainVerifier {
    fn new(roots: RootCertStore, provider: Arc<CryptoProvider>) -> Result<Self, Error> {
        let roots = Arc::new(roots);
        let clients = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone()).build();
        Ok(Self { provider, roots, clients: clients.map_err(|error| Error::General(error.to_string()))? })
    }

    /// As both ends of a connection do.
    fn verify(&self, chain: &[CertificateDer<'_>], now: UnixTime) -> Result<(), Error> {
        let (end_entity, intermediates) = chain.split_first().ok_or(Error::NoCertificatesPresented)?;
        self.verify_server(end_entity, intermediates, now)?;
        self.clients.verify_client_cert(end_entity, intermediates, now).map(drop)
    }

    fn verify_server(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        let parsed = ParsedCertificate::try_from(end_entity)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&parsed, &self.roots, intermediates, now, algorithms)
    }
}

impl ServerCertVerifier for ChainVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _dialled: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.verify_server(end_entity, intermediates, now).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
