//! The files: read, and taken apart. Blocks on the disk; the rest is pure.

use std::path::PathBuf;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::HeaderValue;
use rustls::RootCertStore;
use rustls::sign::CertifiedKey;

use super::{AccessSettings, CredentialsFile};
use crate::files::{FileError, read};
use crate::tls::{certified_key, roots};

const CA: &str = "prometheus-ca-file";
const CERT: &str = "prometheus-client-cert-file";
const KEY: &str = "prometheus-client-key-file";

/// What the files hold. It has no `Debug`, so that it is shown nowhere.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Material {
    ca: Option<Vec<u8>>,
    cert: Option<Vec<u8>>,
    key: Option<Vec<u8>>,
    credentials: Option<(&'static str, Vec<u8>)>,
}

impl Material {
    pub(super) fn read(settings: &AccessSettings) -> Result<Self, FileError> {
        let (cert, key) = settings.client_cert_files.as_ref().map(|(cert, key)| (cert, key)).unzip();
        let optional = |flag, path: Option<&PathBuf>| path.map(|path| read(flag, path)).transpose();
        let credentials = settings.credentials.as_ref().map(|file| {
            let (CredentialsFile::Basic(path) | CredentialsFile::Bearer(path)) = file;
            read(file.flag(), path).map(|bytes| (file.flag(), bytes))
        });
        Ok(Self {
            ca: optional(CA, settings.ca_file.as_ref())?,
            cert: optional(CERT, cert)?,
            key: optional(KEY, key)?,
            credentials: credentials.transpose()?,
        })
    }

    /// The flags whose files are different.
    pub(super) fn changed_from(&self, old: &Self) -> Vec<&'static str> {
        let credentials = self.credentials.as_ref().map_or("", |(flag, _)| *flag);
        let differ = [
            (CA, self.ca != old.ca),
            (CERT, self.cert != old.cert),
            (KEY, self.key != old.key),
            (credentials, self.credentials != old.credentials),
        ];
        differ.into_iter().filter(|(_, differs)| *differs).map(|(flag, _)| flag).collect()
    }

    pub(super) fn roots(&self, settings: &AccessSettings) -> Result<Option<RootCertStore>, FileError> {
        let (Some(ca), Some(path)) = (&self.ca, &settings.ca_file) else { return Ok(None) };
        roots(ca).map(Some).map_err(|error| FileError::content(CA, path, &error))
    }

    pub(super) fn identity(&self, settings: &AccessSettings) -> Result<Option<Arc<CertifiedKey>>, FileError> {
        let (Some(cert), Some(key), Some((cert_path, key_path))) = (&self.cert, &self.key, &settings.client_cert_files)
        else {
            return Ok(None);
        };
        certified_key((CERT, cert_path, cert), (KEY, key_path, key)).map(Some)
    }

    /// The flag, and the value of `Authorization`.
    pub(super) fn credentials(
        &self,
        settings: &AccessSettings,
    ) -> Result<Option<(&'static str, HeaderValue)>, FileError> {
        let (Some((flag, bytes)), Some(file)) = (&self.credentials, &settings.credentials) else { return Ok(None) };
        let (path, value) = match file {
            CredentialsFile::Basic(path) => (path, basic(bytes)),
            CredentialsFile::Bearer(path) => (path, bearer(bytes)),
        };
        let mut value = value.map_err(|rule| FileError::content(flag, path, &rule))?;
        value.set_sensitive(true);
        Ok(Some((flag, value)))
    }
}

/// `user:password` in one line, as RFC 7617 has it: no colon in the user, no control characters, anything else in both.
fn basic(bytes: &[u8]) -> Result<HeaderValue, &'static str> {
    let line = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.iter().any(u8::is_ascii_control) {
        return Err("has more than one line, or control characters; write USER:PASSWORD in one line");
    }
    let colon = line.iter().position(|byte| *byte == b':');
    if colon.is_none_or(|at| at == 0) {
        return Err("does not hold USER:PASSWORD");
    }
    HeaderValue::from_str(&format!("Basic {}", BASE64_STANDARD.encode(line))).map_err(|_| "cannot be sent")
}

/// A token of visible characters; white space around it is dropped, as in Prometheus.
fn bearer(bytes: &[u8]) -> Result<HeaderValue, &'static str> {
    let token = bytes.trim_ascii();
    if token.is_empty() {
        return Err("is empty; write the token into it");
    }
    if !token.iter().all(u8::is_ascii_graphic) {
        return Err("does not hold one token of visible ASCII characters");
    }
    HeaderValue::from_bytes(&[b"Bearer ", token].concat()).map_err(|_| "cannot be sent")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_and_password_are_taken_as_they_stand_but_for_the_end_of_the_line() {
        let value = |text: &str| basic(text.as_bytes()).map(|value| value.to_str().unwrap_or_default().to_owned());
        // Example of RFC 7617.
        for text in ["Aladdin:open sesame", "Aladdin:open sesame\n", "Aladdin:open sesame\r\n"] {
            assert_eq!(value(text).as_deref(), Ok("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="), "{text:?}");
        }
        assert_eq!(value("u:a:b ").as_deref(), Ok("Basic dTphOmIg"), "colons and spaces are part of a password");
        assert_eq!(value("u:").as_deref(), Ok("Basic dTo="));
        assert_eq!(value("t\u{e9}st:123\u{a3}").as_deref(), Ok("Basic dMOpc3Q6MTIzwqM="));
        for text in ["", "\n", "user", ":password"] {
            assert_eq!(value(text), Err("does not hold USER:PASSWORD"), "{text:?}");
        }
        for text in ["a:b\nc:d\n", "a:b\n\n", "a:b\0"] {
            assert!(value(text).is_err_and(|rule| rule.contains("one line")), "{text:?}");
        }
    }

    #[test]
    fn a_token_is_one_word() {
        let value = |text: &str| bearer(text.as_bytes()).map(|value| value.to_str().unwrap_or_default().to_owned());
        assert_eq!(value(" a.b-c_d=\n").as_deref(), Ok("Bearer a.b-c_d="));
        for text in ["", " \n", "two words", "two\nlines", "t\u{e9}"] {
            assert!(value(text).is_err(), "{text:?}");
        }
    }
}
