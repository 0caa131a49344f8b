//! Scenarios of role control: one line an event, and after `=>` the exact actions that follow (`-`: none).
//!
//! `wait` lets time pass and feeds a tick only when [`State::wake_at`] comes, as the runner does: a missing timer shows
//! as a missing action. `reason` and `eligible` compare the sentences. Every step also passes [`check`].
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod authority;
mod cover;
mod handover;
mod prometheus;
mod random;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use elector_raft::{Authority, CommandError, Leader, Leadership, Member, NodeId, Now};

use super::state::{Action, Event, Failure, Leaving, Others, Policy, State};
use super::step::step;
use super::variants::{Config, Target};
use super::{Cover, Role, reason};
use crate::prometheus::health::{PrometheusState, Running};
use crate::render::Rendered;

const POLICY: Policy = Policy {
    max_attempts: 3,
    retry_delay: Duration::from_secs(10),
    demote_timeout: Duration::from_secs(5),
    cover_timeout: Duration::from_secs(8),
    renders: true,
};

/// Source files by number: source 1 renders to the contents F1 and L1; of source 9 both are E9.
fn config(number: &str) -> Arc<Config> {
    let content = |letter: &str| Bytes::from(format!("{letter}{number}"));
    let (follower, leader) = if number == "9" { ("E", "E") } else { ("F", "L") };
    Arc::new(Config::new(Rendered { follower: content(follower), leader: content(leader), warnings: Vec::new() }))
}

/// The name of a target's content.
fn name(target: Target) -> String {
    for number in ["1", "2", "9"] {
        for role in [Role::Follower, Role::Leader] {
            let config = config(number);
            if config.target(role).hash == target.hash {
                return String::from_utf8(config.bytes(role).to_vec()).unwrap();
            }
        }
    }
    panic!("unknown content {target:?}");
}

fn leadership(leader: &str, authority: Authority) -> Leadership {
    let member = Member { name: leader.to_owned(), ..Member::default() };
    let leader = Leader { id: NodeId(1), is_self: leader == "pod-0", member, found_at: None };
    Leadership { term: 1, leader: Some(Arc::new(leader)), authority }
}

struct Scenario {
    state: State,
    now: Now,
    sentence: String,
}

impl Scenario {
    fn new(config: Option<Arc<Config>>, source_error: Option<&str>) -> Self {
        let state = State::new(POLICY, config, source_error.map(str::to_owned));
        Self { state, now: Now { instant: Instant::now(), suspended: Duration::ZERO }, sentence: String::new() }
    }

    fn feed(&mut self, event: Event) -> Vec<Action> {
        let before = self.state.clone();
        let (state, actions, sentence) = step(self.state.clone(), event, self.now);
        check(&before, &state, &actions, self.now);
        self.state = state;
        self.sentence = sentence;
        actions
    }

    fn wait(&mut self, time: Duration) -> Vec<Action> {
        let end = self.now.instant + time;
        let mut actions = Vec::new();
        let mut ticks = 0;
        while let Some(wake_at) = self.state.wake_at().filter(|at| *at <= end) {
            assert!(wake_at >= self.now.instant, "a timer in the past would spin");
            self.now.instant = wake_at;
            actions.extend(self.feed(Event::Tick));
            ticks += 1;
            assert!(ticks < 100, "a timer that never moves on");
        }
        self.now.instant = end;
        actions
    }

    fn line(&mut self, words: &[&str]) -> String {
        let tail = |n: usize| words[n..].join(" ");
        let result = || match words[1] {
            "ok" => Ok(()),
            "unauthorized" => Err(Failure::NoAuthority),
            _ => Err(Failure::Error(tail(1))),
        };
        let until = |ms: &str, now: Now| Authority::Until {
            deadline: now.instant + Duration::from_millis(ms.parse().unwrap()),
            suspended: now.suspended,
        };
        let prometheus = |running, not_ready: &str, not_healthy: &str| {
            Event::Prometheus(PrometheusState {
                running,
                ready: not_ready.is_empty(),
                healthy: not_healthy.is_empty(),
                not_ready: not_ready.to_owned(),
                not_healthy: not_healthy.to_owned(),
            })
        };
        let event = match words[0] {
            "wait" => {
                return shown(&self.wait(Duration::from_millis(words[1].parse().unwrap())));
            }
            "suspend" => {
                self.now.suspended += Duration::from_mins(1);
                Event::Tick
            }
            "reason" => return self.sentence.clone(),
            "eligible" => return reason::eligibility(&self.state).reason,
            "authority" if words[1] == "forever" => Event::Leadership(leadership("pod-0", Authority::SoleVoter)),
            "authority" => Event::Leadership(leadership("pod-0", until(words[1], self.now))),
            "elected" => Event::Leadership(leadership("pod-0", Authority::None)),
            "leader" => Event::Leadership(leadership(words[1], Authority::None)),
            "no-leader" => Event::Leadership(Leadership::default()),
            "others" => Event::Others(Others {
                eligible: words[1] != "no",
                prepared: words[1] == "yes",
                detail: if words[1] == "no" { "pod-1 cannot: it is cordoned".to_owned() } else { String::new() },
            }),
            "cover" => Event::Cover(Cover { matters: true, prepared: words[1] == "yes", unfit: None }),
            "unfit" => Event::Cover(Cover { matters: true, prepared: true, unfit: Some(tail(1)) }),
            "up" => prometheus(Running::Yes, "", ""),
            "not-ready" => prometheus(Running::Yes, "503", ""),
            "unhealthy" => prometheus(Running::Yes, "", "503"),
            "ends" => prometheus(Running::Ending, "it ends", ""),
            "down" => prometheus(Running::No, "", "nothing listens"),
            "source" if words[1] == "invalid" => Event::Source(Err("line 3: bad".to_owned())),
            "source" => Event::Source(Ok(config(words[1]))),
            "wrote" => Event::Wrote(result()),
            "slow" => Event::ReloadIsSlow,
            "reloaded" => Event::Reloaded(result()),
            "step-down" => Event::StepDown { id: words[1].parse().unwrap(), reason: "maintenance".to_owned() },
            "cordon" => Event::Cordon { id: words[1].parse().unwrap() },
            "uncordon" => Event::Uncordon { id: words[1].parse().unwrap() },
            "shutdown" => Event::Shutdown,
            "handed-over" if words[1] == "to" => Event::HandedOver(Ok(words[2].to_owned())),
            "handed-over" if words[1] == "already" => {
                Event::HandedOver(Err(CommandError::NotLeader { leader: words[2].to_owned() }))
            }
            "handed-over" => Event::HandedOver(Err(CommandError::NoTarget(tail(1)))),
            other => panic!("unknown event {other}"),
        };
        shown(&self.feed(event))
    }

