//! What the members told of themselves: configuration and remote writes of each.

use std::fmt::Write as _;
use std::time::Duration;

use elector_raft::{GroupStatus, MemberKind, MemberStatus};

use super::{ago, does, lines, short, table};
use crate::api::digest::{Digest, RemoteDigest};

type Told = MemberStatus<Option<Digest>>;

/// Both tables, each after an empty line; nothing where nobody told anything.
pub(super) fn tables(group: &GroupStatus<Option<Digest>>, now: Duration) -> String {
    let mut text = String::new();
    let told = || group.members.iter().filter_map(|member| Some((member, member.digest.as_ref()?)));
    if told().any(|(_, digest)| digest.config.is_some()) {
        let mut table = table(["CONFIGURATION", "IN FORCE", "RELOADED", "STATE"]);
        let replicas = group.members.iter().filter(|member| member.kind != MemberKind::Witness);
        table.add_rows(replicas.map(|member| config_row(member, now)));
        let _ = write!(text, "\n{}", lines(&table));
    }
    let mut remotes: Vec<_> = told().flat_map(|(m, digest)| digest.remotes.iter().map(move |r| (m, r))).collect();
    remotes.sort_by(|(_, one), (_, other)| one.name.cmp(&other.name));
    if !remotes.is_empty() {
        let mut table = table(["REMOTE", "MEMBER", "DOES", "ACCEPTED", "HELD", "REFUSED", "WATERMARK"]);
        table.add_rows(remotes.into_iter().map(|(member, remote)| remote_row(member, remote, now)));
        let _ = write!(text, "\n{}", lines(&table));
    }
    let more = told().fold(0_usize, |sum, (_, digest)| sum.saturating_add(digest.remotes_left_out));
    if more > 0 {
        let _ = writeln!(text, "{more} more are not shown");
    }
    text
}

fn config_row(member: &Told, now: Duration) -> [String; 4] {
    let Some(config) = member.digest.as_ref().and_then(|digest| digest.config.as_ref()) else {
        return [member.name.clone(), "unknown".to_owned(), "unknown".to_owned(), "it has not told yet".to_owned()];
    };
    let in_force = config.applied_hash.as_deref().map_or_else(|| "not known".to_owned(), short);
    let at = config.applied_at_unix_ms.map(Duration::from_millis);
    let reloaded = at.map_or_else(|| "never".to_owned(), |at| ago(now.saturating_sub(at)));
    let wanted = config.desired_hash.as_deref().filter(|hash| Some(*hash) != config.applied_hash.as_deref());
    let mut state: Vec<String> = Vec::new();
    if member.silent {
        let heard = member.last_contact_ms.map_or_else(|| "before".to_owned(), |ms| ago(Duration::from_millis(ms)));
        state.push(format!("as told {heard}"));
    }
    state.extend(wanted.map(|hash| format!("{} is wanted", short(hash))));
    state.extend(config.last_error.clone());
    let state = if state.is_empty() { "ok".to_owned() } else { state.join(": ") };
    [member.name.clone(), in_force, reloaded, state]
}

fn remote_row(member: &Told, remote: &RemoteDigest, now: Duration) -> [String; 7] {
    let does = match does(&remote.phase) {
        _ if member.silent => "not known".to_owned(),
        "writes" if !remote.shipping => "cannot write".to_owned(),
        does => does.to_owned(),
    };
    let watermark = remote.watermark_ms.map(|ms| Duration::from_millis(u64::try_from(ms).unwrap_or(0)));
    let behind = watermark.map_or_else(|| "none yet".to_owned(), |at| ago(now.saturating_sub(at)));
    let number = |count: u64| count.to_string();
    let (accepted, held, refused) = (number(remote.accepted), number(remote.held), number(remote.refused));
    [remote.name.clone(), member.name.clone(), does, accepted, held, refused, behind]
}
