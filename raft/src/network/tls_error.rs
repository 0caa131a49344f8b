//! What went wrong in a handshake, in words that name the way out. Pure.

use std::error::Error as StdError;
use std::io;

use rustls::{AlertDescription, CertificateError, Error, InvalidMessage};

/// Whose certificate an error is about: completes "calls of them are refused: …", "answers of it are refused: …" and
/// "raft-tls-cert-file: …".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// Another member's that calls.
    Caller,
    /// Another member's that is called.
    Callee,
    /// This member's.
    Own,
}

/// rustls's error, which I/O errors wrap, also more than once.
pub fn tls_error<'e>(error: &'e (dyn StdError + 'static)) -> Option<&'e Error> {
    if let Some(found) = error.downcast_ref() {
        return Some(found);
    }
    let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    let wrapped = wrapped.map(|wrapped| wrapped as &(dyn StdError + 'static));
    wrapped.or_else(|| error.source()).and_then(tls_error)
}

/// Whether the other side speaks no TLS at all: never true of one that does, whatever its certificate.
pub(super) fn speaks_no_tls(error: &Error) -> bool {
    matches!(error, Error::InvalidMessage(InvalidMessage::InvalidContentType))
}

/// One sentence about a failure.
pub(super) fn explain(error: &Error, side: Side) -> String {
    use AlertDescription as Alert;
    use CertificateError as Certificate;
    let whose = match side {
        Side::Caller => "the caller's certificate",
        Side::Callee => "its certificate",
        Side::Own => "the certificate",
    };
    match error {
        Error::NoCertificatesPresented => {
            "the caller brings no certificate: give it one with raft-tls-cert-file".to_owned()
        }
        Error::InvalidCertificate(Certificate::UnknownIssuer | Certificate::BadSignature) => {
            format!("{whose} is of another CA than those in raft-tls-ca-file: are they the same on all members?")
        }
        Error::InvalidCertificate(Certificate::Expired | Certificate::ExpiredContext { .. }) => {
            format!("{whose} has expired: renew it")
        }
        Error::InvalidCertificate(Certificate::NotValidYet | Certificate::NotValidYetContext { .. }) => {
            format!("{whose} is not in force yet: are the clocks right?")
        }
        Error::InvalidCertificate(Certificate::InvalidPurpose | Certificate::InvalidPurposeContext { .. }) => {
            format!("{whose} must be for servers and for clients: its extended key usage says otherwise")
        }
        Error::AlertReceived(
            Alert::CertificateRequired
            | Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::UnknownCA
            | Alert::AccessDenied
            | Alert::DecryptError,
        ) => format!(
            "it does not accept this member's certificate ({error}): is it in force, and of the CA in its raft-tls-ca-file?"
        ),
        other if speaks_no_tls(other) => {
            "it does not speak TLS: give it the raft-tls files, and raft-tls-mode=optional to all until each has them"
                .to_owned()
        }
        other => format!("TLS failed: {other}"),
    }
}
