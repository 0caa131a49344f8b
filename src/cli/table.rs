//! What `status` and `member list` print: pure text, no colours, 80 columns unless names alone are longer.

use std::fmt::Write as _;
use std::time::{Duration, UNIX_EPOCH};

use comfy_table::{ColumnConstraint, ContentArrangement, Table, Width, presets};
use elector_raft::{GroupStatus, MemberKind, MemberStatus};

use crate::api::digest::Digest;
use crate::api::status::{MemberRole, StatusReport};
use crate::gate::RemoteStatus;
use crate::role::{ConfigStatus, Role};

mod told;

const COLUMNS: u16 = 80;
/// Width that the last column keeps, however long the names are.
const PROSE_COLUMNS_MIN: u16 = 24;
/// Leadership terms shown, newest first.
const LEDGER_ROWS: usize = 5;
/// Hexadecimal digits of a configuration hash that are shown: enough to compare by eye.
const HASH_DIGITS: usize = 12;

/// The report for people. `now` is the time since the Unix epoch.
pub(super) fn status(report: &StatusReport, now: Duration) -> String {
    let mut text = block([[headline(report)]]);
    text.push_str(&block(facts(report, now)));
    if !report.group.members.is_empty() {
        let mut table = table(["", "MEMBER", "KIND", "ROLE", "LAST SEEN", "HEALTH"]);
        table.add_rows(report.group.members.iter().map(|member| row(member, report)));
        let _ = write!(text, "\n{}", lines(&table));
    }
    if let Some(gate) = report.gate.as_ref().filter(|gate| !gate.remotes.is_empty() || !gate.ungated.is_empty()) {
        let mut table = table(["REMOTE WRITE", "DOES", "SPOOL", "LAST TAKEN", "STATE"]);
        table.add_rows(gate.remotes.iter().map(remote_row));
        table.add_rows(gate.ungated.iter().map(|entry| {
            let state = format!("not gated: {}", entry.reason);
            [entry.label.clone(), "-".to_owned(), "-".to_owned(), "-".to_owned(), state]
        }));
        let _ = write!(text, "\n{}", lines(&table));
    }
    text.push_str(&told::tables(&report.group, now));
    if !report.warnings.is_empty() {
        let _ = write!(text, "\nWarnings:\n{}", block(report.warnings.iter().map(|warning| ["-", warning])));
    }
    if !report.group.ledger.is_empty() {
        let mut table = table(["TERM", "LEADER", "SINCE", "REASON"]);
        for entry in report.group.ledger.iter().rev().take(LEDGER_ROWS) {
            let since = humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_millis(entry.since_unix_ms));
            table.add_row([entry.term.to_string(), entry.leader.clone(), since.to_string(), entry.reason.clone()]);
        }
        let _ = write!(text, "\nRecent leaders:\n{}", lines(&table));
    }
    text
}

/// The members of the group.
pub(super) fn members(group: &GroupStatus<Option<Digest>>) -> String {
    if group.members.is_empty() {
        return format!("no members are known yet: {}\n", group.reason);
    }
    let mut table = table(["", "MEMBER", "KIND", "NODE ID", "RAFT ADDRESS"]);
    // An address that is broken over two lines cannot be copied; better a long line.
    table.set_content_arrangement(ContentArrangement::Disabled);
    table.add_rows(group.members.iter().map(|member| {
        [
            marker(member),
            member.name.clone(),
            kind(member).to_owned(),
            member.id.to_string(),
            member.raft_address.clone(),
        ]
    }));
    lines(&table)
}

fn headline(report: &StatusReport) -> String {
    let role = match report.role {
        MemberRole::Leader => "the leader",
        MemberRole::Follower => "a follower",
        MemberRole::Witness => "a witness",
    };
    let leader = match &report.leader {
        _ if report.role == MemberRole::Leader => String::new(),
        Some(leader) if *leader == report.member => "it leads the group without the right to act; ".to_owned(),
        Some(leader) => format!("{leader} leads; "),
        None => "no leader is known; ".to_owned(),
    };
    let mut state = vec![if report.ready { "ready" } else { "not ready" }];
    if report.cordoned {
        state.push("cordoned");
    }
    if report.shutting_down {
        state.push("shutting down");
    }
    format!("{} is {role}; {leader}term {}; {}", report.member, report.term, state.join(", "))
}

fn facts(report: &StatusReport, now: Duration) -> Vec<[String; 2]> {
    let mut facts = vec![("reason", report.reason.clone())];
    if report.group.reason != report.reason {
        facts.push(("group", report.group.reason.clone()));
    }
    if report.authority {
        let left = report.authority_left_ms.map(|ms| format!("{ms} ms left unless renewed"));
        facts.push(("authority", left.unwrap_or_else(|| "without an end: the only voter".to_owned())));
    }
    facts.push(("not ready", report.not_ready_reason.clone().unwrap_or_default()));
    if let Some(config) = &report.config {
        facts.push(("config", config_sentence(config, now)));
        facts.push(("error", config.last_error.clone().unwrap_or_default()));
    }
    facts.into_iter().filter(|(_, value)| !value.is_empty()).map(|(name, value)| [name.to_owned(), value]).collect()
}

