//! Who is believed, over real sockets.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use rustls::client::ResolvesClientCert;
use rustls::sign::CertifiedKey;
use tokio::sync::watch;

use super::dialer::Dialer;
use super::endpoint_tests::Bench;
use super::http::{HttpTransport, Receiver};
use super::message::RaftCall;
use super::tls_testing::{Ca, fixed};
use super::token::Token;
use super::*;
use crate::NodeId;
use crate::store::{ClusterId, Standing};
use crate::testing::hello;
use crate::types::{Vote, VoteRequest};

/// For a call on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(20);

/// `prom-1`, which listens, and `prom-2`, which calls.
pub(super) struct Pair {
    answerer: Bench,
    /// What the caller knows.
    caller: Bench,
    transport: HttpTransport,
    pub(super) address: String,
    _server: tokio::task::JoinHandle<()>,
}

impl Pair {
    pub(super) async fn new(caller_tls: impl Into<Option<Tls>>, answerer_tls: impl Into<Option<Tls>>) -> Self {
        Self::with_tokens(caller_tls.into(), answerer_tls.into(), None, None).await
    }

    async fn with_tokens(
        caller_tls: Option<Tls>,
        answerer_tls: Option<Tls>,
        sent: Option<Tokens>,
        accepted: Option<Tokens>,
    ) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (answerer, caller) = (Bench::new(), Bench::new());
        let transport = HttpTransport::new(Dialer::new(caller_tls, None, TIMEOUT).unwrap(), sent, Arc::new(()));
        transport.introduce(caller.shared.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let receiver = Receiver::new(answerer.endpoint.clone(), accepted);
        let server = tokio::spawn(serve(listener, receiver, answerer_tls));
        Self { answerer, caller, transport, address, _server: server }
    }

    async fn call(&self, call: Call) -> Result<Answer, CallError> {
        self.transport.call(&self.address, &Message::new("test", NodeId(2), call), TIMEOUT).await
    }

    pub(super) async fn hello(&self) -> Result<Answer, CallError> {
        self.call(Call::Hello(Box::new(hello(2, Standing::Blank)))).await
    }

    async fn vote(&self, target: NodeId) -> Result<Answer, CallError> {
        let call = RaftCall::Vote(VoteRequest::new(Vote::new(1, NodeId(2)), None));
        self.call(Call::Raft { cluster: ClusterId(7), target, call }).await
    }

    /// The call failed, in these words, and is the one warning in the answerer's status.
    async fn is_refused(&self, caller_says: &str, answerer_says: &str) {
        let error = self.hello().await.unwrap_err().to_string();
        assert!(error.contains(caller_says), "{error}");
        self.answerer_says(answerer_says).await;
        assert_eq!(self.answerer.shared.contacts().iter().count(), 0, "its hello did not count");
    }

    /// Where the caller has seen enough, the answerer may still be at it.
    async fn answerer_says(&self, words: &str) {
        let told = async {
            loop {
                if let Some(told) = warnings(&self.answerer).first() {
                    break told.clone();
                }
                tokio::task::yield_now().await;
            }
        };
        let told = tokio::time::timeout(TIMEOUT, told).await.unwrap();
        assert!(told.starts_with("calls of 127.0.0.1 are refused: ") && told.contains(words), "{told}");
    }

    fn caller_says(&self, words: &str) {
        let told = warnings(&self.caller);
        let start = format!("answers of {} are not believed: ", self.address);
        assert!(told.len() == 1 && told[0].starts_with(&start) && told[0].contains(words), "{told:?}");
    }
}

fn warnings(bench: &Bench) -> Vec<String> {
    bench.shared.refusals(|refusals, now| refusals.warnings(now))
}

fn required(material: Arc<TlsMaterial>) -> Tls {
    fixed(TlsMode::Required, material)
}

/// Both with certificates that are right, in these modes; `None`: without TLS.
async fn in_modes(ca: &Ca, caller: Option<TlsMode>, answerer: Option<TlsMode>) -> Pair {
    let tls = |mode: Option<TlsMode>, name| mode.map(|mode| fixed(mode, ca.material(&[name])));
    Pair::new(tls(caller, "prom-2"), tls(answerer, "prom-1")).await
}

