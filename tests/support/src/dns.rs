//! A real DNS server on loopback, programmable while it runs: the headless service of a `StatefulSet`, and its faults.
//!
//! Listens on one free port over UDP and TCP and stops when dropped. Answers are truncated by the protocol's own rules
//! (what does not fit the size that the client offers), so that a large service exercises TCP. A name without records
//! is NXDOMAIN, unless a longer name below it has some (then NODATA), as real servers do.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use hickory_proto::op::{Edns, Header, HeaderCounts, Metadata, ResponseCode};
pub use hickory_proto::rr::RecordType;
use hickory_proto::rr::rdata::{CNAME, SOA, SRV};
use hickory_proto::rr::{Name, RData, Record};
use hickory_server::net::runtime::Time;
use hickory_server::net::xfer::Protocol;
use hickory_server::server::{Request, RequestHandler, ResponseHandler, ResponseInfo, Server};
use hickory_server::zone_handler::MessageResponseBuilder;
use tokio::net::{TcpListener, UdpSocket};

/// Free ports are picked for TCP and may be taken for UDP: so many tries.
const PORT_TRIES_MAX: usize = 20;
/// TTL of every record in seconds: what `CoreDNS` gives by default.
const TTL_SECONDS: u32 = 5;
/// What a server accepts as the client's UDP size at the most (DNS flag day 2020).
const UDP_PAYLOAD_MAX: u16 = 1232;
/// A silent TCP connection is closed after this long.
const TCP_IDLE: Duration = Duration::from_secs(30);
/// Answers that may wait on one TCP connection.
const TCP_ANSWERS_MAX: usize = 64;

/// What the server does with a query.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Answers from its records.
    #[default]
    Answer,
    /// Says SERVFAIL, as a resolver that cannot reach its upstream does.
    ServFail,
    /// Says REFUSED.
    Refuse,
    /// Says nothing, as a dead server does.
    Drop,
    /// Says that there is no such name.
    NxDomain,
}

/// The server. Cheap to share by reference; dropping it stops it.
pub struct TestDns {
    zone: Arc<Mutex<Zone>>,
    addr: SocketAddr,
    _server: Server<Handler>,
}

impl TestDns {
    /// Starts an empty server on a free port of 127.0.0.1.
    pub async fn start() -> anyhow::Result<Self> {
        Self::start_on((Ipv4Addr::LOCALHOST, 0).into()).await
    }

    /// Starts an empty server on an address; port 0 picks a free one.
    pub async fn start_on(addr: SocketAddr) -> anyhow::Result<Self> {
        let (tcp, udp) = bind(addr).await?;
        let addr = udp.local_addr()?;
        let zone = Arc::new(Mutex::new(Zone::default()));
        let mut server = Server::new(Handler { zone: Arc::clone(&zone) });
        server.register_socket(udp);
        server.register_listener(tcp, TCP_IDLE, TCP_ANSWERS_MAX);
        Ok(Self { zone, addr, _server: server })
    }

    /// Where it listens, UDP and TCP.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Replaces the headless service `service` (absolute, with a trailing dot) by these pods: A/AAAA of the service,
    /// A/AAAA of every `<pod>.<service>`, and SRV `_raft._tcp.<service>`.
    pub fn set_service(&self, service: &str, pods: &[(&str, IpAddr, u16)]) {
        let service = key(service);
        let mut zone = self.zone();
        zone.remove_below(&service);
        for (pod, ip, port) in pods {
            let target = format!("{pod}.{service}");
            zone.add(&service, address(*ip));
            zone.add(&target, address(*ip));
            zone.add(&format!("_raft._tcp.{service}"), srv(*port, &target));
        }
    }

    /// Replaces the address records of one name; no address leaves none.
    pub fn set_addresses(&self, name: &str, ips: &[IpAddr]) {
        let name = key(name);
        let mut zone = self.zone();
        zone.remove(&name, RecordType::A);
        zone.remove(&name, RecordType::AAAA);
        for ip in ips {
            zone.add(&name, address(*ip));
        }
    }