fn row(member: &MemberStatus<Option<Digest>>, report: &StatusReport) -> [String; 6] {
    let role = match (member.kind, member.leader) {
        (MemberKind::Witness, true) => "leads, must hand over",
        (MemberKind::Candidate, _) => "not admitted",
        (_, true) if member.this && !report.authority => "leader, may not act",
        (_, true) => "leader",
        (_, false) => "follower",
    };
    let seen = match member.last_contact_ms {
        _ if member.this => "this member".to_owned(),
        Some(ms) => ago(Duration::from_millis(ms)),
        None => "never".to_owned(),
    };
    let health = match member.eligible {
        _ if member.kind == MemberKind::Witness => "votes only".to_owned(),
        Some(true) => "ok".to_owned(),
        Some(false) if member.eligibility_reason.is_empty() => "cannot lead".to_owned(),
        Some(false) => format!("cannot lead: {}", member.eligibility_reason),
        None => "not heard yet".to_owned(),
    };
    [marker(member), member.name.clone(), kind(member).to_owned(), role.to_owned(), seen, health]
}

fn remote_row(remote: &RemoteStatus) -> [String; 5] {
    let taken = remote.last_accepted_age_ms.map_or_else(|| "never".to_owned(), |ms| ago(Duration::from_millis(ms)));
    let state = match (&remote.not_shipping, &remote.not_covered_reason) {
        (Some(_), _) => "not shipping, see below".to_owned(),
        (None, Some(reason)) => format!("not covered: {reason}"),
        (None, None) => format!("ok: {}", remote.url),
    };
    [
        remote.name.clone(),
        does(remote.phase.name()).to_owned(),
        format!("{} KiB", remote.spool_bytes.div_ceil(1024)),
        taken,
        state,
    ]
}

/// A phase of a remote in words; that of a newer release as it is.
fn does(phase: &str) -> &str {
    match phase {
        "standby" => "stands by",
        "catching_up" => "catches up",
        "writer" => "writes",
        "handing_over" => "hands over",
        other => other,
    }
}

fn marker(member: &MemberStatus<Option<Digest>>) -> String {
    if member.leader { "*" } else { "" }.to_owned()
}

fn kind(member: &MemberStatus<Option<Digest>>) -> &'static str {
    match member.kind {
        MemberKind::Voter => "voter",
        MemberKind::Learner => "learner",
        MemberKind::Witness => "witness",
        MemberKind::Candidate => "candidate",
    }
}

fn short(hash: &str) -> String {
    hash.chars().take(HASH_DIGITS).collect()
}

fn config_sentence(config: &ConfigStatus, now: Duration) -> String {
    let applied = config.applied_hash.as_deref().map(|hash| {
        let role = match config.applied_role {
            Some(Role::Leader) => "leader",
            Some(Role::Follower) | None => "follower",
        };
        let at = config.applied_at_unix_ms.map(Duration::from_millis);
        let when = at.map(|at| format!(", reloaded {}", ago(now.saturating_sub(at)))).unwrap_or_default();
        format!("{role} configuration {}{when}", short(hash))
    });
    match (config.desired_hash.as_deref(), applied) {
        (None, None) => "no source file was read yet".to_owned(),
        (Some(desired), None) => format!("{} waits for Prometheus's first reload", short(desired)),
        (Some(desired), Some(applied)) if Some(desired) != config.applied_hash.as_deref() => {
            format!("{} is wanted; in force is still the {applied}", short(desired))
        }
        (_, Some(applied)) => format!("in force: {applied}"),
    }
}

/// A duration in its largest unit, as far as it is still precise to about a hundredth.
fn ago(age: Duration) -> String {
    let seconds = age.as_secs();
    match seconds {
        0 => format!("{} ms ago", age.as_millis()),
        1..120 => format!("{seconds} s ago"),
        120..7200 => format!("{} min ago", seconds / 60),
        7200..172_800 => format!("{} h ago", seconds / 3600),
        _ => format!("{} days ago", seconds / 86400),
    }
}

fn table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = plain();
    table.set_header(header);
    set_columns::<N>(&mut table);
    table
}

/// Rows of prose without a header.
fn block<const N: usize>(rows: impl IntoIterator<Item = [impl ToString; N]>) -> String {
    let mut table = plain();
    table.add_rows(rows.into_iter().map(|row| row.map(|cell| cell.to_string())));
    set_columns::<N>(&mut table);
    lines(&table)
}

fn plain() -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic).set_width(COLUMNS);
    table
}

/// All columns but the last keep their content's width, so that names stay whole.
fn set_columns<const N: usize>(table: &mut Table) {
    table.discover_columns();
    let last = ColumnConstraint::LowerBoundary(Width::Fixed(PROSE_COLUMNS_MIN));
    table.set_constraints((1..N).map(|_| ColumnConstraint::ContentWidth).chain([last]));
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
}

/// Text of a table. Names and reasons come from other members: nothing in them may steer the terminal.
fn lines(table: &Table) -> String {
    let text = table.trim_fmt();
    let mut text: String =
        text.chars().map(|c| if c.is_control() && c != '\n' { char::REPLACEMENT_CHARACTER } else { c }).collect();
    text.push('\n');
    text
}

#[cfg(test)]
mod tests;
