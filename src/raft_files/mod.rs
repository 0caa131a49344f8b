//! The files that members prove themselves with on the Raft port: token, certificate and key, and the CA of them all.
//!
//! ```text
//! files --look, once a second--> bytes --changed, and good--> Token, TlsMaterial --watch--> election group: new calls, new connections
//!                                     `- bad: the last good ones stay, and a warning in log and status
//! ```
//!
//! The token and the certificates are looked at apart: a broken one does not keep the other from being renewed. Failure: what is wrong at the start is an error that names the flag; what is
//! wrong later, or about to be, is a warning for as long as it lasts ([`RaftFilesStatus`]). No secret is shown.

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use elector_raft::{Member, Tls, TlsMaterial, TlsMode, Token, Tokens};
use tokio::sync::watch;
use tracing::{info, warn};

use crate::files::{FileError, Followed, Look, Seen, follow, read};
use crate::tls::{certified_key, roots};

const TOKEN: &str = "raft-token-file";
const CA: &str = "raft-tls-ca-file";
const CERT: &str = "raft-tls-cert-file";
const KEY: &str = "raft-tls-key-file";

/// So long before a certificate ends it is a warning.
const EXPIRY_NOTICE: Duration = Duration::from_hours(7 * 24);

/// Where the certificates stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RaftTlsSettings {
    /// CA of all members.
    pub ca_file: PathBuf,
    /// Certificate of this member, for both ends of a connection.
    pub cert_file: PathBuf,
    /// Its key.
    pub key_file: PathBuf,
    /// Who is spoken with.
    pub mode: TlsMode,
}

/// Bytes of some files, and what is made of them.
type FollowedFiles<T> = Followed<Vec<Vec<u8>>, T>;

/// Looks at the files.
pub(crate) struct RaftFiles {
    token: Option<FollowedFiles<Token>>,
    tls: Option<FollowedFiles<Arc<TlsMaterial>>>,
    mode: TlsMode,
    status: RaftFilesStatus,
    /// The warnings that are in the log already.
    told: Vec<String>,
}

/// What there is to tell about the files. Cheap to clone.
#[derive(Clone)]
pub(crate) struct RaftFilesStatus {
    complaints: Vec<watch::Receiver<Option<String>>>,
    certificate: Option<(PathBuf, watch::Receiver<Arc<TlsMaterial>>)>,
}

impl RaftFiles {
    /// Reads them for the first time. `member`: whom the certificate must name. Blocks on the disk.
    pub(crate) fn read(
        token_file: Option<&Path>,
        tls: Option<&RaftTlsSettings>,
        member: &Member,
    ) -> Result<Self, FileError> {
        let mode = tls.map_or(TlsMode::Required, |tls| tls.mode);
        let certificate_file = tls.map(|tls| tls.cert_file.clone());
        let token = token_file.map(followed_token).transpose()?;
        let tls = tls.map(|tls| followed_tls(tls, member.clone())).transpose()?;
        let complaints = token.iter().map(Followed::complaint).chain(tls.iter().map(Followed::complaint));
        let status = RaftFilesStatus {
            complaints: complaints.collect(),
            certificate: certificate_file.zip(tls.as_ref().map(Followed::current)),
        };
        Ok(Self { token, tls, mode, status, told: Vec::new() })
    }

    /// The token, now and later; `None`: there is none.
    pub(crate) fn tokens(&self) -> Option<Tokens> {
        self.token.as_ref().map(Followed::current)
    }

    /// The certificates, now and later; `None`: there are none.
    pub(crate) fn tls(&self) -> Option<Tls> {
        self.tls.as_ref().map(|tls| Tls { mode: self.mode, material: tls.current() })
    }

    /// What there is to tell about them.
    pub(crate) fn status(&self) -> RaftFilesStatus {
        self.status.clone()
    }

    /// Looks again and again. Without files there is nothing to look at.
    pub(crate) async fn follow(self) {
        if self.token.is_some() || self.tls.is_some() {
            follow(self).await;
        }
    }
}

impl Look for RaftFiles {
    fn look(&mut self) {
        let seen = [(TOKEN, self.token.as_mut().map(Followed::look)), (CERT, self.tls.as_mut().map(Followed::look))];
        for (flag, _) in seen.iter().filter(|(_, seen)| matches!(seen, Some(Seen::Changed(_)))) {
            info!(flag, "raft files: they have changed and are used from now on");
        }
        let warnings = self.status.warnings(SystemTime::now());
        for warning in warnings.iter().filter(|warning| !self.told.contains(warning)) {
            warn!(%warning, "raft files");
        }
        self.told = warnings;
    }
}

impl RaftFilesStatus {
    /// What an operator should know, in plain words.
    pub(crate) fn warnings(&self, now: SystemTime) -> Vec<String> {
        let complaints = self.complaints.iter().filter_map(|complaint| complaint.borrow().clone());
        let stays = complaints.map(|complaint| format!("{complaint}; the last good files stay in use"));
        stays.chain(self.certificate_warning(now)).collect()
    }

    fn certificate_warning(&self, now: SystemTime) -> Option<String> {
        let (path, material) = self.certificate.as_ref()?;
        let (material, now) = (material.borrow().clone(), now.duration_since(UNIX_EPOCH).unwrap_or_default());
        let file = format!("{CERT} {}", path.display());
        if let Some(fault) = material.fault(now) {
            return Some(format!("{file}: {fault}. Other members refuse the calls of this one"));
        }
        let end = humantime::format_rfc3339_seconds(UNIX_EPOCH + material.expires());
        let is_near = material.expires().saturating_sub(now) < EXPIRY_NOTICE;
        is_near.then(|| {
            format!("{file}: the certificate expires at {end}: renew it; the new one is used without a restart")
        })
    }

    /// When the certificate in force expires, in seconds since 1970; `None`: there is none.
    pub(crate) fn expiry(&self) -> Option<f64> {
        self.certificate.as_ref().map(|(_, material)| material.borrow().expires().as_secs_f64())
    }
}

fn followed_token(path: &Path) -> Result<FollowedFiles<Token>, FileError> {
    let path = path.to_owned();
    followed([(TOKEN, path.clone())], move |bytes| {
        Token::parse(&bytes[0]).map_err(|error| FileError::content(TOKEN, &path, &error))
    })
}

fn followed<T, const N: usize>(
    files: [(&'static str, PathBuf); N],
    make: impl Fn(&Vec<Vec<u8>>) -> Result<T, FileError> + Send + 'static,
) -> Result<FollowedFiles<T>, FileError> {
    Followed::new(move || files.iter().map(|(flag, path)| read(flag, path)).collect(), make)
}

fn followed_tls(settings: &RaftTlsSettings, member: Member) -> Result<FollowedFiles<Arc<TlsMaterial>>, FileError> {
    let RaftTlsSettings { ca_file, cert_file, key_file, .. } = settings.clone();
    let files = [(CA, ca_file.clone()), (CERT, cert_file.clone()), (KEY, key_file.clone())];
    followed(files, move |bytes| {
        let roots = roots(&bytes[0]).map_err(|error| FileError::content(CA, &ca_file, &error))?;
        let own = certified_key((CERT, &cert_file, &bytes[1]), (KEY, &key_file, &bytes[2]))?;
        let unusable = |why: String| FileError::content(CERT, &cert_file, &format!("holds a certificate that {why}"));
        let material = TlsMaterial::new(roots, own).map_err(|error| unusable(format!("cannot be used: {error}")))?;
        material.names(&member).map_err(unusable)?;
        Ok(Arc::new(material))
    })
}
