//! The live table: who leads, what arrives of whom at the remote, how the queries fare.

use std::time::{Duration, Instant};

use test_support::cluster::Cluster;
use test_support::load::LoadReport;
use test_support::receiver::Receiver;
use test_support::receiver::analysis::largest_gap;
use test_support::receiver::behaviour::Behaviour;
use test_support::receiver::record::Request;

use crate::screen::{Screen, Style, grouped};

/// One member as the table shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Row {
    name: String,
    /// `None`: it does not answer.
    leads: Option<bool>,
    scrapes: bool,
    /// Requests that have reached the remote.
    requests: u64,
    /// Since the last of them.
    silent: Option<Duration>,
}

/// The remote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Remote {
    is_well: bool,
    series: usize,
    samples: usize,
    largest_gap: Duration,
}

/// What is on the screen, as of one look.
#[derive(Clone, Debug)]
pub(crate) struct View {
    rows: Vec<Row>,
    remote: Remote,
    queries: LoadReport,
    elapsed: Duration,
}

impl View {
    /// Asks everybody.
    pub(crate) async fn take(cluster: &Cluster, receiver: &Receiver, queries: LoadReport, start: Instant) -> Self {
        let mut rows = Vec::new();
        for member in &cluster.members {
            let leads = member.sidecar.leader().await.ok().map(|answer| answer.is_leader);
            let scrapes = member.prometheus.running_config().await.is_ok();
            let (requests, last) = receiver.read(|requests, _| {
                let own = || requests.iter().filter(|request| request.sender.as_ref() == Some(&member.name));
                (own().count(), own().next_back().map(|request: &Request| request.at))
            });
            let silent = last.map(|last| last.elapsed());
            rows.push(Row { name: member.name.clone(), leads, scrapes, requests: requests as u64, silent });
        }
        Self { rows, remote: Remote::look(receiver), queries, elapsed: start.elapsed() }
    }

    /// Draws it with a last line that says what comes next.
    pub(crate) fn draw(&self, screen: &mut Screen, next: &str) {
        let mut block = vec![String::new(), screen.paint(Style::Bold, HEADER)];
        block.extend(self.rows.iter().map(|row| row.paint(screen)));
        block.push(String::new());
        block.push(self.remote.paint(screen));
        block.push(self.queries_line());
        block.push(screen.paint(Style::Dim, next));
        screen.draw(&block, &self.plain());
    }

    fn queries_line(&self) -> String {
        let LoadReport { succeeded, failed, slowest, .. } = &self.queries;
        let sent = grouped(succeeded + failed);
        format!("queries: {sent} answered, {failed} failed, slowest {} ms", grouped(millis(*slowest)))
    }

    fn plain(&self) -> String {
        let rows: Vec<String> = self.rows.iter().map(Row::plain).collect();
        let (remote, queries) = (self.remote.text(), self.queries_line());
        format!("{:>4} s  {}  {remote}; {queries}", self.elapsed.as_secs(), rows.join("  "))
    }
}

const HEADER: &str = "MEMBER    SIDECAR     PROMETHEUS   REQUESTS AT THE REMOTE   THE LAST ONE";

impl Row {
    fn role(&self) -> &'static str {
        match self.leads {
            Some(true) => "leader",
            Some(false) => "follower",
            None => "down",
        }
    }

    fn silent(&self) -> String {
        self.silent.map_or_else(|| "none yet".to_owned(), |silent| format!("{:.1} s ago", silent.as_secs_f64()))
    }

    fn paint(&self, screen: &Screen) -> String {
        let role = format!("{:<11}", self.role());
        let role = match self.leads {
            Some(true) => screen.paint(Style::Good, &role),
            Some(false) => role,
            None => screen.paint(Style::Bad, &role),
        };
        let prometheus = if self.scrapes { "scrapes" } else { "down" };
        let (requests, silent) = (grouped(self.requests), self.silent());
        format!("{:<9} {role} {prometheus:<12} {requests:>22}   {silent:>12}", self.name)
    }

    fn plain(&self) -> String {
        format!("{}={}/{}", self.name, self.role(), grouped(self.requests))
    }
}

impl Remote {
    fn look(receiver: &Receiver) -> Self {
        let store = receiver.store();
        let by_time = store.by_time();
        let largest_gap = largest_gap(&by_time).map_or(Duration::ZERO, |(gap, _)| gap);
        let is_well = receiver.behaviour() == Behaviour::Prometheus;
        Self { is_well, series: by_time.len(), samples: store.len(), largest_gap }
    }

    fn text(&self) -> String {
        let state = if self.is_well { "answers" } else { "AWAY (503)" };
        let (series, samples) = (grouped(self.series as u64), grouped(self.samples as u64));
        let gap = self.largest_gap.as_secs_f64();
        format!("remote: {state}; {samples} samples of {series} series, largest gap in any of them {gap:.1} s")
    }

    fn paint(&self, screen: &Screen) -> String {
        if self.is_well { self.text() } else { screen.paint(Style::Bad, &self.text()) }
    }
}

/// Whole milliseconds.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
