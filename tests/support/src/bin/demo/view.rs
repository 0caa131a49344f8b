//! The live table: who leads, whose Prometheus ships, how much has arrived, how the queries fare.

use std::time::{Duration, Instant};

use test_support::cluster::Cluster;
use test_support::load::LoadReport;

use crate::screen::{Screen, Style, grouped};

/// One member as the table shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Row {
    name: String,
    /// `None`: it does not answer.
    leads: Option<bool>,
    /// `None`: its Prometheus does not answer.
    ships: Option<bool>,
    samples: u64,
}

/// What is on the screen, as of one look.
#[derive(Clone, Debug)]
pub(crate) struct View {
    rows: Vec<Row>,
    queries: LoadReport,
    elapsed: Duration,
}

impl View {
    /// Asks everybody.
    pub(crate) async fn take(cluster: &Cluster, queries: LoadReport, start: Instant) -> Self {
        // The storage counts what has arrived; while it does not answer the table says 0.
        let shipped = cluster.shipped().await.unwrap_or_else(|_| vec![0; cluster.members.len()]);
        let mut rows = Vec::new();
        for (member, samples) in cluster.members.iter().zip(shipped) {
            let leads = member.sidecar.leader().await.ok().map(|answer| answer.is_leader);
            let ships = member.prometheus.ships().await.ok();
            rows.push(Row { name: member.name.clone(), leads, ships, samples });
        }
        Self { rows, queries, elapsed: start.elapsed() }
    }

    /// Draws it with a last line that says what comes next.
    pub(crate) fn draw(&self, screen: &mut Screen, next: &str) {
        let mut block = vec![String::new(), screen.paint(Style::Bold, HEADER)];
        block.extend(self.rows.iter().map(|row| row.paint(screen)));
        block.push(String::new());
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
        format!("{:>4} s  {}  {}", self.elapsed.as_secs(), rows.join("  "), self.queries_line())
    }
}

const HEADER: &str = "MEMBER    SIDECAR     PROMETHEUS       SAMPLES IN STORAGE";

impl Row {
    fn role(&self) -> &'static str {
        match self.leads {
            Some(true) => "leader",
            Some(false) => "follower",
            None => "down",
        }
    }

    fn prometheus(&self) -> &'static str {
        match self.ships {
            Some(true) => "scrapes, ships",
            Some(false) => "scrapes",
            None => "down",
        }
    }

    fn paint(&self, screen: &Screen) -> String {
        let role = format!("{:<11}", self.role());
        let role = match self.leads {
            Some(true) => screen.paint(Style::Good, &role),
            Some(false) => role,
            None => screen.paint(Style::Bad, &role),
        };
        format!("{:<9} {role} {:<16} {:>18}", self.name, self.prometheus(), grouped(self.samples))
    }

    fn plain(&self) -> String {
        format!("{}={}/{}", self.name, self.role(), grouped(self.samples))
    }
}

/// Whole milliseconds.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
