//! A name for each entry that has none: of its URL's host and hash.

use std::collections::{BTreeMap, HashMap};

use sha2::{Digest, Sha256};

use super::Ungated;
use crate::gate::remote::{RemoteSettings, hex};
use crate::render::emit;
use crate::render::tree::{NodeId, Tree};

/// An entry and what was read of it.
pub(super) type Read = (NodeId, Result<RemoteSettings, Ungated>);

/// Names the gated entries that have no name. Returns warnings.
pub(super) fn assign(tree: &Tree<'_>, entries: &mut [Read]) -> Vec<String> {
    let mut sharing: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (index, (_, read)) in entries.iter().enumerate() {
        if let Some(settings) = read.as_ref().ok().filter(|settings| settings.name.is_empty()) {
            sharing.entry(from_url(settings)).or_default().push(index);
        }
    }
    let mut warnings = Vec::new();
    for (base, indices) in sharing {
        let is_shared = indices.len() > 1;
        let mut used: HashMap<String, usize> = HashMap::new();
        let mut lines = Vec::new();
        let mut shown = String::new();
        for index in indices {
            let (entry, Ok(settings)) = &mut entries[index] else { continue };
            settings.name.clone_from(&base);
            if is_shared {
                // An entry that cannot be written out makes the whole configuration too large: an error later.
                let content = emit::emit(tree, *entry, 0).unwrap_or_default();
                settings.name = format!("{base}-{}", hex(&Sha256::digest(content)[..4]));
                let count = used.entry(settings.name.clone()).or_default();
                *count += 1;
                if *count > 1 {
                    settings.name = format!("{}-{count}", settings.name);
                }
            }
            lines.push(settings.line.to_string());
            shown = settings.url.to_string();
        }
        if is_shared {
            warnings.push(format!(
                "lines {}: `remote_write`: entries without `name` for the same URL ({shown}): give each a name, or a \
                 change to one restarts the queue of another",
                lines.join(", ")
            ));
        }
    }
    warnings
}

fn from_url(settings: &RemoteSettings) -> String {
    let is_plain = |c: &char| c.is_ascii_alphanumeric() || "-.".contains(*c);
    let host: String = settings.url.host().chars().filter(is_plain).collect();
    format!("{host}-{}", &settings.url.id()[..8])
}