    /// Replaces the SRV records of one name by these targets and ports.
    pub fn set_srv(&self, name: &str, targets: &[(&str, u16)]) {
        let name = key(name);
        let mut zone = self.zone();
        zone.remove(&name, RecordType::SRV);
        for (target, port) in targets {
            zone.add(&name, srv(*port, &key(target)));
        }
    }

    /// Makes `name` an alias of `target`. The answer holds the target's records too when the server has them.
    pub fn set_cname(&self, name: &str, target: &str) {
        let name = key(name);
        let mut zone = self.zone();
        zone.remove(&name, RecordType::CNAME);
        zone.add(&name, RData::CNAME(CNAME(absolute(&key(target)))));
    }

    /// From now on an alias is answered alone, without what it stands for, as a server without recursion does.
    pub fn set_aliases_alone(&self, alone: bool) {
        self.zone().aliases_alone = alone;
    }

    /// Removes one name and everything below it, e.g. a whole service.
    pub fn remove(&self, name: &str) {
        self.zone().remove_below(&key(name));
    }

    /// Changes what it does with every query from now on.
    pub fn set_mode(&self, mode: Mode) {
        self.zone().mode = mode;
    }

    /// Changes what it does with queries of one type, ahead of [`TestDns::set_mode`].
    pub fn set_mode_of(&self, record_type: RecordType, mode: Mode) {
        self.zone().mode_by_type.insert(record_type, mode);
    }

    /// Answers this much later from now on.
    pub fn set_delay(&self, delay: Duration) {
        self.zone().delay = delay;
    }

    /// From now on behaves as cluster DNS does that keeps each answer, and that there is none, for `ttl_seconds`: an answer is up
    /// to so old, and its time to live is what is left of that. A change of the mode is seen at once.
    pub fn set_cluster(&self, ttl_seconds: u32) {
        self.zone().cache = Some(Cache { ttl_seconds, ..Cache::default() });
    }

    /// Forgets the answers that it has kept.
    pub fn forget(&self) {
        if let Some(cache) = &mut self.zone().cache {
            cache.answers.clear();
        }
    }

    /// Number of queries for one name and type since the start, over UDP and TCP, whatever was answered.
    pub fn queries(&self, name: &str, record_type: RecordType) -> usize {
        self.zone().queries.get(&(key(name), record_type)).copied().unwrap_or(0)
    }

    /// Number of all queries since the start.
    pub fn queries_total(&self) -> usize {
        self.zone().queries.values().sum()
    }

    /// Number of queries over TCP since the start.
    pub fn queries_tcp(&self) -> usize {
        self.zone().queries_tcp
    }

    fn zone(&self) -> MutexGuard<'_, Zone> {
        lock(&self.zone)
    }
}

/// Records and behaviour. Keys are lower-case names with a trailing dot.
#[derive(Default)]
struct Zone {
    records: HashMap<String, Vec<Record>>,
    mode: Mode,
    mode_by_type: HashMap<RecordType, Mode>,
    delay: Duration,
    aliases_alone: bool,
    cache: Option<Cache>,
    queries: HashMap<(String, RecordType), usize>,
    queries_tcp: usize,
}

/// Answers as cluster DNS keeps them.
#[derive(Default)]
struct Cache {
    ttl_seconds: u32,
    answers: HashMap<(String, RecordType), (Instant, Vec<Record>, ResponseCode)>,
}

impl Zone {
    fn add(&mut self, name: &str, data: RData) {
        let record = Record::from_rdata(absolute(name), TTL_SECONDS, data);
        let records = self.records.entry(name.to_owned()).or_default();
        if !records.contains(&record) {
            records.push(record);
        }
    }

    fn remove(&mut self, name: &str, record_type: RecordType) {
        if let Some(records) = self.records.get_mut(name) {
            records.retain(|record| record.record_type() != record_type);
        }
        self.records.retain(|_, records| !records.is_empty());
    }

