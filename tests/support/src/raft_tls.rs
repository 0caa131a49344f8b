//! A CA of a group, and certificates for the Raft ports of its members, renewed on disk as a mounted Secret is.

use std::path::{Path, PathBuf};

use anyhow::Result;
use rcgen::date_time_ymd;

use crate::ca::{Ca, swap_link};
use crate::sidecar::Flags;

/// The CA, and where everything lies: `ca.crt`, and for each member a link to a directory with `tls.crt` and `tls.key`.
pub struct RaftTls {
    dir: PathBuf,
    ca: Ca,
}

impl RaftTls {
    /// Makes the CA.
    pub fn new(dir: &Path) -> Result<Self> {
        std::fs::create_dir_all(dir)?;
        Ok(Self { dir: dir.to_owned(), ca: Ca::new(dir)? })
    }

    /// Issues a certificate for a member that ends with this year, and swaps it in. Returns when it ends, in seconds since 1970.
    pub fn issue(&self, member: &str, last_year: i32) -> Result<i64> {
        let not_after = date_time_ymd(last_year, 12, 31);
        let name = format!("{member}-{last_year}");
        let dir = self.dir.join(&name);
        std::fs::create_dir_all(&dir)?;
        self.ca.issue(&dir, "tls", member, |params| params.not_after = not_after)?;
        swap_link(&self.dir, member, &name)?;
        Ok(not_after.unix_timestamp())
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
