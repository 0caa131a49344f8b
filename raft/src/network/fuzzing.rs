//! A member under fire, for the property tests and for `make fuzz`: a real endpoint before a real openraft, its log and its
//! state machine on a real file. It must answer everything, stay within its bounds and go on.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use openraft::async_runtime::WatchReceiver;
use tokio::sync::{mpsc, watch};

use super::message::write_reply;
use super::script::CLUSTER;
use super::{Answer, Call, CallError, Endpoint, Message, Network, Reply, Transport, script, validate};
use crate::contacts::Contact;
use crate::lives::raft_config;
use crate::shared::Shared;
use crate::state::GroupData;
use crate::store::{self, Loaded, LogStore, Standing, StateMachine, Writer};
use crate::timing::Timing;
use crate::types::Raft;
use crate::{DIGEST_BYTES_MAX, GroupHandle, Member, NodeId};

/// A reply that takes longer never comes.
const REPLY_TIMEOUT: Duration = Duration::from_secs(20);
/// Turns that other tasks get after each message.
const SETTLING: usize = 16;
/// Entries that the log may hold: what waits to be committed, and what is kept for a snapshot, twice.
const LOG_MAX: u64 = 1024 + 4 * 64;

/// The other members: what they answer is in these bytes too.
#[derive(Clone, Default)]
struct Others {
    bytes: Arc<Mutex<Vec<u8>>>,
}

impl Transport for Others {
    async fn call(&self, _: &str, message: &Message, _: Duration) -> Result<Answer, CallError> {
        let mut bytes = self.bytes.lock().unwrap();
        let Call::Raft { call, .. } = &message.call else { return Err(CallError::Unreachable("not asked".into())) };
        let (answer, rest) = script::answer(&bytes, message.from, call);
        *bytes = rest.to_vec();
        // As the real transport does.
        validate::answer(message, &answer).map_err(CallError::Unreachable)?;
        Ok(answer)
    }
}

/// What comes in.
#[derive(Clone)]
enum Input {
    Body(Vec<u8>),
    /// Past the JSON, which takes most of the time.
    Typed(Box<Message>),
}

impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Body(body) => String::from_utf8_lossy(body).into_owned(),
            Self::Typed(message) => serde_json::to_string(message).unwrap(),
        };
        f.write_str(&text[..text.floor_char_boundary(4096)])
    }
}

/// The member.
pub(crate) struct Target {
    runtime: tokio::runtime::Runtime,
    shared: Shared,
    endpoint: Endpoint,
    writer: Writer,
    others: Others,
    _dismissals: mpsc::Receiver<super::Dismissal>,
}