    fn remove_below(&mut self, name: &str) {
        let suffix = format!(".{name}");
        self.records.retain(|held, _| held != name && !held.ends_with(&suffix));
    }

    /// The answer out of the cache, if there is one.
    fn cached(&mut self, name: &str, record_type: RecordType, now: Instant) -> (Vec<Record>, ResponseCode) {
        let Some(Cache { ttl_seconds, answers }) = &mut self.cache else { return self.answer(name, record_type) };
        let (ttl_seconds, key) = (*ttl_seconds, (name.to_owned(), record_type));
        let age = |at: &Instant| u32::try_from(now.duration_since(*at).as_secs()).unwrap_or(u32::MAX);
        if let Some((at, records, code)) = answers.get(&key).filter(|(at, ..)| age(at) < ttl_seconds) {
            return (with_ttl(records, ttl_seconds - age(at)), *code);
        }
        let (mut records, code) = self.answer(name, record_type);
        if records.is_empty() {
            // Tells for how long the answer that there is nothing holds.
            let nobody = absolute("cluster.local.");
            let soa = SOA::new(nobody.clone(), nobody.clone(), 1, 7_200, 1_800, 86_400, ttl_seconds);
            records.push(Record::from_rdata(nobody, ttl_seconds, RData::SOA(soa)));
        }
        let records = with_ttl(&records, ttl_seconds);
        if let Some(cache) = &mut self.cache {
            cache.answers.insert(key, (now, records.clone(), code));
        }
        (records, code)
    }

    /// The answer: records (with the chain of aliases that leads to them) and the response code.
    fn answer(&self, name: &str, record_type: RecordType) -> (Vec<Record>, ResponseCode) {
        let mut answers = Vec::new();
        let mut name = name.to_owned();
        // A loop of aliases ends here.
        for _ in 0..8 {
            let here = self.records.get(&name).map(Vec::as_slice).unwrap_or_default();
            let matching = here.iter().filter(|record| record.record_type() == record_type);
            let before = answers.len();
            answers.extend(matching.cloned());
            if answers.len() > before {
                return (answers, ResponseCode::NoError);
            }
            let alias = here.iter().find_map(|record| match &record.data {
                RData::CNAME(CNAME(target)) => Some((record.clone(), key(&target.to_ascii()))),
                _ => None,
            });
            let Some((record, target)) = alias else { break };
            answers.push(record);
            if self.aliases_alone {
                return (answers, ResponseCode::NoError);
            }
            name = target;
        }
        let suffix = format!(".{name}");
        let exists = self.records.keys().any(|held| *held == name || held.ends_with(&suffix));
        (answers, if exists { ResponseCode::NoError } else { ResponseCode::NXDomain })
    }
}

fn with_ttl(records: &[Record], ttl_seconds: u32) -> Vec<Record> {
    records
        .iter()
        .cloned()
        .map(|mut record| {
            record.ttl = ttl_seconds;
            record
        })
        .collect()
}

struct Handler {
    zone: Arc<Mutex<Zone>>,
}

