//! Files that change, and what is told about them.
#![allow(clippy::unwrap_used)]

use tempfile::TempDir;

use super::*;
use crate::tls::testing::Ca;

const OLD: &str = "old-token-0123456789";
const NEW: &str = "new-token-0123456789";

struct Files(TempDir);

impl Files {
    /// With a certificate for `prom-1`, and the old token.
    fn new(ca: &Ca) -> Self {
        let files = Self(tempfile::tempdir().unwrap());
        files.certify(ca, &["prom-1"]);
        files.write("ca", &ca.pem);
        files.write("token", OLD);
        files
    }

    fn certify(&self, ca: &Ca, names: &[&str]) {
        let (certificate, key) = ca.issue(names);
        self.write("cert", &certificate);
        self.write("key", &key);
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn read(&self) -> Result<RaftFiles, FileError> {
        let (ca_file, cert_file, key_file) = (self.path("ca"), self.path("cert"), self.path("key"));
        let tls = RaftTlsSettings { ca_file, cert_file, key_file, mode: TlsMode::Optional };
        RaftFiles::read(Some(&self.path("token")), Some(&tls), &member())
    }
}

fn member() -> Member {
    Member { name: "prom-1".into(), raft_address: "p1.svc:9096".into(), ..Member::default() }
}

fn token(text: &str) -> Token {
    Token::parse(text.as_bytes()).unwrap()
}

fn now() -> SystemTime {
    SystemTime::now()
}

#[test]
fn changed_files_are_used_and_bad_ones_leave_the_last_good_ones_and_are_told() {
    let ca = Ca::new();
    let files = Files::new(&ca);
    let mut raft = files.read().unwrap();
    let (mut tokens, mut tls, status) = (raft.tokens().unwrap(), raft.tls().unwrap(), raft.status());
    assert_eq!((tls.mode, tokens.borrow_and_update().clone()), (TlsMode::Optional, token(OLD)));
    raft.look();
    assert!(!tokens.has_changed().unwrap() && !tls.material.has_changed().unwrap(), "nothing has changed");

    files.write("token", &format!("{NEW}\n{OLD}\n"));
    files.certify(&ca, &["x", "p1.svc"]);
    raft.look();
    assert!(tls.material.has_changed().unwrap());
    tls.material.mark_unchanged();
    assert_eq!(*tokens.borrow_and_update(), token(&format!("{NEW}\n{OLD}")));
    assert_eq!(status.warnings(now()), [""; 0]);

    // A broken certificate does not keep the token from being renewed.
    files.certify(&ca, &["prom-9"]);
    files.write("token", NEW);
    raft.look();
    let path = files.path("cert").display().to_string();
    let wrong = format!(
        "raft-tls-cert-file {path}: the file holds a certificate that is for prom-9, and neither for prom-1 nor for p1.svc; \
         the last good files stay in use"
    );
    assert_eq!((status.warnings(now()), raft.told.len()), (vec![wrong], 1));
    assert!(!tls.material.has_changed().unwrap());
    assert_eq!(*tokens.borrow_and_update(), token(NEW));

    files.certify(&ca, &["prom-1"]);
    files.write("token", "s3cret");
    raft.look();
    assert!(tls.material.has_changed().unwrap());
    let warnings = status.warnings(now());
    assert!(warnings.len() == 1 && warnings[0].contains("raft-token-file") && !warnings[0].contains("s3cret"));
    assert!(!tokens.has_changed().unwrap());
    files.write("token", OLD);
    raft.look();
    assert_eq!((status.warnings(now()), tokens.borrow().clone()), (vec![], token(OLD)));
}

#[test]
fn what_is_wrong_at_the_start_names_the_flag_and_shows_no_secret() {
    let ca = Ca::new();
    let other_key = ca.issue(&["prom-1"]).1;
    let stranger = ca.issue(&["prom-9"]).0;
    let files = Files::new(&ca);
    for (name, text, words) in [
        ("ca", Some("s3cret"), "raft-tls-ca-file PATH: the file holds no certificate in PEM"),
        ("cert", Some("s3cret"), "raft-tls-cert-file PATH: the file holds no certificate in PEM"),
        ("key", Some("s3cret"), "raft-tls-key-file PATH: the file holds no private key in PEM"),
        ("key", Some(other_key.as_str()), "raft-tls-key-file PATH: the file is no key for"),
        ("key", None, "raft-tls-key-file PATH: cannot be read"),
        ("token", Some("s3cret"), "raft-token-file PATH: the file holds no token in line 1"),
        ("token", Some(""), "raft-token-file PATH: the file is empty"),
    ] {
        let good = std::fs::read(files.path(name)).unwrap();
        match text {
            Some(text) => files.write(name, text),
            None => std::fs::remove_file(files.path(name)).unwrap(),
        }
        let error = files.read().err().unwrap();
        let (shown, debug) = (error.to_string(), format!("{error:?}"));
        assert!(shown.starts_with(&words.replace("PATH", &files.path(name).display().to_string())), "{shown}");
        assert!(!shown.contains("s3cret") && !debug.contains("s3cret"), "{shown} {debug}");
        std::fs::write(files.path(name), good).unwrap();
    }
    files.write("cert", &stranger);
    assert!(files.read().is_err());
    let raft = Files::new(&ca).read().unwrap();
    let shown = format!("{:?} {:?}", raft.tokens(), raft.tls());
    assert!(!shown.contains(OLD) && !shown.contains("PrivateKey"), "{shown}");
}

#[test]
fn a_certificate_that_ends_is_told_a_week_before_and_when_it_has_ended() {
    let ca = Ca::new();
    let files = Files::new(&ca);
    let raft = files.read().unwrap();
    // What rcgen gives to all of them.
    let end = humantime::parse_rfc3339("4096-01-01T00:00:00Z").unwrap();
    let since_1970 = end.duration_since(UNIX_EPOCH).unwrap();
    assert_eq!(raft.status().expiry(), Some(since_1970.as_secs_f64()));
    let told = |at: SystemTime| raft.status().warnings(at);
    let file = format!("raft-tls-cert-file {}", files.path("cert").display());
    assert_eq!(told(end - EXPIRY_NOTICE), [""; 0]);
    let soon = format!(
        "{file}: the certificate expires at 4096-01-01T00:00:00Z: renew it; the new one is used without a restart"
    );
    assert_eq!(told(end - EXPIRY_NOTICE + Duration::from_secs(1)), [soon]);
    let over = format!("{file}: the certificate has expired: renew it. Other members refuse the calls of this one");
    assert_eq!(told(end + Duration::from_secs(1)), [over]);
}

#[test]
fn a_certificate_that_the_own_ca_does_not_know_is_told() {
    let files = Files::new(&Ca::new());
    files.write("ca", &Ca::new().pem);
    let told = files.read().unwrap().status().warnings(now());
    assert!(told.len() == 1 && told[0].contains("the certificate is of another CA than those in raft-tls-ca-file"));
}

#[test]
fn without_files_there_is_nothing_to_tell() {
    let mut raft = RaftFiles::read(None, None, &member()).unwrap();
    raft.look();
    assert!(raft.tokens().is_none() && raft.tls().is_none());
    assert_eq!((raft.status().warnings(now()), raft.status().expiry()), (vec![], None));
}