#[tokio::test]
async fn each_step_of_the_way_to_tls_and_back_goes_with_its_neighbours() {
    let ca = Ca::new();
    let (plain, optional, required) = (None, Some(TlsMode::Optional), Some(TlsMode::Required));
    for (caller, answerer) in [
        (plain, plain),
        (plain, optional),
        (optional, plain),
        (optional, optional),
        (optional, required),
        (required, optional),
        (required, required),
    ] {
        let pair = in_modes(&ca, caller, answerer).await;
        pair.hello().await.unwrap_or_else(|error| panic!("{caller:?} calls {answerer:?}: {error}"));
        pair.hello().await.unwrap_or_else(|error| panic!("{caller:?} calls {answerer:?} again: {error}"));
        assert!(warnings(&pair.answerer).is_empty() && warnings(&pair.caller).is_empty(), "{caller:?} {answerer:?}");
    }
    let pair = in_modes(&ca, plain, required).await;
    pair.is_refused("400 Bad Request: this member speaks TLS only (raft-tls-mode=required)", "speaks TLS only").await;
    let pair = in_modes(&ca, required, plain).await;
    let error = pair.hello().await.unwrap_err().to_string();
    assert!(error.contains("it does not speak TLS: give it the raft-tls files"), "{error}");
    pair.caller_says("does not speak TLS");
}

/// A client without a certificate.
#[derive(Debug)]
struct Nobody;

