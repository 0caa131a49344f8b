//! The two rendered configurations of one source file, and their hashes.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::Role;
pub use crate::render::Rendered as Variants;

/// Renders a source file, or says in one line what is wrong with it. Called off the asynchronous threads.
pub type Renderer = Arc<dyn Fn(&[u8]) -> Result<Variants, String> + Send + Sync>;

/// SHA-256 of a rendered configuration; shown in hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct ConfigHash([u8; 32]);

impl ConfigHash {
    pub(super) fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

impl fmt::Display for ConfigHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ConfigHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A configuration that should be, or is, in a file or in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) role: Role,
    pub(super) hash: ConfigHash,
}

/// The last good configuration.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Config {
    follower: (ConfigHash, Bytes),
    /// `None`: only the follower's is known, kept from an earlier run of this process.
    leader: Option<(ConfigHash, Bytes)>,
    pub(super) warnings: Vec<String>,
}

impl Config {
    pub(super) fn new(variants: Variants) -> Self {
        let hashed = |bytes: Bytes| (ConfigHash::of(&bytes), bytes);
        Self { follower: hashed(variants.follower), leader: Some(hashed(variants.leader)), warnings: variants.warnings }
    }

    pub(super) fn follower_only(bytes: Bytes) -> Self {
        Self { follower: (ConfigHash::of(&bytes), bytes), leader: None, warnings: Vec::new() }
    }

    pub(super) fn can_lead(&self) -> bool {
        self.leader.is_some()
    }

    /// The target of `role`; the follower's when the leader's is not known.
    pub(super) fn target(&self, role: Role) -> Target {
        match (role, &self.leader) {
            (Role::Leader, Some((hash, _))) => Target { role, hash: *hash },
            _ => Target { role: Role::Follower, hash: self.follower.0 },
        }
    }

    pub(super) fn bytes(&self, role: Role) -> Bytes {
        match (role, &self.leader) {
            (Role::Leader, Some((_, bytes))) => bytes.clone(),
            _ => self.follower.1.clone(),
        }
    }
}

/// Without the contents, which hold secrets and are long.
impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let leader = self.leader.as_ref().map(|(hash, _)| hash);
        f.debug_struct("Config").field("follower", &self.follower.0).field("leader", &leader).finish_non_exhaustive()
    }
}
