//! Addresses that no other test uses, held for as long as they are needed.
//!
//! Binding to port 0 and closing again leaves a gap in which anybody may take the port: with many tests at once it
//! does happen. Here a [`Block`] is claimed instead: one of many fixed blocks, each made of sixteen ports of 127.0.0.1
//! below the range that the kernel hands out, and of a /24 of loopback addresses where every member has an address of
//! its own with the usual ports. The claim is a socket bound to the block's first port, so it ends with the process,
//! however that ends. A block is passed over while anything else listens on one of its ports.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};

use anyhow::{Result, anyhow};

/// First port of the first block.
const PORTS_FIRST: u16 = 12_000;
/// Ports in one block, the claim included.
const PORTS_EACH: u16 = 16;
/// Blocks: the last port stays below the kernel's own range, which starts at 32768 by default.
const BLOCKS: u16 = 1_250;
/// Members that one block has addresses for.
pub const MEMBERS_MAX: usize = 10;

/// Gates that one block has addresses for.
pub const GATES_MAX: usize = 3;

/// Ports of a sidecar on its member's own address.
pub const API_PORT: u16 = 9095;
/// Raft port.
pub const RAFT_PORT: u16 = 9096;
/// Admin port.
pub const ADMIN_PORT: u16 = 9097;

const _: () = assert!(PORTS_FIRST as u32 + PORTS_EACH as u32 * BLOCKS as u32 <= 32_768);

/// A claimed block of loopback addresses and ports.
#[derive(Debug)]
pub struct Block {
    index: u16,
    _claim: TcpListener,
}

impl Block {
    /// Claims a free block.
    pub fn claim() -> Result<Self> {
        // Processes start at different places, so that they seldom meet.
        let start = u16::try_from(std::process::id() % u32::from(BLOCKS)).unwrap_or(0);
        (0..BLOCKS)
            .map(|step| (start + step * 7) % BLOCKS)
            .find_map(Self::try_claim)
            .ok_or_else(|| anyhow!("no free block of loopback ports between {PORTS_FIRST} and 32768"))
    }

    fn try_claim(index: u16) -> Option<Self> {
        let claim = TcpListener::bind((Ipv4Addr::LOCALHOST, PORTS_FIRST + index * PORTS_EACH)).ok()?;
        Some(Self { index, _claim: claim }).filter(Self::is_free)
    }

    fn is_free(&self) -> bool {
        let local = (1..PORTS_EACH).map(|offset| self.port(offset));
        let members = (0..MEMBERS_MAX).flat_map(|member| {
            [API_PORT, RAFT_PORT, ADMIN_PORT].map(|port| SocketAddr::new(self.member_ip(member), port))
        });
        local.chain(members).all(|address| TcpListener::bind(address).is_ok())
    }

    /// Address of member `index`'s own Prometheus. On 127.0.0.1, where a sidecar expects it.
    ///
    /// # Panics
    /// When `index` is not below [`MEMBERS_MAX`].
    pub fn prometheus(&self, index: usize) -> SocketAddr {
        assert!(index < MEMBERS_MAX, "a block has addresses for {MEMBERS_MAX} members, not for number {index}");
        self.port(1 + u16::try_from(index).unwrap_or(0))
    }

    /// Address of the gate of member `index`. On 127.0.0.1, where its Prometheus expects it.
    ///
    /// # Panics
    /// When `index` is not below [`GATES_MAX`].
    pub fn gate(&self, index: usize) -> SocketAddr {
        assert!(index < GATES_MAX, "a block has addresses for {GATES_MAX} gates, not for number {index}");
        self.port(11 + u16::try_from(index).unwrap_or(0))
    }

    /// Where member `from` finds member `to` when relays are between them, at [`RAFT_PORT`].
    pub fn link_ip(&self, from: usize, to: usize) -> IpAddr {
        let [high, low] = self.index.to_be_bytes();
        let host = u8::try_from(100 + from * MEMBERS_MAX + to).unwrap_or(0);
        Ipv4Addr::new(127, 64 + high, low, host).into()
    }

    /// Address of the storage Prometheus.
    pub fn storage(&self) -> SocketAddr {
        self.port(14)
    }

    /// Address of the scrape target.
    pub fn target(&self) -> SocketAddr {
        self.port(15)
    }

    /// Own address of member `index`.
    pub fn member_ip(&self, index: usize) -> IpAddr {
        let [high, low] = self.index.to_be_bytes();
        Ipv4Addr::new(127, 64 + high, low, 1 + u8::try_from(index).unwrap_or(0)).into()
    }

    fn port(&self, offset: u16) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, PORTS_FIRST + self.index * PORTS_EACH + offset).into()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn two_blocks_share_no_address() {
        let (a, b) = (Block::claim().unwrap(), Block::claim().unwrap());
        let all = |block: &Block| {
            let mut all: BTreeSet<SocketAddr> = (0..MEMBERS_MAX).map(|member| block.prometheus(member)).collect();
            all.extend((0..MEMBERS_MAX).map(|member| SocketAddr::new(block.member_ip(member), RAFT_PORT)));
            all.extend([block.storage(), block.target()]);
            assert_eq!(all.len(), 2 * MEMBERS_MAX + 2, "{all:?}");
            all
        };
        assert!(all(&a).is_disjoint(&all(&b)));
    }

    #[test]
    fn a_block_with_a_port_in_use_is_not_free() {
        let block = Block::claim().unwrap();
        let busy = TcpListener::bind(SocketAddr::new(block.member_ip(2), ADMIN_PORT)).unwrap();
        assert!(!block.is_free());
        drop(busy);
        assert!(block.is_free());
    }
}
