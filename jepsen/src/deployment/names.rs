//! Cluster DNS: the headless service of the pods, as `CoreDNS` answers for it, and its faults.
//!
//! Not-ready pods are listed too (`publishNotReadyAddresses`). Each answer, also that there is none, is up to [`TTL_SECONDS`] old.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::Result;
use test_support::dns::{Mode, TestDns};

use super::options::{DOMAIN, RAFT_PORT, SERVICE};

/// What `CoreDNS` gives records of Kubernetes, and how long it keeps them, with the configuration that everybody has.
const TTL_SECONDS: u32 = 30;

/// The name server on the hub.
pub struct Names {
    dns: TestDns,
    pods: BTreeMap<String, Ipv4Addr>,
    /// A pod whose address is told wrongly, and the wrong one.
    wrong: Option<(String, Ipv4Addr)>,
    frozen: bool,
}

impl Names {
    /// Starts it, without records.
    pub async fn start(hub: Ipv4Addr) -> Result<Self> {
        let dns = TestDns::start_on(SocketAddr::from((hub, 53))).await?;
        dns.set_cluster(TTL_SECONDS);
        Ok(Self { dns, pods: BTreeMap::new(), wrong: None, frozen: false })
    }

    /// These pods exist now.
    pub fn publish(&mut self, pods: BTreeMap<String, Ipv4Addr>) {
        self.pods = pods;
        self.write();
    }

    /// What happens to pods is not told any more, or is again.
    pub fn freeze(&mut self, frozen: bool) {
        self.frozen = frozen;
        self.write();
    }

    /// Tells a wrong address of a pod at once, or of none; the wrong one is kept as any other answer.
    pub fn lie(&mut self, wrong: Option<(String, Ipv4Addr)>) {
        let at_once = wrong.is_some();
        self.wrong = wrong;
        self.write();
        if at_once {
            self.dns.forget();
        }
    }

    /// Changes what happens to all queries.
    pub fn set_mode(&self, mode: Mode) {
        self.dns.set_mode(mode);
    }

    /// Number of queries so far.
    pub fn queries(&self) -> usize {
        self.dns.queries_total()
    }

    fn write(&self) {
        if self.frozen {
            return;
        }
        let address = |name: &str, address: Ipv4Addr| match &self.wrong {
            Some((liar, wrong)) if liar == name => *wrong,
            _ => address,
        };
        let pods: Vec<(&str, IpAddr, u16)> =
            self.pods.iter().map(|(name, at)| (name.as_str(), address(name, *at).into(), RAFT_PORT)).collect();
        self.dns.set_service(&format!("{SERVICE}.{DOMAIN}."), &pods);
    }
}
