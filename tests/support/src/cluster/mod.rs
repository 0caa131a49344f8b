//! A whole group on one machine: members, a storage Prometheus, a scrape target, DNS, and the watch for two leaders.
//!
//! ```text
//! target <-scrape- Prometheus 0 .. n -remote write of the leader-> storage
//!                      | reload, health
//!                  sidecar 0 .. n <-> DNS or static peers
//! ```
//!
//! Everything lives in one temporary directory and on addresses of its own, so that many clusters run side by side.
//! A test ends with [`Cluster::finish`]; a cluster dropped without it prints the end of every log, because then the
//! test has failed.

mod member;
mod options;

use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};

pub use member::Member;
pub use options::{Customize, Discovery, GROUP, GateOptions, Options, SERVICE};

use crate::dns::TestDns;
use crate::links::Links;
use crate::net::{Block, MEMBERS_MAX, RAFT_PORT};
use crate::prometheus::{Kind, Prometheus};
use crate::sampler::{Sampler, Tenure};
use crate::secured::Secured;
use crate::target::Target;
use crate::wait::eventually;
use crate::workdir::WorkDir;

/// Formation and joining take a few seconds; this is for a machine that is busy with other tests.
pub const SETTLE_MAX: Duration = Duration::from_mins(1);
/// A takeover takes two seconds; the same.
pub const TAKEOVER_MAX: Duration = Duration::from_secs(20);
/// Series of the scrape target.
pub const TARGET_SERIES: usize = 10;

/// A running cluster.
pub struct Cluster {
    /// Its members, started or not.
    pub members: Vec<Member>,
    /// Where the leader ships to.
    pub storage: Prometheus,
    /// The name server of the headless service, where there is one for all.
    pub dns: Option<TestDns>,
    /// What lies between the members with [`Discovery::Relayed`].
    pub links: Option<Links>,
    /// The files of [`Options::secured`].
    pub secured: Option<Secured>,
    /// The scrape target, unless the cluster is self-contained.
    pub target: Option<Target>,
    /// Watches for two leaders from the start.
    pub sampler: Sampler,
    discovery: Discovery,
    block: Block,
    print_logs: bool,
    // Last, so that it is removed after the processes have ended.
    work: WorkDir,
}

impl Cluster {
    /// Prepares everything and starts nothing but DNS and the target.
    pub async fn prepare(options: &Options) -> Result<Self> {
        ensure!(options.names.len() <= MEMBERS_MAX, "at most {MEMBERS_MAX} members");
        let block = Block::claim()?;
        let work = WorkDir::new(options.label)?;
        let target = if options.self_contained { None } else { Some(Target::start(block.target(), TARGET_SERIES)?) };
        let dns = match options.discovery {
            Discovery::Static | Discovery::Relayed => None,
            Discovery::Srv | Discovery::Addresses => Some(TestDns::start().await?),
        };
        let links = match options.discovery {
            Discovery::Relayed => Some(Links::start(&block, options.names.len()).await?),
            _ => None,
        };
        let secured = options.secured.then(|| Secured::new(&work.path().join("secrets"))).transpose()?;
        let mut members = (0..options.names.len())
            .map(|index| Member::new(index, &block, work.path(), options, secured.as_ref()))
            .collect::<Result<Vec<_>>>()?;
        for (index, member) in members.iter_mut().enumerate() {
            let flags = &mut member.sidecar.flags;
            match (&dns, &links) {
                (Some(dns), _) => flags.set("peer-service-name", SERVICE).set("dns-server", dns.addr()),
                (None, Some(links)) => flags
                    .set("peer-service-name", SERVICE)
                    .set("dns-server", links.dns_addr(index))
                    .set("raft-advertise-address", format!("{}.{SERVICE}:{RAFT_PORT}", options.names[index])),
                (None, None) => flags.set("peers", static_peers(&options.names, &block)),
            };
            (options.customize)(index, flags);
        }
        let storage_dir = work.path().join("storage");
        std::fs::create_dir_all(&storage_dir)?;
        let storage_config = storage_dir.join("prometheus.yml");
        std::fs::write(&storage_config, "global: {}\n")?;
        let storage = Prometheus::new("storage", Kind::Server, block.storage(), &storage_config, &storage_dir)?;
        let sampler = Sampler::new(options.sample_period)?;
        let discovery = options.discovery;
        let print_logs = options.print_logs;
        Ok(Self { members, storage, dns, links, secured, target, sampler, discovery, block, print_logs, work })
    }

    /// Starts everything and waits until the group has formed.
    pub async fn start(options: &Options) -> Result<Self> {
        let mut cluster = Self::prepare(options).await?;
        cluster.storage.spawn()?;
        cluster.start_group(options.start).await?;
        cluster.storage.wait_ready().await?;
        Ok(cluster)
    }

