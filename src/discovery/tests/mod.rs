//! Discovery against a real DNS server on loopback.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod dial;
mod lookup;
mod task;

use std::net::IpAddr;
use std::time::Duration;

use tempfile::TempDir;
use test_support::dns::TestDns;

use super::dns::Dns;
use super::system::Files;

const SERVICE: &str = "prom.mon.svc.cluster.local.";
const SRV: &str = "_raft._tcp.prom.mon.svc.cluster.local.";
/// What a pod's resolv.conf says, but for the server, which the tests give as `--dns-server` does.
const POD: &str = "search mon.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n";
/// Nothing here takes nearly as long, even on a busy machine.
const DEADLINE: Duration = Duration::from_secs(20);

/// The system's files of a test.
struct System {
    directory: TempDir,
}

impl System {
    fn new(resolv_conf: &str, hosts: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("resolv.conf"), resolv_conf).unwrap();
        std::fs::write(directory.path().join("hosts"), hosts).unwrap();
        Self { directory }
    }

    fn files(&self) -> Files {
        let path = self.directory.path();
        Files { resolv_conf: path.join("resolv.conf"), hosts: path.join("hosts") }
    }

    fn dns(&self, server: &TestDns) -> Dns {
        Dns::with_files(Some(server.addr()), self.files())
    }
}

async fn server_with(pods: &[(&str, IpAddr, u16)]) -> TestDns {
    let server = TestDns::start().await.unwrap();
    server.set_service(SERVICE, pods);
    server
}

fn ip(last: u8) -> IpAddr {
    IpAddr::from([10, 244, 0, last])
}
