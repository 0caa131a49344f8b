//! A certificate authority for tests, and files that change as those of a mounted Secret do.

use std::path::Path;

use anyhow::{Context, Result};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

/// A certificate authority.
pub struct Ca(Issuer<'static, KeyPair>);

impl Ca {
    /// Makes one, and writes its certificate to `ca.crt` in `dir`.
    pub fn new(dir: &Path) -> Result<Self> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        std::fs::write(dir.join("ca.crt"), params.self_signed(&key)?.pem())?;
        Ok(Self(Issuer::new(params, key)))
    }

    /// Writes a certificate for `name` and its key to `file` in `dir`, as `.crt` and `.key`.
    pub fn issue(&self, dir: &Path, file: &str, name: &str, adjust: impl FnOnce(&mut CertificateParams)) -> Result<()> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(vec![name.to_owned()])?;
        adjust(&mut params);
        std::fs::write(dir.join(format!("{file}.crt")), params.signed_by(&key, &self.0)?.pem())?;
        std::fs::write(dir.join(format!("{file}.key")), key.serialize_pem())?;
        Ok(())
    }
}

/// Lets the link `link` in `dir` point to `target` beside it, from one moment to the next.
pub fn swap_link(dir: &Path, link: &str, target: &str) -> Result<()> {
    let next = dir.join("next");
    std::os::unix::fs::symlink(target, &next)?;
    std::fs::rename(next, dir.join(link)).context("swap the link")
}
