//! Looks at one member all the time: what it tells about the group, what its Prometheus runs with, what its sidecar uses.

use std::time::Duration;

use anyhow::Result;
use reqwest::Client;
use test_support::http;
use test_support::procfs::{Usage, descriptors};
use test_support::prometheus::{is_leaders, running_config};
use tokio::time::MissedTickBehavior;

use super::roster::{Roster, Seat};
use super::{API_PORT, PROMETHEUS_PORT, ask};
use crate::history::What;
use crate::recorder::Recorder;

const PERIOD: Duration = Duration::from_millis(100);
const ANSWER_MAX: Duration = Duration::from_millis(500);
/// So many polls without an answer in a row: it tells nothing, and is not ready.
const SILENT_AFTER: u32 = 5;

/// What a member tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Told {
    is_leader: bool,
    leader: String,
    term: u64,
    ready: bool,
}

/// Polls until the task is dropped.
pub(super) async fn member(member: String, ready_path: String, roster: Roster, recorder: Recorder) -> Result<()> {
    let client = http::client(ANSWER_MAX)?;
    let mut ticks = ticks(PERIOD);
    let (mut told, mut silent) = (Told::default(), 0);
    loop {
        ticks.tick().await;
        let answer = match roster.seat(&member) {
            Some(seat) => look(&client, seat, &ready_path).await.ok(),
            None => None,
        };
        silent = if answer.is_some() { 0 } else { silent + 1 };
        let now = match answer {
            Some(answer) => answer,
            None if silent >= SILENT_AFTER => Told::default(),
            None => continue,
        };
        if now != told {
            told = now.clone();
            let Told { is_leader, leader, term, ready } = now;
            recorder.note(What::Told { member: member.clone(), is_leader, leader, term, ready });
        }
    }
}

async fn look(client: &Client, seat: Seat, ready_path: &str) -> Result<Told> {
    let ask::Answer { is_leader, name: leader, term } = ask::leader(client, seat.address).await?;
    let ready = ask::ready(client, seat.address, ready_path).await.is_ok();
    Ok(Told { is_leader, leader, term, ready })
}

/// Looks at processes until the task is dropped.
pub(super) async fn processes(member: String, roster: Roster, recorder: Recorder) -> Result<()> {
    let client = http::client(ANSWER_MAX)?;
    let mut ticks = ticks(Duration::from_secs(1));
    let mut leads = None;
    loop {
        ticks.tick().await;
        let Some(seat) = roster.seat(&member) else { continue };
        let usage = match seat.sidecar {
            Some(pid) => of_process(&member, pid),
            None => of_metrics(&client, &member, seat).await,
        };
        if let Some(what) = usage {
            recorder.note(what);
        }
        if seat.witness {
            continue;
        }
        let base = format!("http://{}:{PROMETHEUS_PORT}", seat.address);
        // One that does not answer runs with what it ran with.
        let Ok(config) = running_config(&client, &base).await else { continue };
        let now = is_leaders(&config);
        if leads.replace(now) != Some(now) {
            recorder.note(What::Config { member: member.clone(), leads: now });
        }
    }
}

fn of_process(member: &str, pid: u32) -> Option<What> {
    let (usage, descriptors) = (Usage::read(pid).ok()?, descriptors(pid).ok()?);
    let descriptors = u64::try_from(descriptors).ok()?;
    Some(What::Usage { member: member.into(), pid, rss_bytes: usage.resident_bytes, descriptors })
}

/// What a sidecar tells of itself, whose process is another machine's. When it started stands for its process id.
async fn of_metrics(client: &Client, member: &str, seat: Seat) -> Option<What> {
    let text = http::get(client, &format!("http://{}:{API_PORT}/_elector/metrics", seat.address)).await.ok()?;
    Some(What::Usage {
        member: member.into(),
        pid: u32::try_from(metric(&text, "process_start_time_seconds")?).ok()?,
        rss_bytes: metric(&text, "process_resident_memory_bytes")?,
        descriptors: metric(&text, "process_open_fds")?,
    })
}

/// The value of a metric without labels, rounded down.
fn metric(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    // Whole and positive, but for parts of a second.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    value.parse().ok().map(|value: f64| value as u64)
}

fn ticks(period: Duration) -> tokio::time::Interval {
    let mut ticks = tokio::time::interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

#[cfg(test)]
mod tests {
    use super::metric;

    #[test]
    fn a_metric_is_read_by_its_whole_name() {
        let text =
            "# TYPE process_open_fds gauge\nprocess_open_fds_max 9\nprocess_open_fds 31\nprocess_start 1790000000.5\n";
        assert_eq!((metric(text, "process_open_fds"), metric(text, "process_start")), (Some(31), Some(1_790_000_000)));
        assert_eq!(metric(text, "process_open"), None);
    }
}
