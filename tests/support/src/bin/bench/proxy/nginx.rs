//! nginx in one process, without anything of the system's configuration.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use test_support::process::Process;
use test_support::wait::eventually;
use tokio::net::TcpStream;

/// Longest start.
const START_MAX: Duration = Duration::from_secs(5);

/// Below the directory of the process.
const TEMPORARY_FILES: &str =
    "client_body_temp_path 1; proxy_temp_path 2; fastcgi_temp_path 3; uwsgi_temp_path 4; scgi_temp_path 5;";

/// A running nginx; ends with the value.
pub(super) struct Nginx(Process);

impl Nginx {
    /// Its process id.
    pub(super) fn id(&self) -> u32 {
        self.0.id()
    }

    async fn start(dir: &Path, address: SocketAddr, http: &str) -> Result<Self> {
        std::fs::create_dir_all(dir)?;
        let text = format!(
            "daemon off; master_process off; worker_processes 1; worker_rlimit_nofile 16384; pid nginx.pid;
             error_log stderr error;
             events {{ worker_connections 8192; }}
             http {{ access_log off; keepalive_requests 1000000000; {TEMPORARY_FILES} {http} }}"
        );
        std::fs::write(dir.join("nginx.conf"), text)?;
        let mut command = Command::new("nginx");
        command.arg("-p").arg(dir).args(["-c", "nginx.conf", "-e", "stderr"]);
        let process = Process::spawn("nginx", &mut command, &dir.join("log"))?;
        let mut nginx = Self(process);
        eventually(START_MAX, "nginx to listen", async || {
            nginx.0.check_running()?;
            Ok(TcpStream::connect(address).await?)
        })
        .await?;
        Ok(nginx)
    }
}

/// Serves the files of a directory.
pub(super) async fn files(dir: &Path, address: SocketAddr) -> Result<Nginx> {
    let root = dir.to_str().context("a path in UTF-8")?;
    Nginx::start(dir, address, &format!("sendfile on; tcp_nopush on; server {{ listen {address}; root {root}; }}"))
        .await
}

/// Passes everything on, over connections that it keeps.
pub(super) async fn proxy(dir: &Path, address: SocketAddr, upstream: SocketAddr) -> Result<Nginx> {
    let http = format!(
        "upstream prometheus {{ server {upstream}; keepalive 256; keepalive_requests 1000000000; }}
         server {{ listen {address}; location / {{ proxy_pass http://prometheus; proxy_http_version 1.1;
           proxy_set_header Connection \"\"; proxy_max_temp_file_size 0; }} }}"
    );
    Nginx::start(dir, address, &http).await
}
