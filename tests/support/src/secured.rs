//! Certificates, a password and a `web.config.file` for real Prometheus, changed on disk as a mounted Secret changes.
//!
//! One directory for a whole cluster: `current` is a link to a generation, and the next one is swapped in at once. Every
//! generation has a CA, certificates and a password of its own, so that nothing of the one before is good any more.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use rcgen::ExtendedKeyUsagePurpose;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::{Certificate, Client, Identity};

use crate::ca::{Ca, swap_link};
use crate::http;

/// Passwords of the generations, with bcrypt hashes of the least cost.
const PASSWORDS: [(&str, &str); 2] = [
    ("first-password", "$2b$04$abcdefghijklmnopqrstuuT2j8U6U5rBY6aIOMzZiJOWuJPYKLLOe"),
    ("second-password", "$2b$04$abcdefghijklmnopqrstuukluLair1GoPMg9PQfjHAu2MGkeVdhk2"),
];
/// The only user.
const USER: &str = "elector";

/// The files.
#[derive(Clone, Debug)]
pub struct Secured {
    dir: PathBuf,
}

impl Secured {
    /// Makes the first generation in `dir`.
    pub fn new(dir: &Path) -> Result<Self> {
        let secured = Self { dir: dir.to_owned() };
        secured.change(0)?;
        Ok(secured)
    }

    /// Makes another generation, and everybody sees it at the same moment.
    pub fn change(&self, generation: usize) -> Result<()> {
        let (password, hash) = PASSWORDS.get(generation).context("there are two generations")?;
        let name = format!("generation-{generation}");
        let dir = self.dir.join(&name);
        std::fs::create_dir_all(&dir)?;
        let ca = Ca::new(&dir)?;
        for (file, usage) in
            [("server", ExtendedKeyUsagePurpose::ServerAuth), ("client", ExtendedKeyUsagePurpose::ClientAuth)]
        {
            ca.issue(&dir, file, "127.0.0.1", |params| params.extended_key_usages = vec![usage])?;
        }
        std::fs::write(dir.join("basic"), format!("{USER}:{password}\n"))?;
        let file = |name: &str| dir.join(name).display().to_string();
        let web = format!(
            "tls_server_config:\n  cert_file: {}\n  key_file: {}\n  client_ca_file: {}\n  client_auth_type: \
             RequireAndVerifyClientCert\nbasic_auth_users:\n  {USER}: {hash}\n",
            file("server.crt"),
            file("server.key"),
            file("ca.crt")
        );
        std::fs::write(dir.join("web.yml"), web)?;
        swap_link(&self.dir, "current", &name)
    }

    /// A file of the present generation: `ca.crt`, `client.crt`, `client.key`, `basic`, `web.yml`.
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.join("current").join(name)
    }

    /// A client with the present certificates, and with the password if `with_password`.
    pub fn client(&self, timeout: Duration, with_password: bool) -> Result<Client> {
        let read = |name: &str| std::fs::read(self.file(name)).with_context(|| name.to_owned());
        let identity = [read("client.crt")?, read("client.key")?].concat();
        let headers = if with_password { self.headers()? } else { HeaderMap::new() };
        http::builder(timeout)
            .tls_certs_only([Certificate::from_pem(&read("ca.crt")?)?])
            .identity(Identity::from_pem(&identity)?)
            .default_headers(headers)
            .build()
            .context("build an HTTP client")
    }

    /// `Authorization` with the present password.
    pub fn headers(&self) -> Result<HeaderMap> {
        use base64::Engine as _;
        let line = std::fs::read_to_string(self.file("basic"))?;
        let value = format!("Basic {}", base64::prelude::BASE64_STANDARD.encode(line.trim_end()));
        Ok(HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_str(&value)?)]))
    }
}
