//! Asking name servers: (name, type) -> [`Answer`].
//!
//! Servers are asked in the system's order: the next one once its predecessor has failed, or has kept silent for
//! [`STAGGER`]; the first answer that says something (records, or that there are none) counts, and SERVFAIL, REFUSED
//! and silence do not. Within one server, hickory retransmits lost datagrams and repeats truncated answers over TCP.
//! Nothing is cached here: callers hold what they know, and every call asks.
//!
//! The connections of a [`Dns`] live on the runtime that first used them, so the group and the proxy each have one.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::xfer::DnsHandle;
use hickory_resolver::net::{DnsError, NetError, NoRecords};
use hickory_resolver::proto::op::{DnsRequestOptions, Query, ResponseCode};
use hickory_resolver::proto::rr::{Name, RecordType};
use hickory_resolver::{NameServerPool, PoolContext, TlsConfig};
use tokio::time::{Instant, sleep, timeout};

use super::answer::{self, Answer};
use super::error::LookupError;
use super::system::{Files, System};

/// No question takes longer; a healthy server answers within milliseconds.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(2);
/// Silence after which the next server is asked too.
const STAGGER: Duration = Duration::from_millis(300);
/// Responses that a chain of aliases may lead through.
const ALIAS_RESPONSES_MAX: usize = 4;
/// After a lookup without success the system's files are read again, at most this often.
const REREAD_PERIOD: Duration = Duration::from_secs(1);

type Pool = NameServerPool<TokioRuntimeProvider>;

/// A client of the name servers. Cheap to clone: clones share it.
#[derive(Clone)]
pub(super) struct Dns {
    files: Arc<Files>,
    only_server: Option<SocketAddr>,
    current: Arc<Mutex<Current>>,
}

struct Current {
    upstream: Arc<Upstream>,
    read_at: Instant,
}

impl Dns {
    /// A client of `dns_server`, else of the system's servers. Reads the system's files; asks nothing yet.
    pub(super) fn new(dns_server: Option<SocketAddr>) -> Self {
        Self::with_files(dns_server, Files::default())
    }

    pub(super) fn with_files(dns_server: Option<SocketAddr>, files: Files) -> Self {
        let upstream = Arc::new(Upstream::new(System::read(&files, dns_server)));
        let current = Arc::new(Mutex::new(Current { upstream, read_at: Instant::now() }));
        Self { files: Arc::new(files), only_server: dns_server, current }
    }

    /// The servers and the configuration as last read.
    pub(super) fn upstream(&self) -> Arc<Upstream> {
        Arc::clone(&self.current.lock().unwrap_or_else(PoisonError::into_inner).upstream)
    }

    /// To be called after a lookup without success: the files may have changed, or appeared, since they were read.
    pub(super) async fn reread(&self) {
        {
            let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
            if current.read_at.elapsed() < REREAD_PERIOD {
                return;
            }
            current.read_at = Instant::now();
        }
        let (files, server) = (Arc::clone(&self.files), self.only_server);
        let read = tokio::task::spawn_blocking(move || System::read(&files, server));
        let Ok(system) = read.await else { return };
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.upstream.system != system {
            tracing::info!(servers = ?system.servers, "the system's resolver configuration has changed");
            current.upstream = Arc::new(Upstream::new(system));
        }
    }
}

/// Servers of one reading of the configuration.
pub(super) struct Upstream {
    pub(super) system: System,
    servers: Vec<(SocketAddr, Pool)>,
}

impl Upstream {
    pub(super) fn new(system: System) -> Self {
        let servers = system.servers.iter().filter_map(|server| Some((*server, pool(*server)?))).collect();
        Self { system, servers }
    }

    /// Asks for records, following aliases.
    pub(super) async fn query(&self, name: &Name, record_type: RecordType) -> Result<Answer, LookupError> {
        let mut asked = name.clone();
        for _ in 0..ALIAS_RESPONSES_MAX {
            match self.ask(&asked, record_type).await? {
                Answer::Alias(target) => asked = target,
                answer => return Ok(answer),
            }
        }
        Ok(Answer::NoData)
    }