    fn run(&mut self, text: &str) {
        let mut expected = Vec::new();
        let mut actual = Vec::new();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (event, actions) = line.split_once("=>").expect("event => actions");
            let words: Vec<_> = event.split_whitespace().collect();
            let head = words.join(" ");
            expected.push(format!("{head} => {}", actions.trim()));
            actual.push(format!("{head} => {}", self.line(&words)));
        }
        let (expected, actual) = (expected.join("\n"), actual.join("\n"));
        assert!(expected == actual, "expected\n{expected}\n\nactual\n{actual}");
    }
}

fn shown(actions: &[Action]) -> String {
    if actions.is_empty() {
        return "-".to_owned();
    }
    let words: Vec<_> = actions
        .iter()
        .map(|action| match action {
            Action::Write(target) => format!("write {}", name(*target)),
            Action::Reload(target) => format!("reload {}", name(*target)),
            Action::HandOver(reason) => format!("hand over ({reason})"),
            Action::Tell(eligibility) if eligibility.eligible => format!("tell yes ({})", eligibility.reason),
            Action::Tell(eligibility) => format!("tell no ({})", eligibility.reason),
            Action::Answer(id, Ok(text)) => format!("answer {id} ok ({text})"),
            Action::Answer(id, Err(text)) => format!("answer {id} error ({text})"),
            Action::Finish => "finish".to_owned(),
        })
        .collect();
    words.join(", ")
}

/// What holds at every step of every scenario.
pub(super) fn check(before: &State, after: &State, actions: &[Action], now: Now) {
    let mut before = before.clone();
    for action in actions {
        match action {
            Action::Reload(target) => {
                assert!(before.reloading.is_none() || after.reloading.is_some_and(|r| r.target == *target));
                assert_eq!(after.file, Some(target.hash), "a reload of what is not in the file");
                assert!(after.writing.is_none(), "a reload while the file is being written");
                may_lead(after, target.role, now);
            }
            Action::Write(target) => {
                assert_eq!(after.writing, Some(*target));
                let different = |held: Target| held.role == Role::Leader && target.role == Role::Leader;
                assert!(!after.reloading.is_some_and(|r| different(r.target)), "a promotion that does not wait");
                may_lead(after, target.role, now);
            }
            Action::HandOver(_) => {
                let timely = matches!(after.leaving, Some(Leaving::HandingOver { forced: false, .. }));
                assert!(!timely || after.demoted(), "handed over before the follower configuration is in force");
            }
            Action::Finish => assert!(after.shutting_down.is_some()),
            Action::Tell(_) | Action::Answer(..) => {}
        }
        before.reloading = before.reloading.filter(|_| !matches!(action, Action::Reload(_)));
    }
    assert!(actions.iter().filter(|action| matches!(action, Action::Reload(_))).count() <= 1);
    assert!(actions.iter().filter(|action| matches!(action, Action::Write(_))).count() <= 1);
    assert!(after.wake_at().is_none_or(|at| at > now.instant), "a timer that is due already would spin");
}

fn may_lead(state: &State, role: Role, now: Now) {
    if role == Role::Leader {
        assert!(state.leadership.holds_authority(now), "a leader's configuration without authority");
        assert!(state.acts(), "a leader's configuration while leaving");
    }
}

/// A follower whose Prometheus runs with F1.
fn follower() -> Scenario {
    let mut scenario = Scenario::new(Some(config("1")), None);
    scenario.run(
        "
        leader pod-1 => reload F1, tell no (Prometheus is not ready: it has not been checked yet)
        others yes   => -
        up           => tell no (Prometheus has not loaded a configuration of this sidecar yet: it is being asked)
        reloaded ok  => tell yes (Prometheus is ready and healthy)
        ",
    );
    scenario
}

/// A leader whose Prometheus runs with L1 and whose authority lasts for 800 ms from now.
fn leader() -> Scenario {
    let mut scenario = follower();
    scenario.run(
        "
        authority 800 => write L1
        wrote ok      => reload L1
        reloaded ok   => -
        authority 800 => -
        reason        => leads; the leader configuration is in force
        ",
    );
    scenario
}
