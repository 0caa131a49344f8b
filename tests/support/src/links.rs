//! Relays between the Raft ports of members, one for each direction of each pair, so that a member can be cut off.
//!
//! Every member has a DNS server of its own, which names its own relays. A member that is cut off sees what a broken network
//! shows: connections are there, and nothing comes through. Once it is healed, those connections break and new ones work.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::dns::TestDns;
use crate::net::{Block, RAFT_PORT};

/// All relays and name servers of a group; they end when it is dropped.
pub struct Links {
    dns: Vec<TestDns>,
    /// The member that is cut off.
    cut: watch::Sender<Option<usize>>,
    _relays: JoinSet<()>,
}

impl Links {
    /// Relays between `members` members.
    pub async fn start(block: &Block, members: usize) -> Result<Self> {
        let (cut, watched) = watch::channel(None);
        let (mut relays, mut dns) = (JoinSet::new(), Vec::new());
        for from in 0..members {
            dns.push(TestDns::start().await?);
            for to in (0..members).filter(|&to| to != from) {
                let here = SocketAddr::new(block.link_ip(from, to), RAFT_PORT);
                let there = SocketAddr::new(block.member_ip(to), RAFT_PORT);
                let listener = TcpListener::bind(here).await.with_context(|| format!("a relay at {here}"))?;
                relays.spawn(relay(listener, there, (from, to), watched.clone()));
            }
        }
        Ok(Self { dns, cut, _relays: relays })
    }

    /// Address of member `index`'s name server.
    pub fn dns_addr(&self, index: usize) -> SocketAddr {
        self.dns[index].addr()
    }

    /// Has every name server list exactly these members of `service`, by their number and name.
    pub fn publish(&self, block: &Block, service: &str, members: &[(usize, &str)]) {
        for (from, dns) in self.dns.iter().enumerate() {
            let ip = |to| if to == from { block.member_ip(to) } else { block.link_ip(from, to) };
            let pods: Vec<_> = members.iter().map(|&(to, name)| (name, ip(to), RAFT_PORT)).collect();
            dns.set_service(service, &pods);
        }
    }

    /// Cuts a member off from all others.
    pub fn isolate(&self, member: usize) {
        self.cut.send_replace(Some(member));
    }

    /// Everybody reaches everybody.
    pub fn heal(&self) {
        self.cut.send_replace(None);
    }
}

async fn relay(listener: TcpListener, there: SocketAddr, ends: (usize, usize), cut: watch::Receiver<Option<usize>>) {
    let mut connections = JoinSet::new();
    // Ends with its task; an accept that fails ends the relay, and the test sees a member that is cut off.
    while let Ok((near, _)) = listener.accept().await {
        connections.spawn(connection(near, there, ends, cut.clone()));
    }
}

async fn connection(
    mut near: TcpStream,
    there: SocketAddr,
    (from, to): (usize, usize),
    mut cut: watch::Receiver<Option<usize>>,
) {
    let is_cut = |cut: &Option<usize>| cut.is_some_and(|member| member == from || member == to);
    let was_cut = is_cut(&cut.borrow());
    let mut far = None;
    if !was_cut {
        let Ok(mut connected) = TcpStream::connect(there).await else { return };
        let until_cut = async { drop(cut.wait_for(is_cut).await) };
        tokio::select! {
            _ = copy_bidirectional(&mut near, &mut connected) => return,
            () = until_cut => far = Some(connected),
        }
    }
    // An error says that the test is over. Both ends stay open until then.
    drop(cut.wait_for(|cut| !is_cut(cut)).await);
    drop((near, far));
}
