//! The play itself: what is broken, in which order, and what came out.

use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use test_support::cluster::{Cluster, GROUP, TAKEOVER_MAX};
use test_support::load::{Load, LoadReport};
use test_support::prometheus::Executable;
use test_support::receiver::Receiver;
use test_support::receiver::analysis::{Turn, largest_gap, requests_after, turns};
use test_support::receiver::behaviour::Behaviour;
use test_support::wait::eventually;

use crate::print_kept;
use crate::screen::{Screen, Style, grouped};
use crate::view::{View, millis};

/// How long most acts last.
const ACT: Duration = Duration::from_secs(6);
/// How long the remote is away, before and after the leader is killed.
const OUTAGE_BEFORE: Duration = Duration::from_secs(12);
const OUTAGE_AFTER: Duration = Duration::from_secs(8);
const REDRAW_PERIOD: Duration = Duration::from_millis(250);
const QUERIES_PER_SECOND: u32 = 100;
/// What agents can answer: they have no query engine.
const QUERY: &str = "/api/v1/targets";
/// Scrapes are a second apart; a busy machine is sometimes late.
const GAP_MAX: Duration = Duration::from_millis(1_500);
/// What the kernel holds of a request that was sent in time.
const ON_ITS_WAY_MAX: Duration = Duration::from_millis(200);

/// Everything that plays a part.
pub(crate) struct Play {
    pub(crate) screen: Screen,
    pub(crate) cluster: Cluster,
    /// The remote: it notes who sends what, and stores as Prometheus does.
    pub(crate) receiver: Receiver,
    pub(crate) start: Instant,
}

impl Play {
    /// The whole play, up to the summary.
    pub(crate) async fn run(&mut self, prometheus: &Executable) -> Result<()> {
        let leader = self.form(prometheus).await?;
        let load = self.ask_beside(leader)?;
        self.screen.line("  (agents answer no PromQL; the answer comes from the leader's own Prometheus)");
        let victim = self.name(leader);
        self.act(&load, ACT, &format!("kill -9 {victim}'s sidecar")).await;
        let leader = self.lose_sidecar(&load, leader).await?;
        // The one that was asked may lead now, and is about to be killed.
        let asked_before = load.stop().await;
        let load = self.ask_beside(leader)?;
        self.lose_remote(&load, leader).await?;
        let mut asked = load.stop().await;
        asked.add(asked_before);
        self.summary(&asked)
    }

    /// Sends queries through another member than the leader.
    fn ask_beside(&mut self, leader: usize) -> Result<Load> {
        let follower = self.cluster.follower(leader)?;
        let name = self.name(follower);
        let load = Load::start(&self.cluster.members[follower].sidecar.url(QUERY), QUERIES_PER_SECOND)?;
        self.screen.done(&format!("{QUERIES_PER_SECOND} queries per second through {name}'s proxy: GET {QUERY}"));
        Ok(load)
    }

    /// Starts everything and tells about it. Returns the leader.
    async fn form(&mut self, prometheus: &Executable) -> Result<usize> {
        self.screen.draw(&["starting three members …".to_owned()], "starting three members");
        let start = Instant::now();
        // The agents scrape it. It takes over as the remote when the demo is kept.
        self.cluster.storage.start().await?;
        let leader = self.cluster.start_group(3).await?;
        let (seconds, version) = (start.elapsed().as_secs_f64(), &prometheus.version);
        for member in &self.cluster.members {
            let (sidecar, agent) = (member.sidecar.url(""), member.prometheus.url(""));
            self.screen.done(&format!("{}: sidecar {sidecar}, agent {agent} (Prometheus {version})", member.name));
        }
        let name = self.name(leader);
        let how = format!("after {seconds:.1} s, without any API of Kubernetes");
        self.screen.done(&format!("the group has formed {how}: {name} leads"));
        eventually(TAKEOVER_MAX, "samples at the remote", async || {
            ensure!(!self.receiver.store().is_empty(), "none yet");
            Ok(())
        })
        .await?;
        Ok(leader)
    }

    /// Kills the leader's sidecar and brings it back. Returns the new leader.
    async fn lose_sidecar(&mut self, load: &Load, leader: usize) -> Result<usize> {
        let (old, name) = (self.cluster.tenure()?, self.name(leader));
        self.cluster.members[leader].sidecar.kill()?;
        let killed = Instant::now();
        self.screen.failed(&format!("kill -9: {name}'s sidecar is gone; its Prometheus goes on scraping and sending"));
        let new = self.cluster.sampler.successor(GROUP, &old, TAKEOVER_MAX).await?;
        let turn = self.turn_of(new.term).await?;
        let leads_ms = grouped(millis(new.since.duration_since(killed)));
        let writes_ms = grouped(millis(turn.first.duration_since(killed)));
        let took = self.screen.paint(Style::Bold, &format!("{leads_ms} ms"));
        self.screen
            .done(&format!("{} took over after {took}; its first request was there after {writes_ms} ms", new.member));
        self.act(load, ACT, &format!("{name}'s sidecar is started again")).await;
        let late = requests_after(&self.receiver.requests(), &name, killed + ON_ITS_WAY_MAX);
        ensure!(late == 0, "{late} requests of {name} after its sidecar was killed");
        self.screen.done(&format!("nothing more of {name} has arrived, although its Prometheus lives"));
        self.cluster.members[leader].sidecar.start()?;
        let next = self.cluster.wait_settled().await?;
        self.screen.done(&format!("{name}'s sidecar is back, as a follower"));
        self.act(load, ACT, &format!("the remote goes away for {} s", (OUTAGE_BEFORE + OUTAGE_AFTER).as_secs())).await;
        Ok(next)
    }

