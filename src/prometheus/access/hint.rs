//! What to look at first when TLS to Prometheus fails: pure.

use std::error::Error;

use elector_raft::tls_error;
use rustls::{AlertDescription, CertificateError, InvalidMessage};

/// The way out that goes with a TLS failure behind `error`, in parentheses with a space before them; empty for others.
pub(crate) fn hint(error: &(dyn Error + 'static)) -> &'static str {
    use AlertDescription as Alert;
    use CertificateError as Certificate;
    match tls_error(error) {
        Some(rustls::Error::InvalidCertificate(Certificate::UnknownIssuer | Certificate::BadSignature)) => {
            " (does prometheus-ca-file hold the CA of this Prometheus's certificate?)"
        }
        Some(rustls::Error::InvalidCertificate(
            Certificate::NotValidForName | Certificate::NotValidForNameContext { .. },
        )) => " (prometheus-tls-server-name says which name to expect)",
        Some(rustls::Error::AlertReceived(
            Alert::CertificateRequired
            | Alert::NoCertificate
            | Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateExpired
            | Alert::CertificateRevoked
            | Alert::CertificateUnknown
            | Alert::UnknownCA
            | Alert::AccessDenied,
        )) => " (Prometheus wants a client certificate that it accepts: see prometheus-client-cert-file)",
        Some(rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType)) => {
            " (does this Prometheus speak TLS there? its URL says https)"
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn a_wrapped_failure_is_found_and_others_have_no_hint() {
        let unknown = rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let wrapped = io::Error::other(io::Error::other(unknown));
        assert!(hint(&wrapped).contains("prometheus-ca-file"));
        assert!(hint(&rustls::Error::AlertReceived(AlertDescription::CertificateRequired)).contains("client-cert"));
        assert_eq!(hint(&io::Error::other("refused")), "");
    }
}
