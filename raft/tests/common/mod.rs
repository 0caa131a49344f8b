//! A town of members on loopback.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::time::{Duration, Instant};

use elector_raft::{
    Eligibility, Group, GroupConfig, GroupError, GroupHandle, GroupStatus, Member, Now, Peer, PeerSet, Timing, Token,
};
use tempfile::TempDir;
use tokio::sync::watch;

pub(crate) mod wire;

const DEADLINE: Duration = Duration::from_secs(30);

/// Waits until `check` holds.
pub(crate) async fn eventually(what: &str, mut check: impl FnMut() -> bool) {
    let start = Instant::now();
    while !check() {
        assert!(start.elapsed() < DEADLINE, "not within {DEADLINE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// One running member.
pub(crate) struct Node {
    pub member: Member,
    pub handle: GroupHandle,
    group: Option<Group>,
    listed: bool,
}

impl Node {
    pub(crate) fn name(&self) -> &str {
        &self.member.name
    }

    pub(crate) fn status(&self) -> GroupStatus {
        self.handle.status.borrow().as_ref().clone()
    }

    pub(crate) fn set_eligible(&self, eligible: bool) {
        self.handle.set_eligibility(Eligibility { eligible, prepared: eligible, reason: "told by the test".into() });
    }

    fn acts(&self) -> bool {
        self.group.is_some() && self.handle.leadership.borrow().holds_authority(Now::read())
    }
}

/// The members, their disks, and what discovery tells them.
pub(crate) struct Town {
    pub nodes: Vec<Node>,
    peers: watch::Sender<PeerSet>,
    /// Listed too: `host:port` of those that the town did not start.
    strangers: Vec<Peer>,
    dirs: BTreeMap<String, TempDir>,
    timing: Timing,
    expect: usize,
    refresher: tokio::task::JoinHandle<()>,
}

impl Drop for Town {
    fn drop(&mut self) {
        self.refresher.abort();
        for node in &mut self.nodes {
            if let Some(group) = node.group.take() {
                let _ = group.stop();
            }
        }
    }
}

impl Town {
    pub(crate) fn new(count: usize) -> Self {
        Self::with(count, |_| {})
    }

    pub(crate) fn with(count: usize, adjust: impl FnOnce(&mut Timing)) -> Self {
        let mut town = Self::empty(count);
        adjust(&mut town.timing);
        town.populate(count, |_| false);
        town
    }

    pub(crate) fn with_expect(count: usize, expect: usize) -> Self {
        let mut town = Self::empty(expect);
        town.populate(count, |_| false);
        town
    }

    pub(crate) fn two_and_a_witness(adjust: impl FnOnce(&mut Timing)) -> Self {
        let mut town = Self::empty(3);
        adjust(&mut town.timing);
        town.populate(3, |number| number == 2);
        town
    }

    fn empty(expect: usize) -> Self {
        static PROVIDER: Once = Once::new();
        PROVIDER.call_once(|| {
            let _ = rustls::crypto::ring::default_provider().install_default();
        });
        let peers = watch::Sender::new(PeerSet::default());
        let answers = peers.clone();
        // Discovery answers again and again.
        let refresher = tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_millis(200)).await;
                answers.send_modify(|peers| peers.answered_at = Some(Instant::now()));
            }
        });
        let timing = Timing {
            lease_duration: Duration::from_millis(1000),
            renew_deadline: Duration::from_millis(800),
            retry_period: Duration::from_millis(100),
            member_removal_delay: Duration::from_secs(300),
        };
        Self { nodes: Vec::new(), peers, strangers: Vec::new(), dirs: BTreeMap::new(), timing, expect, refresher }
    }

    fn populate(&mut self, count: usize, witness: impl Fn(usize) -> bool) {
        for number in 0..count {
            let name = if witness(number) { "witness-0".to_owned() } else { format!("prom-{number}") };
            self.start(&name, witness(number), "test", None).unwrap();
        }
        self.tell();
    }

    /// Adds `prom-<number>`.
    pub(crate) fn add(&mut self, number: usize) {
        self.start(&format!("prom-{number}"), false, "test", None).unwrap();
        self.tell();
    }

    pub(crate) fn add_stranger(&mut self, number: usize, group: &str, token: Option<&str>) -> String {
        let name = format!("prom-{number}");
        self.start(&name, false, group, token).unwrap();
        self.tell();
        name
    }

    /// A second member in the directory of `prom-0`.
    pub(crate) fn start_in_the_same_directory(&mut self) -> Result<(), GroupError> {
        self.start("prom-0", false, "test", None)
    }

    fn start(&mut self, name: &str, witness: bool, group_name: &str, token: Option<&str>) -> Result<(), GroupError> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let member = Member {
            name: name.into(),
            raft_address: listener.local_addr().unwrap().to_string(),
            api_url: "http://127.0.0.1:1".into(),
            prometheus_url: if witness { String::new() } else { "http://127.0.0.1:2".into() },
            witness,
        };
        let token = Token::parse(token.unwrap_or(wire::TOKEN).as_bytes()).unwrap();
        let (_, token) = watch::channel(token);
        let dir = self.dirs.entry(name.into()).or_insert_with(|| tempfile::tempdir().unwrap());
        let (handle, ends) = GroupHandle::new();
        let group = Group::start(
            GroupConfig {
                member: member.clone(),
                group_name: group_name.into(),
                timing: self.timing,
                data_dir: dir.path().to_path_buf(),
                bootstrap_expect: self.expect,
                tokens: Some(token),
                tls: None,
                listener,
                resolver: None,
                peers: self.peers.subscribe(),
            },
            ends,
        )?;
        let node = Node { member, handle, group: Some(group), listed: true };
        node.set_eligible(true);
        self.nodes.push(node);
        Ok(())
    }

    fn tell(&self) {
        let peers = self
            .nodes
            .iter()
            .filter(|node| node.listed)
            .map(|node| Peer { name: Some(node.name().into()), address: node.member.raft_address.clone() })
            .chain(self.strangers.iter().cloned())
            .collect();
        self.peers.send_replace(PeerSet { peers, answered_at: Some(Instant::now()) });
    }

    pub(crate) fn node(&self, name: &str) -> &Node {
        self.nodes.iter().rev().find(|node| node.name() == name).unwrap()
    }

    pub(crate) fn dir(&self, name: &str) -> PathBuf {
        self.dirs.get(name).map(TempDir::path).map(Path::to_path_buf).unwrap()
    }

    /// Names of the members that hold authority now.
    pub(crate) fn acting(&self) -> Vec<&str> {
        self.nodes.iter().filter(|node| node.acts()).map(Node::name).collect()
    }

    /// Waits for the one that holds authority.
    pub(crate) async fn leader(&self) -> &Node {
        eventually("somebody holds authority", || {
            let acting = self.acting();
            assert!(acting.len() <= 1, "two hold authority: {acting:?}");
            acting.len() == 1
        })
        .await;
        self.nodes.iter().find(|node| node.acts()).unwrap()
    }

    /// Stops a member for good; it stays listed.
    pub(crate) fn stop(&mut self, name: &str) {
        let node = self.nodes.iter_mut().find(|node| node.member.name == name).unwrap();
        node.group.take().unwrap().stop().unwrap();
    }

    /// Lists somebody that the town did not start.
    pub(crate) fn list(&mut self, address: &str) {
        self.strangers.push(Peer { name: None, address: address.into() });
        self.tell();
    }

    pub(crate) fn unlist(&mut self, name: &str) {
        for node in self.nodes.iter_mut().filter(|node| node.member.name == name) {
            node.listed = false;
        }
        self.tell();
    }

    /// Stops a member and starts it again, with its disk or an empty one.
    pub(crate) fn restart(&mut self, name: &str, lose_disk: bool) {
        self.stop(name);
        self.nodes.retain(|node| node.member.name != name);
        if lose_disk {
            self.dirs.remove(name);
        }
        self.start(name, false, "test", None).unwrap();
        self.tell();
    }
}