impl Target {
    /// A member whose state is in `dir`.
    pub(crate) fn new(dir: &Path) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let timing = Timing {
            lease_duration: Duration::from_millis(10),
            renew_deadline: Duration::from_millis(8),
            retry_period: Duration::from_millis(2),
            member_removal_delay: Duration::from_secs(300),
        };
        let member = Member { name: "prom-1".into(), raft_address: "prom-1:9096".into(), ..Member::default() };
        let (disk, loaded) = store::open(dir).unwrap();
        let (writer, _) = Writer::start(disk).unwrap();
        let (_, ends) = GroupHandle::new();
        let shared = Shared::new("test".into(), member, timing, loaded.identity, writer.clone(), &ends);
        let (dismissals_tx, dismissals) = mpsc::channel(1);
        let endpoint = Endpoint::new(shared.clone(), dismissals_tx);
        runtime.block_on(async { tokio::time::sleep(shared.timing().quarantine()).await });
        Self { runtime, shared, endpoint, writer, others: Others::default(), _dismissals: dismissals }
    }

    /// Its node id.
    pub(crate) fn id(&self) -> NodeId {
        self.shared.node_id()
    }

    /// Gives it the messages of `input`, as a member that is promised to a group and holds nothing. `{`: one message in JSON
    /// a line; anything else is a [`script`].
    pub(crate) fn attack(&self, input: &[u8]) {
        *self.others.bytes.lock().unwrap() = input.iter().rev().copied().collect();
        if input.first() == Some(&b'{') {
            let own = format!("{}", self.id());
            let text = String::from_utf8_lossy(input).replace("0000000000000001", &own);
            self.feed(text.lines().map(|line| line.as_bytes().to_vec()));
        } else {
            self.run(script::script(input, self.id()).into_iter().map(|message| Input::Typed(Box::new(message))));
        }
    }

    /// Gives it these bodies, one after the other. Returns the replies of those that were messages.
    pub(crate) fn feed(&self, bodies: impl IntoIterator<Item = Vec<u8>>) -> Vec<Reply> {
        self.run(bodies.into_iter().map(Input::Body))
    }

    fn run(&self, inputs: impl Iterator<Item = Input>) -> Vec<Reply> {
        self.runtime.block_on(async {
            let (raft, data) = self.start().await;
            let mut replies = Vec::new();
            for input in inputs {
                let reply = tokio::time::timeout(REPLY_TIMEOUT, self.ask(input.clone())).await;
                let reply = reply.unwrap_or_else(|_| panic!("no reply to {input}"));
                for _ in 0..SETTLING {
                    tokio::task::yield_now().await;
                }
                let lives = raft.with_raft_state(|_| ()).await;
                lives.unwrap_or_else(|error| panic!("openraft has ended: {error}; last {input}"));
                let applies = raft.get_snapshot().await;
                applies.unwrap_or_else(|error| panic!("its state machine has ended: {error}; last {input}"));
                self.must_be_well(&raft, &data.borrow(), &input);
                if let Some(reply) = reply {
                    write_reply(&reply).unwrap();
                    replies.push(reply);
                }
            }
            self.shared.set_raft(None);
            raft.shutdown().await.unwrap();
            replies
        })
    }

    async fn ask(&self, input: Input) -> Option<Reply> {
        match input {
            Input::Body(body) => self.endpoint.receive(&body, None, |_| Ok(())).await.ok(),
            Input::Typed(message) => Some(self.endpoint.handle(*message, None).await),
        }
    }

    async fn start(&self) -> (Raft, watch::Receiver<Arc<GroupData>>) {
        let promised = |identity: &mut store::Identity| {
            identity.standing = Standing::Promised(CLUSTER);
            Ok::<(), std::convert::Infallible>(())
        };
        self.shared.update_identity(promised).await.unwrap().unwrap();
        let mut loaded = Loaded::blank(store::Identity::clone(&self.shared.identity()));
        let (machine, data) = StateMachine::new(None, self.writer.clone());
        let log = LogStore::new(&mut loaded, self.writer.clone());
        let network = Network { transport: self.others.clone(), shared: self.shared.clone() };
        let config = Arc::new(raft_config(self.shared.timing()));
        let raft = Raft::new(self.id(), config, network, log, machine).await.unwrap();
        self.shared.set_raft(Some(raft.clone()));
        (raft, data)
    }

    fn must_be_well(&self, raft: &Raft, data: &GroupData, input: &Input) {
        let metrics = raft.metrics().borrow_watched().clone();
        let kept = metrics.last_log_index.unwrap_or(0) - metrics.purged.map_or(0, |id| id.index);
        assert!(kept <= LOG_MAX, "{kept} entries are kept after {input}");
        assert!(data.is_within_bounds(), "the state is beyond its bounds after {input}");
        let longest =
            |contact: &Contact| contact.hello.member.api_url.len().max(contact.hello.eligibility_reason.len());
        let contacts = self.shared.contacts();
        assert!(contacts.iter().count() <= 256, "too many contacts after {input}");
        assert!(contacts.iter().all(|contact| longest(contact) <= 1024), "too much of a contact is kept after {input}");
        let digests = contacts.iter().map(|contact| contact.hello.digest.len());
        assert!(digests.max() <= Some(DIGEST_BYTES_MAX), "too long a digest is kept after {input}");
    }
}
