//! A CA of a group, and certificates for the Raft ports of its members, renewed on disk as a mounted Secret is.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};

use crate::sidecar::Flags;

/// The CA, and where everything lies: `ca.crt`, and for each member a link to a directory with `tls.crt` and `tls.key`.
pub struct RaftTls {
    dir: PathBuf,
    ca: Issuer<'static, KeyPair>,
}

impl RaftTls {
    /// Makes the CA.
    pub fn new(dir: &Path) -> Result<Self> {
        std::fs::create_dir_all(dir)?;
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        std::fs::write(dir.join("ca.crt"), params.self_signed(&key)?.pem())?;
        Ok(Self { dir: dir.to_owned(), ca: Issuer::new(params, key) })
    }

    /// Issues a certificate for a member that ends with this year, and swaps it in. Returns when it ends, in seconds since 1970.
    pub fn issue(&self, member: &str, last_year: i32) -> Result<i64> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(vec![member.to_owned()])?;
        params.not_after = date_time_ymd(last_year, 12, 31);
        let end = params.not_after.unix_timestamp();
        let name = format!("{member}-{last_year}");
        let dir = self.dir.join(&name);
        std::fs::create_dir_all(&dir)?;
        std::fs::write(dir.join("tls.crt"), params.signed_by(&key, &self.ca)?.pem())?;
        std::fs::write(dir.join("tls.key"), key.serialize_pem())?;
        let link = self.dir.join("next");
        std::os::unix::fs::symlink(name, &link)?;
        std::fs::rename(link, self.dir.join(member)).context("swap the link")?;
        Ok(end)
    }

    /// Has a member use its certificate.
    pub fn set(&self, member: &str, mode: &str, flags: &mut Flags) {
        flags
            .set("raft-tls-ca-file", self.dir.join("ca.crt").display())
            .set("raft-tls-cert-file", self.dir.join(member).join("tls.crt").display())
            .set("raft-tls-key-file", self.dir.join(member).join("tls.key").display())
            .set("raft-tls-mode", mode);
    }
}
