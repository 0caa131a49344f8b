//! Access to Prometheus, the own and the leader's: whom to trust, which certificate to present, who to say one is.
//!
//! ```text
//! files --look, once a second--> Material --changed, and good--> Access --watch--> reload, checks, API questions (LocalClient)
//!                                          `- bad: the last good one stays, one warning      `-> proxy: a new pool of connections
//! ```
//!
//! - Inputs: [`AccessSettings`], and the files that they name. They are followed as a whole (`files::Followed`).
//! - Output: `Access` in a watch channel, published only when something has changed and is usable.
//! - Failure: what is wrong at the start is an error that names the flag; what is wrong later is a warning that names it,
//!   told once until it is another one, and is looked at again a second later.
//! - No secret is shown: `Access` and `files::Material` have no `Debug` of their contents.

mod files;
mod hint;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod verify;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use http::HeaderValue;
use rustls::crypto::ring;
use rustls::pki_types::ServerName;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, RootCertStore};
use tokio::sync::watch;
use tracing::{info, warn};

use self::files::Material;
use self::verify::{Expected, NamedServer};
use crate::files::{FileError, Followed, Look, Seen, follow};
use crate::tls::{NoRoots, host_roots};

pub(crate) use self::hint::hint;

/// Where everything stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessSettings {
    /// CAs of Prometheus's certificate; `None`: those of the host.
    pub ca_file: Option<PathBuf>,
    /// Client certificate and its key.
    pub client_cert_files: Option<(PathBuf, PathBuf)>,
    /// Who to say one is.
    pub credentials: Option<CredentialsFile>,
    /// The name that every Prometheus must prove; `None`: the host of its URL.
    pub server_name: Option<ServerName<'static>>,
    /// What the own Prometheus may prove instead of the host of its URL: the name that the other members know it by.
    pub own_name: Option<ServerName<'static>>,
}

/// A file with credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CredentialsFile {
    /// `user:password`.
    Basic(PathBuf),
    /// A token.
    Bearer(PathBuf),
}

impl CredentialsFile {
    /// The flag that names it.
    pub(crate) fn flag(&self) -> &'static str {
        match self {
            Self::Basic(_) => "prometheus-basic-auth-file",
            Self::Bearer(_) => "prometheus-bearer-token-file",
        }
    }
}

/// Why Prometheus cannot be accessed.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// A file cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// No CAs.
    #[error("{0}: install them, or give the CA of Prometheus's certificate with prometheus-ca-file")]
    NoRoots(String),
    /// rustls refuses.
    #[error("TLS to Prometheus: {0}")]
    Tls(String),
}

impl From<NoRoots> for AccessError {
    fn from(error: NoRoots) -> Self {
        Self::NoRoots(error.to_string())
    }
}

/// Which Prometheus is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    /// That of this member.
    Own,
    /// That of another member.
    Others,
}

/// What the files said at one moment, checked.
pub(crate) struct Access {
    credentials: Option<(&'static str, HeaderValue)>,
    roots: Option<RootCertStore>,
    identity: Option<Arc<CertifiedKey>>,
    server_name: Option<ServerName<'static>>,
    own_name: Option<ServerName<'static>>,
}

/// What an [`Access`] changes into.
pub(crate) type Accesses = watch::Receiver<Arc<Access>>;

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<access to Prometheus>")
    }
}

impl Access {
    fn new(settings: &AccessSettings, material: &Material) -> Result<Self, FileError> {
        Ok(Self {
            credentials: material.credentials(settings)?,
            roots: material.roots(settings)?,
            identity: material.identity(settings)?,
            server_name: settings.server_name.clone(),
            own_name: settings.own_name.clone(),
        })
    }

    /// Value of `Authorization`, marked as sensitive.
    pub(crate) fn authorization(&self) -> Option<&HeaderValue> {
        self.credentials.as_ref().map(|(_, value)| value)
    }

    /// The flag that the credentials come from.
    pub(crate) fn credentials_flag(&self) -> Option<&'static str> {
        self.credentials.as_ref().map(|(flag, _)| *flag)
    }

    /// A TLS configuration for HTTP/1.1, with sessions of its own. Blocking: may read the host's CAs.
    pub(crate) fn tls(&self, whose: Whose) -> Result<ClientConfig, AccessError> {
        let roots = self.roots.clone().map_or_else(host_roots, Ok)?;
        let provider = Arc::new(ring::default_provider());
        let expected = match (&self.server_name, whose) {
            (Some(name), _) => Expected::Always(name.clone()),
            (None, Whose::Own) => Expected::Dialled { or: self.own_name.clone() },
            (None, Whose::Others) => Expected::Dialled { or: None },
        };
        let verifier = NamedServer::new(roots, provider.clone(), expected).map_err(AccessError::Tls)?;
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| AccessError::Tls(error.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let mut config = match &self.identity {
            Some(identity) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(identity.clone()))),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }
}

/// Looks at the files.
pub struct AccessFiles(Followed<Material, Arc<Access>>);

impl AccessFiles {
    /// Reads them for the first time. Blocks on the disk.
    pub fn read(settings: AccessSettings) -> Result<Self, AccessError> {
        let read = {
            let settings = settings.clone();
            move || Material::read(&settings)
        };
        let make = move |material: &Material| Access::new(&settings, material).map(Arc::new);
        Ok(Self(Followed::new(read, make)?))
    }

    /// What they say, now and later.
    pub(crate) fn accesses(&self) -> Accesses {
        self.0.current()
    }

    /// Looks again and again. Without files there is nothing to look at.
    pub async fn follow(self) {
        if *self.0.material() != Material::default() {
            follow(self).await;
        }
    }
}

impl Look for AccessFiles {
    fn look(&mut self) {
        match self.0.look() {
            Seen::Same | Seen::StillUnusable => {}
            Seen::Changed(before) => {
                let files = self.0.material().changed_from(&before).join(", ");
                info!(files, "access to Prometheus: files have changed and are used from now on");
            }
            Seen::Unusable(error) => warn!(error, "access to Prometheus: the last good files stay in use"),
        }
    }
}