    /// Starts the first `count` members, without a storage, and waits until their group has formed. Returns the leader.
    pub async fn start_group(&mut self, count: usize) -> Result<usize> {
        let all: Vec<usize> = (0..count).collect();
        self.publish(&all);
        self.start_members(&all).await?;
        self.wait_settled().await
    }

    /// Starts members at once: sidecars first, as native sidecar containers do.
    pub async fn start_members(&mut self, which: &[usize]) -> Result<()> {
        for &index in which {
            self.members[index].sidecar.start()?;
            self.watch(index);
        }
        for &index in which {
            self.members[index].spawn_prometheus().await?;
        }
        for &index in which {
            self.members[index].prometheus.wait_ready().await?;
        }
        Ok(())
    }

    /// Has DNS list exactly these members.
    pub fn publish(&self, which: &[usize]) {
        if let Some(links) = &self.links {
            let members: Vec<_> = which.iter().map(|&index| (index, self.members[index].name.as_str())).collect();
            links.publish(&self.block, SERVICE, &members);
        }
        let Some(dns) = &self.dns else { return };
        let pods: Vec<_> = which
            .iter()
            .map(|&index| (self.members[index].name.as_str(), self.block.member_ip(index), RAFT_PORT))
            .collect();
        if self.discovery == Discovery::Srv {
            return dns.set_service(SERVICE, &pods);
        }
        dns.set_addresses(SERVICE, &pods.iter().map(|(_, ip, _)| *ip).collect::<Vec<_>>());
    }

    /// Indexes of the members whose sidecar has been started.
    pub fn started(&self) -> Vec<usize> {
        (0..self.members.len()).filter(|&index| self.members[index].sidecar.started()).collect()
    }

    /// [`Cluster::wait_group`] of all started members.
    pub async fn wait_settled(&mut self) -> Result<usize> {
        self.wait_group(&self.started()).await
    }

    /// Waits until all of `which` are ready, are all the voters, and agree on a leader whose configuration is in force.
    /// Returns its index.
    pub async fn wait_group(&mut self, which: &[usize]) -> Result<usize> {
        let mut names: Vec<String> = which.iter().map(|&index| self.members[index].name.clone()).collect();
        names.sort();
        self.check_running()?;
        let what = format!("{} to be the settled group", names.join(", "));
        eventually(SETTLE_MAX, &what, async || self.settled(which, &names).await).await
    }

    async fn settled(&self, which: &[usize], names: &[String]) -> Result<usize> {
        for &index in which {
            let Member { name, sidecar, .. } = &self.members[index];
            // Not ready is an error that says why.
            sidecar.get("/_elector/readyz").await?;
            let status = sidecar.status().await?;
            let voters = status.voters()?;
            ensure!(voters == names, "{name}: the voters are {voters:?}");
            ensure!(status.config_in_force(), "{name}: its configuration is not in force: {}", status.config());
        }
        let leader = self.agreed_leader(which).await?;
        let ships = self.members[leader].prometheus.ships().await?;
        ensure!(ships, "the leader's Prometheus does not run the leader configuration");
        Ok(leader)
    }

    /// Waits until `leader` knows that every other member could take over.
    pub async fn wait_eligible(&self, leader: usize) -> Result<()> {
        eventually(SETTLE_MAX, "every member to be able to take over", async || {
            let status = self.members[leader].sidecar.status().await?;
            let members = status.group()["members"].as_array().context("a status without members")?;
            let unable = members.iter().find(|member| member["kind"] == "voter" && member["eligible"] != true);
            ensure!(unable.is_none(), "{}", unable.unwrap_or_default());
            Ok(())
        })
        .await
    }

    /// The leader that all of `which` name, and that says so itself.
    pub async fn agreed_leader(&self, which: &[usize]) -> Result<usize> {
        let mut leader = None;
        for &index in which {
            let answer = self.members[index].sidecar.leader().await?;
            let named = self.index_of(&answer.current_leader)?;
            ensure!(leader.is_none_or(|leader| leader == named), "they name different leaders");
            ensure!(named != index || answer.is_leader, "{} names itself without leading", answer.current_leader);
            leader = Some(named);
        }
        leader.context("no member")
    }

    /// Waits until all started members agree on a leader. Returns its index.
    pub async fn wait_leader(&self, within: Duration) -> Result<usize> {
        let started = self.started();
        eventually(within, "a leader", async || self.agreed_leader(&started).await).await
    }

    /// The present leadership, for [`Cluster::wait_successor`]. Take it before the fault.
    pub fn tenure(&self) -> Result<Tenure> {
        self.sampler.newest(GROUP).context("no member has led yet")
    }

