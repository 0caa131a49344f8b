//! Which packets are lost: pure tables, their nftables rules, and probes that show what is in force.
//!
//! A link leads one way, from one end to another. Every rule stands in the namespace of a pod: what comes to it is dropped at its
//! input, what leaves it for the hub (receiver, DNS, clients) at its output. Connections are not reset, they go silent.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use anyhow::{Context as _, Result};

/// Port of the probes.
const PROBE_PORT: u16 = 7_946;
/// A datagram on this machine takes far less.
const PROBE_WAIT: Duration = Duration::from_millis(120);
/// Datagrams a link: few enough for the socket's buffer, many enough to see loss.
const PROBES: u8 = 20;

/// One end of a link.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    /// Receiver, DNS and clients.
    Hub,
    /// A pod, by its name.
    Pod(String),
}

impl End {
    /// The pod of this name.
    pub fn pod(name: &str) -> Self {
        Self::Pod(name.into())
    }
}

/// Percent of the packets that are lost, by link. A link that is not here loses none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Links(BTreeMap<(End, End), u8>);

impl Links {
    /// Loses so many percent of what goes from one end to the other.
    pub fn lose(&mut self, from: &End, to: &End, percent: u8) {
        self.0.insert((from.clone(), to.clone()), percent.min(100));
    }

    /// Cuts one way.
    pub fn cut_one_way(&mut self, from: &End, to: &End) {
        self.lose(from, to, 100);
    }

    /// Cuts both ways.
    pub fn cut(&mut self, one: &End, other: &End) {
        self.cut_one_way(one, other);
        self.cut_one_way(other, one);
    }

    /// Every link that loses packets.
    pub fn all(&self) -> impl Iterator<Item = (&End, &End, u8)> {
        self.0.iter().map(|((from, to), percent)| (from, to, *percent))
    }

    /// Rules of one pod's namespace; `hub` and `pods` are addresses.
    pub fn rules(&self, pod: &str, hub: Ipv4Addr, pods: &BTreeMap<String, Ipv4Addr>) -> String {
        let (mut input, mut output) = (String::new(), String::new());
        for (from, to, percent) in self.all() {
            let lossy = if percent < 100 { format!("numgen random mod 100 < {percent} ") } else { String::new() };
            let (chain, way, address) = match (from, to) {
                (End::Pod(from), End::Pod(to)) if to == pod => (&mut input, "saddr", pods.get(from)),
                (End::Hub, End::Pod(to)) if to == pod => (&mut input, "saddr", Some(&hub)),
                (End::Pod(from), End::Hub) if from == pod => (&mut output, "daddr", Some(&hub)),
                _ => continue,
            };
            if let Some(address) = address {
                // Writing to a string cannot fail.
                let _ = writeln!(chain, "    ip {way} {address} {lossy}drop");
            }
        }
        // Naming the table first makes it deletable; all of it is one transaction.
        format!(
            "table inet jepsen\ndelete table inet jepsen\ntable inet jepsen {{\n  chain input {{\n    type filter hook input \
             priority 0;\n{input}  }}\n  chain output {{\n    type filter hook output priority 0;\n{output}  }}\n}}\n"
        )
    }
}

/// One end's socket for probes.
#[derive(Debug)]
pub struct Probe {
    socket: UdpSocket,
    to: SocketAddr,
}

impl Probe {
    /// Binds at this address; to be called inside the namespace that has it.
    pub fn bind(address: Ipv4Addr) -> Result<Self> {
        let to = SocketAddr::from((address, PROBE_PORT));
        let socket = UdpSocket::bind(to).with_context(|| format!("probe at {to}"))?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket, to })
    }
}