    /// Takes the remote away, and the leader meanwhile.
    async fn lose_remote(&mut self, load: &Load, leader: usize) -> Result<()> {
        let name = self.name(leader);
        self.receiver.set(Behaviour::Status(503));
        self.screen.failed("the remote answers nothing but 503");
        self.act(load, OUTAGE_BEFORE, &format!("kill -9 {name}, sidecar and Prometheus, while the remote is away"))
            .await;
        let old = self.cluster.tenure()?;
        self.cluster.members[leader].kill()?;
        self.screen.failed(&format!("kill -9: {name} is gone, and with it all that it could not ship"));
        self.act(load, OUTAGE_AFTER, "the remote comes back").await;
        self.receiver.set(Behaviour::Prometheus);
        let new = self.cluster.sampler.successor(GROUP, &old, TAKEOVER_MAX).await?;
        self.screen.done(&format!("the remote is back; {} ships what its gate has kept", new.member));
        self.act(load, ACT, &format!("{name} is started again")).await;
        self.cluster.members[leader].start().await?;
        self.cluster.wait_settled().await?;
        self.screen.done(&format!("{name} is back, as a follower"));
        self.act(load, ACT, "the end").await;
        Ok(())
    }

    /// Shows the live table for one act.
    async fn act(&mut self, load: &Load, lasts: Duration, next: &str) {
        let end = Instant::now() + lasts;
        while Instant::now() < end {
            let tick = Instant::now() + REDRAW_PERIOD;
            let left = end.saturating_duration_since(Instant::now());
            let view = View::take(&self.cluster, &self.receiver, load.report(), self.start).await;
            view.draw(&mut self.screen, &format!("in {} s: {next}", left.as_secs() + 1));
            tokio::time::sleep_until(tick.into()).await;
        }
    }

    /// What came out. An error if a query failed, two replicas wrote at once, or a series has a gap.
    fn summary(&mut self, report: &LoadReport) -> Result<()> {
        self.screen.keep_block();
        self.cluster.sampler.verdict()?;
        let turns = turns(&self.receiver.requests())?;
        let turn = |turn: &Turn| format!("{} in term {}", turn.sender, turn.term);
        let all = turns.iter().map(turn).collect::<Vec<_>>().join(", then ");
        self.screen.done(&format!("one writer at a time, by the remote's notes: {all}"));
        let stored = self.receiver.store().by_time();
        let Some((gap, series)) = largest_gap(&stored) else { bail!("nothing was stored") };
        ensure!(gap <= GAP_MAX, "a gap of {gap:?} in {series}");
        let (series, gap_ms) = (grouped(stored.len() as u64), grouped(millis(gap)));
        self.screen
            .done(&format!("no gap in any of {series} series: scraped every 1,000 ms, the largest is {gap_ms} ms"));
        let sent = grouped(report.succeeded + report.failed);
        if report.failed > 0 {
            self.screen.failed(&format!("queries: {sent} sent, {} failed: {:?}", report.failed, report.failures));
            bail!("{} of {sent} queries failed", report.failed);
        }
        let slowest = grouped(millis(report.slowest));
        let held = format!("the slowest took {slowest} ms: held while nobody led");
        self.screen.done(&format!("queries: {sent} sent, 0 failed; {held}"));
        Ok(())
    }

    /// Leaves everything running. The remote of the play ends with this program: the storage takes its place.
    pub(crate) async fn keep(mut self) -> Result<()> {
        for member in &mut self.cluster.members {
            member.spec.storage = Some(self.cluster.storage.address);
            member.write_source()?;
        }
        self.cluster.wait_settled().await?;
        print_kept(&mut self.screen, self.cluster)
    }

    /// What the remote has noted of a term, once there is something.
    async fn turn_of(&self, term: u64) -> Result<Turn> {
        eventually(TAKEOVER_MAX, "a request of the new leader", async || {
            let turn = turns(&self.receiver.requests())?.pop();
            turn.filter(|turn| turn.term >= term).ok_or_else(|| anyhow::anyhow!("none yet"))
        })
        .await
    }

    fn name(&self, index: usize) -> String {
        self.cluster.members[index].name.clone()
    }
}