#[async_trait::async_trait]
impl RequestHandler for Handler {
    async fn handle_request<R: ResponseHandler, T: Time>(&self, request: &Request, mut response: R) -> ResponseInfo {
        let mut metadata = Metadata::response_from_request(&request.metadata);
        metadata.authoritative = true;
        let unsent = ResponseInfo::from(Header { metadata, counts: HeaderCounts::default() });
        let Ok(info) = request.request_info() else { return unsent };
        let (name, record_type) = (key(&info.query.name().to_string()), info.query.query_type());
        let (mode, delay, answers, code) = {
            let mut zone = lock(&self.zone);
            *zone.queries.entry((name.clone(), record_type)).or_default() += 1;
            zone.queries_tcp += usize::from(request.protocol() == Protocol::Tcp);
            let (answers, code) = zone.cached(&name, record_type, Instant::now());
            (zone.mode_by_type.get(&record_type).copied().unwrap_or(zone.mode), zone.delay, answers, code)
        };
        tokio::time::sleep(delay).await;
        let (answers, code) = match mode {
            Mode::Drop => return unsent,
            Mode::ServFail => (Vec::new(), ResponseCode::ServFail),
            Mode::Refuse => (Vec::new(), ResponseCode::Refused),
            Mode::NxDomain => (Vec::new(), ResponseCode::NXDomain),
            Mode::Answer => (answers, code),
        };
        metadata.response_code = code;
        let mut edns = Edns::new();
        edns.set_max_payload(request.max_payload().min(UDP_PAYLOAD_MAX));
        let mut builder = MessageResponseBuilder::from_message_request(request);
        if request.edns.is_some() {
            builder.edns(&edns);
        }
        let (soa, answers): (Vec<_>, Vec<_>) =
            answers.iter().partition(|record| record.record_type() == RecordType::SOA);
        let message = builder.build(metadata, answers, [], soa, []);
        response.send_response(message).await.unwrap_or(unsent)
    }
}

async fn bind(addr: SocketAddr) -> anyhow::Result<(TcpListener, UdpSocket)> {
    for _ in 0..PORT_TRIES_MAX {
        let tcp = TcpListener::bind(addr).await.with_context(|| format!("no TCP listener on {addr}"))?;
        if let Ok(udp) = UdpSocket::bind(tcp.local_addr()?).await {
            return Ok((tcp, udp));
        }
    }
    anyhow::bail!("no port on {addr} that is free for both UDP and TCP in {PORT_TRIES_MAX} tries")
}

fn key(name: &str) -> String {
    let name = name.to_ascii_lowercase();
    if name.ends_with('.') { name } else { format!("{name}.") }
}

/// Only names that a test wrote come here; a bad one becomes the root, which no test asks for.
fn absolute(name: &str) -> Name {
    Name::from_ascii(name).unwrap_or_default()
}

fn address(ip: IpAddr) -> RData {
    RData::from(ip)
}

fn srv(port: u16, target: &str) -> RData {
    RData::SRV(SRV::new(0, 50, port, absolute(target)))
}

fn lock(zone: &Mutex<Zone>) -> MutexGuard<'_, Zone> {
    zone.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn cluster_dns_gives_old_answers_until_their_time_is_over() {
        let mut zone = Zone { cache: Some(Cache { ttl_seconds: 30, ..Cache::default() }), ..Zone::default() };
        let start = Instant::now();
        let ask = |zone: &mut Zone, name: &str, after_s: u64| {
            let (records, code) = zone.cached(name, RecordType::A, start + Duration::from_secs(after_s));
            let of = |record: &Record| (record.record_type(), record.ttl, record.data.to_string());
            (records.iter().map(of).collect::<Vec<_>>(), code)
        };
        zone.add("p.", address(IpAddr::from([10, 0, 0, 1])));
        assert_eq!(ask(&mut zone, "p.", 0).0, [(RecordType::A, 30, "10.0.0.1".into())]);
        let (nothing, code) = ask(&mut zone, "q.", 0);
        assert_eq!((nothing[0].0, nothing[0].1, code), (RecordType::SOA, 30, ResponseCode::NXDomain));
        zone.remove_below("p.");
        zone.add("p.", address(IpAddr::from([10, 0, 0, 2])));
        zone.add("q.", address(IpAddr::from([10, 0, 0, 3])));
        assert_eq!(ask(&mut zone, "p.", 29).0, [(RecordType::A, 1, "10.0.0.1".into())]);
        assert_eq!(ask(&mut zone, "q.", 29).1, ResponseCode::NXDomain, "that there is none is kept too");
        assert_eq!(ask(&mut zone, "p.", 30).0, [(RecordType::A, 30, "10.0.0.2".into())]);
        assert_eq!(ask(&mut zone, "q.", 30).0, [(RecordType::A, 30, "10.0.0.3".into())]);
    }
}