    /// The addresses of an absolute name: IPv4, or IPv6 where there is none. Empty: DNS says that there are none.
    ///
    /// One family, because it halves the questions, and because a member behind two addresses is still one member.
    pub(super) async fn addresses(&self, name: &Name) -> Result<Vec<IpAddr>, LookupError> {
        for record_type in [RecordType::A, RecordType::AAAA] {
            match self.query(name, record_type).await? {
                Answer::Records(records) => {
                    return Ok(records.iter().filter_map(|record| record.data.ip_addr()).collect());
                }
                Answer::NoName => return Ok(Vec::new()),
                Answer::NoData | Answer::Alias(_) => {}
            }
        }
        Ok(Vec::new())
    }

    async fn ask(&self, name: &Name, record_type: RecordType) -> Result<Answer, LookupError> {
        if self.servers.is_empty() {
            return Err(LookupError::NoServer { name: name.to_string(), problem: self.system.problem.clone() });
        }
        let outcome = timeout(QUESTION_TIMEOUT, self.first_answer(name, record_type)).await;
        let silence = || {
            let servers: Vec<String> = self.servers.iter().map(|(server, _)| server.to_string()).collect();
            format!("{} said nothing within {QUESTION_TIMEOUT:?}", servers.join(", "))
        };
        outcome
            .unwrap_or_else(|_| Err(silence()))
            .map_err(|cause| LookupError::Failed { asked: format!("{record_type} {name}"), cause })
    }

    async fn first_answer(&self, name: &Name, record_type: RecordType) -> Result<Answer, String> {
        let mut waiting = self.servers.iter();
        let mut asked = FuturesUnordered::new();
        let mut failures = Vec::new();
        loop {
            if let Some((server, pool)) = waiting.next() {
                asked.push(async move { (server, ask_one(pool, name, record_type).await) });
            }
            let patience = if waiting.len() > 0 { STAGGER } else { QUESTION_TIMEOUT };
            tokio::select! {
                next = asked.next() => match next {
                    Some((_, Ok(answer))) => return Ok(answer),
                    Some((server, Err(cause))) => failures.push(format!("{server}: {cause}")),
                    None => return Err(failures.join("; ")),
                },
                () = sleep(patience) => {}
            }
        }
    }
}

async fn ask_one(pool: &Pool, name: &Name, record_type: RecordType) -> Result<Answer, String> {
    let mut options = DnsRequestOptions::default();
    options.use_edns = true;
    options.recursion_desired = true;
    let query = Query::query(name.clone(), record_type);
    match pool.lookup(query, options).next().await {
        Some(Ok(response)) => Ok(answer::read(name, record_type, &response.answers)),
        Some(Err(NetError::Dns(DnsError::NoRecordsFound(NoRecords { response_code, .. })))) => match response_code {
            ResponseCode::NXDomain => Ok(Answer::NoName),
            ResponseCode::NoError => Ok(Answer::NoData),
            code => Err(format!("it answered {code}")),
        },
        Some(Err(NetError::Dns(DnsError::ResponseCode(code)))) => Err(format!("it answered {code}")),
        Some(Err(error)) => Err(error.to_string()),
        None => Err("it gave no answer".into()),
    }
}

/// The client of one server; `None` only if hickory refuses its own defaults.
fn pool(server: SocketAddr) -> Option<Pool> {
    let mut options = ResolverOpts::default();
    options.timeout = QUESTION_TIMEOUT;
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
        connection.port = server.port();
        connection
    });
    let config = NameServerConfig::new(server.ip(), true, connections.into());
    let context = PoolContext::new(options, TlsConfig::new().ok()?);
    Some(NameServerPool::from_config([config], Arc::new(context), TokioRuntimeProvider::default()))
}