/// Sends datagrams over every link and tells for each how many of a hundred were lost.
pub async fn probe(ends: &[(End, &Probe)]) -> BTreeMap<(End, End), u8> {
    let mut arrived: BTreeMap<(usize, usize), u8> = BTreeMap::new();
    let mut buffer = [0; 16];
    // Datagrams of an earlier probe do not count.
    for (_, probe) in ends {
        while probe.socket.recv_from(&mut buffer).is_ok() {}
    }
    for (from, (_, sender)) in ends.iter().enumerate() {
        for (_, (_, receiver)) in ends.iter().enumerate().filter(|(to, _)| *to != from) {
            for _ in 0..PROBES {
                // What cannot be sent does not arrive.
                let _ = sender.socket.send_to(&[0], receiver.to);
            }
        }
    }
    tokio::time::sleep(PROBE_WAIT).await;
    for (to, (_, receiver)) in ends.iter().enumerate() {
        while let Ok((_, sender)) = receiver.socket.recv_from(&mut buffer) {
            if let Some(from) = ends.iter().position(|(_, probe)| probe.to == sender) {
                *arrived.entry((from, to)).or_default() += 1;
            }
        }
    }
    let mut lost = BTreeMap::new();
    for from in 0..ends.len() {
        for to in (0..ends.len()).filter(|to| *to != from) {
            let arrived = u16::from(arrived.get(&(from, to)).copied().unwrap_or(0).min(PROBES));
            let percent = 100 - arrived * 100 / u16::from(PROBES);
            lost.insert((ends[from].0.clone(), ends[to].0.clone()), u8::try_from(percent).unwrap_or(100));
        }
    }
    lost
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pods() -> BTreeMap<String, Ipv4Addr> {
        [("a", 2), ("b", 3)].map(|(name, last)| (name.to_owned(), Ipv4Addr::new(10, 231, 0, last))).into()
    }

    #[test]
    fn rules_stand_where_packets_arrive_or_leave_for_the_hub() {
        let (a, b) = (End::pod("a"), End::pod("b"));
        let mut links = Links::default();
        links.cut_one_way(&a, &b);
        links.cut_one_way(&End::Hub, &b);
        links.cut_one_way(&b, &End::Hub);
        links.lose(&b, &a, 30);
        links.cut_one_way(&End::pod("gone"), &b);
        let hub = Ipv4Addr::new(10, 231, 0, 1);
        let rules = "table inet jepsen
delete table inet jepsen
table inet jepsen {
  chain input {
    type filter hook input priority 0;
    ip saddr 10.231.0.1 drop
    ip saddr 10.231.0.2 drop
  }
  chain output {
    type filter hook output priority 0;
    ip daddr 10.231.0.1 drop
  }
}
";
        assert_eq!(links.rules("b", hub, &pods()), rules);
        let lossy = links.rules("a", hub, &pods());
        assert!(lossy.contains("    ip saddr 10.231.0.3 numgen random mod 100 < 30 drop\n"), "{lossy}");
        assert_eq!(lossy.matches("drop").count(), 1, "{lossy}");
        assert_eq!(Links::default().rules("a", hub, &pods()).matches("drop").count(), 0);
    }

    #[test]
    fn a_cut_counts_for_both_ways() {
        let (a, b) = (End::pod("a"), End::pod("b"));
        let mut links = Links::default();
        links.cut(&a, &b);
        assert_eq!(links.all().collect::<Vec<_>>(), [(&a, &b, 100), (&b, &a, 100)]);
    }

    #[tokio::test]
    async fn a_probe_sees_what_arrives() {
        let socket = |host| UdpSocket::bind((Ipv4Addr::new(127, 0, 0, host), 0));
        let probe_at = |host| -> std::io::Result<Probe> {
            let socket = socket(host)?;
            socket.set_nonblocking(true)?;
            Ok(Probe { to: socket.local_addr()?, socket })
        };
        let (Ok(a), Ok(mut b)) = (probe_at(1), probe_at(2)) else { panic!("loopback sockets") };
        // Nobody listens where it is sent to.
        let ends = [(End::Hub, &a), (End::pod("b"), &b)];
        assert_eq!(probe(&ends).await.into_values().collect::<Vec<_>>(), [0, 0]);
        b.to.set_port(9);
        let ends = [(End::Hub, &a), (End::pod("b"), &b)];
        let lost = probe(&ends).await;
        assert_eq!(lost[&(End::Hub, End::pod("b"))], 100);
    }
}
