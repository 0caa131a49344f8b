//! What stands beside the members: the receiver of their remote writes, the target that they scrape, clients, and everybody who
//! watches them for the record.
//!
//! ```text
//!  clients, pollers ──► member ──► receiver, target
//!                         └► event log ──► recorder
//! ```

mod ask;
mod clients;
mod poll;
mod remote;
mod roster;
mod tail;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use futures_util::future::join_all;
use reqwest::Client;
use serde_json::Value;
use test_support::http;
use test_support::receiver::Receiver;
use test_support::target::Target;
use tokio::task::JoinSet;

pub use self::clients::Question;
use self::roster::Roster;
pub(crate) use self::roster::Seat;
pub(crate) use self::tail::Tail;
use crate::recorder::{Recorder, ns_of};

/// Port of API and proxy.
pub const API_PORT: u16 = 9095;
/// Port of Prometheus.
pub const PROMETHEUS_PORT: u16 = 9090;
/// Port of the receiver.
pub const RECEIVER_PORT: u16 = 9009;
/// Port of the scrape target.
pub const TARGET_PORT: u16 = 9100;
/// Interval of scrapes.
pub const SCRAPE_INTERVAL_MS: u32 = 1_000;
/// Series of each part of the target.
const SERIES: usize = 5;
/// A member that is asked who leads answers sooner, or is left out.
const ASK_MAX: Duration = Duration::from_millis(500);

/// How members are asked.
#[derive(Clone, Debug)]
pub struct Watched {
    /// Where on the API's port a member says by 200 that it is ready.
    pub ready_path: String,
    /// What clients ask.
    pub question: Question,
    /// Members that share the rate of the clients.
    pub members: usize,
}

/// All of it. Dropping it ends it.
pub struct Hub {
    /// Where everything is noted.
    pub recorder: Recorder,
    /// The remote.
    pub receiver: Receiver,
    /// The target.
    pub target: Target,
    watched: Watched,
    roster: Roster,
    tails: Vec<Tail>,
    /// Everybody who ever had an address.
    addresses: BTreeMap<IpAddr, String>,
    client: Client,
    tasks: JoinSet<Result<()>>,
    /// Members that are followed, and whether clients ask through them.
    followed: BTreeMap<String, bool>,
    asking: bool,
}

impl Hub {
    /// Receiver and target listen at this address.
    pub fn start(address: Ipv4Addr, watched: Watched, recorder: Recorder) -> Result<Self> {
        Ok(Self {
            recorder,
            receiver: Receiver::start(SocketAddr::from((address, RECEIVER_PORT)))?,
            target: Target::start(SocketAddr::from((address, TARGET_PORT)), SERIES)?,
            watched,
            roster: Roster::default(),
            tails: Vec::new(),
            addresses: BTreeMap::new(),
            client: http::client(ASK_MAX)?,
            tasks: JoinSet::new(),
            followed: BTreeMap::new(),
            asking: false,
        })
    }

    /// Notes whose address this is from now on.
    pub fn knows(&mut self, address: Ipv4Addr, name: &str) {
        self.addresses.insert(address.into(), name.into());
    }

    /// Tells clients and pollers where a member is; `None`: nowhere.
    pub(crate) fn seat(&self, name: &str, seat: Option<Seat>) {
        match seat {
            Some(seat) => self.roster.set(name, seat),
            None => self.roster.remove(name),
        }
    }

    /// Follows a member from now on, wherever it is.
    pub fn watch(&mut self, name: &str) {
        if self.followed.contains_key(name) {
            return;
        }
        let shared = || (name.to_owned(), self.roster.clone(), self.recorder.clone());
        let (member, roster, recorder) = shared();
        self.tasks.spawn(poll::member(member, self.watched.ready_path.clone(), roster, recorder));
        let (member, roster, recorder) = shared();
        self.tasks.spawn(poll::processes(member, roster, recorder));
        self.followed.insert(name.into(), false);
        self.ask_through_all();
    }

    /// Names of the members that are followed.
    pub fn followed(&self) -> Vec<String> {
        self.followed.keys().cloned().collect()
    }

    /// Starts the clients of all members, now and later.
    pub fn start_clients(&mut self) {
        self.asking = true;
        self.ask_through_all();
    }

    fn ask_through_all(&mut self) {
        for (name, asked) in self.followed.iter_mut().filter(|(_, asked)| self.asking && !**asked) {
            *asked = true;
            let (member, roster, recorder) = (name.clone(), self.roster.clone(), self.recorder.clone());
            let Watched { members, question, .. } = self.watched;
            self.tasks.spawn(clients::ask_through(member, members, question, roster, recorder));
        }
    }

    /// Follows an event log into the record.
    pub(crate) fn follow_log(&mut self, tail: Tail) {
        self.tails.push(tail);
    }

    /// Notes what has come in event logs.
    pub fn follow(&mut self) {
        self.tails.retain_mut(|tail| tail.follow(&self.recorder));
    }

    /// The leader, by what the members say now.
    pub async fn leader(&self) -> Option<String> {
        let seats = self.roster.seats();
        let asked = seats.iter().map(async |(name, seat)| (name, ask::leader(&self.client, seat.address).await));
        let answers = join_all(asked).await.into_iter();
        let leaders =
            answers.filter_map(|(name, answer)| Some((answer.ok().filter(|said| said.is_leader)?.term, name)));
        leaders.max_by_key(|(term, _)| *term).map(|(_, name)| name.clone())
    }

    /// The status of a member.
    pub async fn status(&self, name: &str) -> Result<Value> {
        let seat = self.roster.seat(name).with_context(|| format!("there is no member {name}"))?;
        ask::status(&self.client, seat.address).await
    }

    /// Whether a member says that it is ready.
    pub async fn is_ready(&self, name: &str) -> bool {
        let Some(seat) = self.roster.seat(name) else { return false };
        ask::ready(&self.client, seat.address, &self.watched.ready_path).await.is_ok()
    }

    /// A request with an answer of its own, for nemeses that look at headers.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// An error unless one leader is told by all members, each is ready, and the group has no other member: one that has lost
    /// its disk is ready again once it votes in the place of its former self, and one that is gone counts until it is removed.
    pub async fn check_whole(&self) -> Result<()> {
        let leader = self.leader().await.context("nobody leads")?;
        for (name, seat) in self.roster.seats() {
            let told = ask::leader(&self.client, seat.address).await?;
            ensure!(told.name == leader, "{name} says `{}` leads, not {leader}", told.name);
            let ready = ask::ready(&self.client, seat.address, &self.watched.ready_path).await;
            ready.with_context(|| format!("{name} is not ready"))?;
        }
        // Electors of another kind have no such status.
        let status = self.status(&leader).await.unwrap_or_default();
        let members = status["group"]["members"].as_array().into_iter().flatten();
        let gone = members.filter_map(|member| member["name"].as_str()).find(|name| self.roster.seat(name).is_none());
        ensure!(gone.is_none(), "{} is gone and still a member", gone.unwrap_or_default());
        Ok(())
    }

    /// Samples that the receiver has.
    pub fn stored(&self) -> usize {
        self.receiver.read(|_, store| store.len())
    }

    /// Notes what the receiver has: at the end of a run, however it ends.
    pub fn record_remote(&self) -> Result<()> {
        let now = Instant::now();
        let entries =
            self.receiver.read(|requests, store| remote::entries(requests, store, &self.addresses, now, ns_of));
        for entry in entries {
            self.recorder.note_at(entry.at_ns, entry.what);
        }
        self.recorder.flush()
    }
}