    /// Waits until another member leads than in `old`, and its Prometheus ships. Returns its index.
    pub async fn wait_successor(&self, old: &Tenure) -> Result<usize> {
        let new = self.sampler.successor(GROUP, old, TAKEOVER_MAX).await?;
        let index = self.index_of(&new.member)?;
        self.wait_ships(index, true).await?;
        Ok(index)
    }

    /// Waits until a member's Prometheus runs the leader configuration, or does not.
    pub async fn wait_ships(&self, index: usize, ships: bool) -> Result<()> {
        let Member { name, prometheus, .. } = &self.members[index];
        let what =
            format!("{name}'s Prometheus to run the {} configuration", if ships { "leader" } else { "follower" });
        eventually(TAKEOVER_MAX, &what, async || {
            ensure!(prometheus.ships().await? == ships, "it does not");
            Ok(())
        })
        .await
    }

    /// Fails unless exactly `leader`, of the started members, has a Prometheus with a remote to write to.
    pub async fn check_only_one_ships(&self, leader: usize) -> Result<()> {
        for index in self.started() {
            let Member { name, prometheus, .. } = &self.members[index];
            let ships = prometheus.ships().await?;
            ensure!(ships == (index == leader), "{name}: ships is {ships}, the leader is number {leader}");
        }
        Ok(())
    }

    /// A started member that is not `leader`.
    pub fn follower(&self, leader: usize) -> Result<usize> {
        self.started().into_iter().find(|&index| index != leader).context("no follower")
    }

    /// Index of a member by its name.
    pub fn index_of(&self, name: &str) -> Result<usize> {
        self.members.iter().position(|member| member.name == name).ok_or_else(|| anyhow!("no member `{name}`"))
    }

    /// Samples in all scrapes that each member has shipped, as the storage counts them.
    pub async fn shipped(&self) -> Result<Vec<u64>> {
        let counts = self.storage.query("sum by (shipped_by) (sum_over_time(scrape_samples_scraped[1h]))").await?;
        let count = |member: &Member| {
            let own = counts.iter().find(|sample| sample.labels.get("shipped_by") == Some(&member.name));
            // Counts are small whole numbers.
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            own.map_or(0, |sample| sample.value as u64)
        };
        Ok(self.members.iter().map(count).collect())
    }

    /// Has the sampler watch a member that was started by hand for the first time.
    pub fn watch(&mut self, index: usize) {
        let member = &self.members[index];
        self.sampler.watch(member.group(), &member.name, &member.sidecar.url(""));
    }

    /// Changes certificates, CA and password on disk, for everybody at once.
    pub fn change_secrets(&mut self, generation: usize) -> Result<()> {
        let secured = self.secured.as_ref().context("this cluster is not secured")?;
        secured.change(generation)?;
        self.members.iter_mut().try_for_each(|member| member.prometheus.secure(secured))
    }

    /// Directory of everything.
    pub fn dir(&self) -> &std::path::Path {
        self.work.path()
    }

    /// Leaves processes and files behind for good.
    pub fn leave_running(mut self) {
        self.work.keep();
        // The processes' values must not be dropped: that would end them.
        std::mem::forget(self);
    }

    /// Leaves its files on disk for good, and says where they are.
    pub fn keep_files(&mut self) -> &std::path::Path {
        self.work.keep();
        self.work.path()
    }

    /// Ends everything, without a verdict.
    pub fn end(mut self) {
        self.print_logs = false;
    }

    /// Process ids of all that has been started.
    pub fn process_ids(&self) -> Vec<u32> {
        let members = self.members.iter().flat_map(|member| [member.sidecar.id(), member.prometheus.id()]);
        members.chain([self.storage.id()]).flatten().collect()
    }

    /// The end of every log.
    pub fn log_tails(&self) -> String {
        let members: String = self.members.iter().map(Member::tails).collect();
        format!("{members}--- end of the storage's log\n{}", self.storage.tail())
    }

    /// The end of a test: fails if two members ever led at once, or if a sidecar has ended by itself.
    pub fn finish(mut self) -> Result<()> {
        self.check_running()?;
        if let Err(error) = self.sampler.verdict() {
            bail!("{error:#}");
        }
        self.print_logs = false;
        Ok(())
    }

    fn check_running(&mut self) -> Result<()> {
        self.members.iter_mut().try_for_each(|member| member.sidecar.check_running())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if self.print_logs {
            eprintln!("{}", self.log_tails());
        }
    }
}

/// `name=host:port` of all.
fn static_peers(names: &[String], block: &Block) -> String {
    let peer = |(index, name): (usize, &String)| format!("{name}={}:{RAFT_PORT}", block.member_ip(index));
    names.iter().enumerate().map(peer).collect::<Vec<_>>().join(",")
}
