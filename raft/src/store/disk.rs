//! The redb file: one transaction for a batch of writes, everything loaded at start.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fmt, io};

use redb::{Database, DatabaseError, ReadableDatabase, ReadableTable, StorageBackend, TableDefinition};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Identity, StoreError};
use crate::state::GroupData;
use crate::types::{Entry, LogId, SnapshotMeta, Vote};

pub(super) const META: TableDefinition<'static, &str, &[u8]> = TableDefinition::new("meta");
pub(super) const LOG: TableDefinition<'static, u64, &[u8]> = TableDefinition::new("log");
const IDENTITY: &str = "identity";
const VOTE: &str = "vote";
const PURGED: &str = "purged";
const SNAPSHOT: &str = "snapshot";
/// redb's page cache: the whole state is far smaller.
const CACHE_BYTES: usize = 256 * 1024;

/// One durable change.
#[derive(Debug)]
pub(crate) enum Write {
    /// Replaces the identity.
    Identity(Identity),
    /// Replaces the vote.
    Vote(Vote),
    /// Adds entries, by index.
    Append(Vec<(u64, Vec<u8>)>),
    /// Deletes the entries from this index on.
    Truncate {
        /// First index to go.
        from: u64,
    },
    /// Deletes the entries up to this id.
    Purge(LogId),
    /// Replaces the snapshot.
    Snapshot(Vec<u8>),
    /// Deletes everything but the identity that is given: this member starts anew.
    Reset(Identity),
}

/// What the file held at start.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Loaded {
    pub(crate) identity: Identity,
    pub(crate) vote: Option<Vote>,
    pub(crate) purged: Option<LogId>,
    pub(crate) log: BTreeMap<u64, Entry>,
    pub(crate) snapshot: Option<(SnapshotMeta, GroupData)>,
}

impl Loaded {
    /// Nothing but an identity.
    pub(crate) fn blank(identity: Identity) -> Self {
        Self { identity, vote: None, purged: None, log: BTreeMap::new(), snapshot: None }
    }

    /// Whether this member has never stored anything in a group.
    pub(crate) fn holds_nothing(&self) -> bool {
        self.vote.is_none() && self.purged.is_none() && self.log.is_empty() && self.snapshot.is_none()
    }
}

/// The open file.
pub(crate) struct Disk {
    database: Database,
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Disk")
    }
}

pub(crate) fn encode<T: Serialize>(value: &T) -> io::Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(io::Error::other)
}

fn decode<T: DeserializeOwned>(what: &str, bytes: &[u8]) -> Result<T, String> {
    serde_json::from_slice(bytes).map_err(|error| format!("{what} cannot be read: {error}"))
}

/// Whether this is about what is in the file; other errors are about the way to it.
fn says_damage(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof)
}

fn unusable(file: &Path, error: DatabaseError) -> StoreError {
    match error {
        DatabaseError::DatabaseAlreadyOpen => StoreError::Locked { file: file.to_path_buf() },
        DatabaseError::Storage(redb::StorageError::Io(source)) if !says_damage(&source) => {
            StoreError::Directory { dir: file.parent().map(PathBuf::from).unwrap_or_default(), source }
        }
        other => StoreError::Corrupt { file: file.to_path_buf(), cause: other.to_string() },
    }
}

impl Disk {
    /// Opens the durable state on any device, or makes it if the device is empty; errors name the device as `file`.
    /// A device whose making was interrupted is damaged: nothing on it was ever acknowledged, but only who keeps the
    /// device can know that (`store::file`).
    pub(crate) fn open_on(backend: impl StorageBackend, file: &Path) -> Result<(Self, Loaded), StoreError> {
        let unusable = |error: DatabaseError| unusable(file, error);
        let is_new = backend.len().map_err(|error| unusable(DatabaseError::from(error)))? == 0;
        let database = Database::builder()
            .set_cache_size(CACHE_BYTES)
            .set_check_integrity_on_open(true)
            .create_with_backend(backend)
            .map_err(unusable)?;
        let mut disk = Self { database };
        let loaded = if is_new {
            disk.initialise().map_err(|error| unusable(DatabaseError::from(error)))?
        } else {
            disk.load().map_err(|cause| StoreError::Corrupt { file: file.to_path_buf(), cause })?
        };
        Ok((disk, loaded))
    }

    /// Commits the writes in order, as one transaction, to the disk.
    pub(crate) fn commit<'a>(&mut self, writes: impl IntoIterator<Item = &'a Write>) -> io::Result<()> {
        self.try_commit(writes).map_err(io::Error::other)
    }

    fn try_commit<'a>(&mut self, writes: impl IntoIterator<Item = &'a Write>) -> Result<(), redb::Error> {
        let mut transaction = self.database.begin_write()?;
        // One fsync more. With one phase redb cannot tell a damaged last transaction from an unfinished one, and takes
        // back what had been acknowledged (docs/decisions/group-store.md).
        transaction.set_two_phase_commit(true);
        {
            let mut meta = transaction.open_table(META)?;
            let mut log = transaction.open_table(LOG)?;
            for write in writes {
                match write {
                    Write::Identity(identity) => {
                        meta.insert(IDENTITY, encode(identity)?.as_slice())?;
                    }
                    Write::Vote(vote) => {
                        meta.insert(VOTE, encode(vote)?.as_slice())?;
                    }
                    Write::Append(entries) => {
                        for (index, entry) in entries {
                            log.insert(index, entry.as_slice())?;
                        }
                    }
                    Write::Truncate { from } => log.retain_in(*from.., |_, _| false)?,
                    Write::Purge(upto) => {
                        meta.insert(PURGED, encode(upto)?.as_slice())?;
                        log.retain_in(..=upto.index, |_, _| false)?;
                    }
                    Write::Snapshot(bytes) => {
                        meta.insert(SNAPSHOT, bytes.as_slice())?;
                    }
                    Write::Reset(identity) => {
                        log.retain(|_, _| false)?;
                        meta.retain(|_, _| false)?;
                        meta.insert(IDENTITY, encode(identity)?.as_slice())?;
                    }
                }
            }
        }
        transaction.commit()?;
        Ok(())
    }

    fn initialise(&mut self) -> io::Result<Loaded> {
        let identity = Identity::new();
        self.commit([&Write::Identity(identity.clone())])?;
        Ok(Loaded::blank(identity))
    }

    /// Reads everything; the error is the damage.
    fn load(&self) -> Result<Loaded, String> {
        let read = self.database.begin_read().map_err(|error| error.to_string())?;
        let meta = read.open_table(META).map_err(|error| error.to_string())?;
        let log = read.open_table(LOG).map_err(|error| error.to_string())?;
        let field = |key: &'static str| meta.get(key).map_err(|error| error.to_string());
        let Some(identity) = field(IDENTITY)? else { return Err("it holds no identity".into()) };
        let mut entries = BTreeMap::new();
        for item in log.iter().map_err(|error| error.to_string())? {
            let (index, bytes) = item.map_err(|error| error.to_string())?;
            entries.insert(index.value(), decode::<Entry>("a log entry", bytes.value())?);
        }
        Ok(Loaded {
            identity: decode("the identity", identity.value())?,
            vote: field(VOTE)?.map(|bytes| decode("the vote", bytes.value())).transpose()?,
            purged: field(PURGED)?.map(|bytes| decode("the purged log id", bytes.value())).transpose()?,
            log: entries,
            snapshot: field(SNAPSHOT)?.map(|bytes| decode("the snapshot", bytes.value())).transpose()?,
        })
    }
}