impl ResolvesClientCert for Nobody {
    fn resolve(&self, _: &[&[u8]], _: &[rustls::SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}

#[tokio::test]
async fn whoever_brings_no_certificate_is_refused() {
    let ca = Ca::new();
    for mode in [TlsMode::Required, TlsMode::Optional] {
        let answerer = fixed(mode, ca.material(&["prom-1"]));
        let mut nobody = Arc::into_inner(ca.material(&["prom-2"])).unwrap();
        nobody.client.client_auth_cert_resolver = Arc::new(Nobody);
        let pair = Pair::new(required(Arc::new(nobody)), answerer).await;
        pair.is_refused("it does not accept this member's certificate", "the caller brings no certificate").await;
    }
}

#[tokio::test]
async fn a_certificate_of_another_ca_is_refused_on_both_sides() {
    let (ca, other) = (Ca::new(), Ca::new());
    let stranger = ca.trusting(other.issue(&["prom-2"]));
    let pair = Pair::new(required(stranger), required(ca.material(&["prom-1"]))).await;
    pair.is_refused("it does not accept this member's certificate", "the caller's certificate is of another CA").await;
    pair.caller_says("it does not accept this member's certificate");
    let stranger = ca.trusting(other.issue(&["prom-1"]));
    let pair = Pair::new(required(ca.material(&["prom-2"])), required(stranger)).await;
    pair.is_refused("its certificate is of another CA", "it does not accept this member's certificate").await;
    pair.caller_says("its certificate is of another CA than those in raft-tls-ca-file");
}

#[tokio::test]
async fn an_expired_certificate_is_refused_on_both_sides() {
    let ca = Ca::new();
    let pair = Pair::new(required(ca.expired(&["prom-2"])), required(ca.material(&["prom-1"]))).await;
    pair.is_refused("it does not accept this member's certificate", "the caller's certificate has expired").await;
    pair.caller_says("it does not accept this member's certificate (received fatal alert: CertificateExpired)");
    let pair = Pair::new(required(ca.material(&["prom-2"])), required(ca.expired(&["prom-1"]))).await;
    pair.is_refused("its certificate has expired", "it does not accept this member's certificate").await;
    pair.caller_says("its certificate has expired");
}

#[tokio::test]
async fn a_certificate_of_another_member_is_refused_on_both_sides_with_both_names() {
    let ca = Ca::new();
    for mode in [TlsMode::Required, TlsMode::Optional] {
        let pair = Pair::new(required(ca.material(&["prom-9"])), fixed(mode, ca.material(&["prom-1"]))).await;
        let why = "the caller's certificate is for prom-9, and neither for prom-2 nor for prom-2";
        pair.is_refused(why, why).await;
        assert!(matches!(pair.hello().await.unwrap_err(), CallError::Refused(refusal) if refusal.is_lasting()));
    }
    let pair = Pair::new(required(ca.material(&["prom-2"])), required(ca.material(&["prom-9"]))).await;
    let error = pair.hello().await.unwrap_err();
    let why = "its certificate is for prom-9, and neither for prom-1 nor for prom-1";
    assert_eq!(error, CallError::Unreachable(why.into()));
    pair.caller_says(why);
}

#[tokio::test]
async fn other_calls_count_by_the_member_that_said_hello_under_their_node_id() {
    let ca = Ca::new();
    let pair = Pair::new(required(ca.material(&["prom-2"])), required(ca.material(&["prom-1"]))).await;
    let target = pair.answerer.shared.node_id();
    // The answerer's word is needed as well: the answer is held against it.
    let early = pair.vote(target).await.unwrap_err().to_string();
    assert!(early.contains("its certificate is for a member that is not known"), "{early}");
    let own = pair.answerer.shared.hello();
    pair.caller.shared.called(own, None);
    let unheard = pair.vote(target).await.unwrap_err();
    assert!(matches!(&unheard, CallError::Refused(Refusal::Failed(why)) if why.contains("has not heard a hello")));
    assert_eq!(warnings(&pair.answerer), [""; 0], "that passes");
    pair.hello().await.unwrap();
    let heard = pair.vote(target).await.unwrap_err();
    assert_eq!(heard, CallError::Refused(Refusal::OtherCluster("none".into())), "it counts");

    let mut other = hello(2, Standing::Blank);
    other.member = crate::testing::member(3);
    let pair = Pair::new(required(ca.material(&["prom-2"])), required(ca.material(&["prom-1"]))).await;
    pair.answerer.shared.called(other, None);
    pair.caller.shared.called(pair.answerer.shared.hello(), None);
    let refused = pair.vote(pair.answerer.shared.node_id()).await.unwrap_err().to_string();
    assert!(refused.contains("the caller's certificate is for prom-2, and neither for prom-3"), "{refused}");
}

#[tokio::test]
async fn a_member_that_speaks_tls_is_never_called_plain_whatever_its_certificate() {
    let (ca, other) = (Ca::new(), Ca::new());
    for answerer in [ca.trusting(other.issue(&["prom-1"])), ca.expired(&["prom-1"]), other.material(&["prom-1"])] {
        let optional = |material| fixed(TlsMode::Optional, material);
        let pair = Pair::new(optional(ca.material(&["prom-2"])), optional(answerer)).await;
        for _ in 0..2 {
            pair.hello().await.unwrap_err();
        }
        assert_eq!(pair.answerer.shared.contacts().iter().count(), 0);
    }
}

fn tokens(text: &str) -> Token {
    Token::parse(text.as_bytes()).unwrap()
}

#[tokio::test]
async fn a_token_is_changed_without_a_gap() {
    const OLD: &str = "old-token-0123456789";
    const NEW: &str = "new-token-0123456789";
    let (old_first, new_first) = (format!("{OLD}\n{NEW}"), format!("{NEW}\n{OLD}"));
    let (caller, sent) = watch::channel(tokens(OLD));
    let (answerer, accepted) = watch::channel(tokens(OLD));
    let pair = Pair::with_tokens(None, None, Some(sent), Some(accepted)).await;
    for text in [OLD, &old_first, &new_first, NEW] {
        // One member after the other.
        for member in [&caller, &answerer] {
            member.send_replace(tokens(text));
            pair.hello().await.unwrap();
        }
    }
    caller.send_replace(tokens(OLD));
    let refused = pair.hello().await.unwrap_err().to_string();
    assert!(refused.contains("raft-token-file"), "{refused}");
    pair.answerer_says("raft-token-file").await;
}
