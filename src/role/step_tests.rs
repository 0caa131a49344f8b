//! Scenarios of role control: one line an event, and after `=>` the exact actions that follow (`-`: none).
//!
//! `wait` lets time pass and feeds a tick only when [`State::wake_at`] comes, as the runner does: a missing timer shows
//! as a missing action. `reason` and `eligible` compare the sentences. Every step also passes [`check`].
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use elector_raft::{Authority, CommandError, Leader, Leadership, Member, NodeId, Now};

use super::state::{Action, Event, Failure, Leaving, Others, Policy, State};
use super::step::step;
use super::variants::{Config, Target, Variants};
use super::{Role, reason};
use crate::prometheus::health::Running;
use crate::prometheus::probe::PrometheusState;

const POLICY: Policy =
    Policy { max_attempts: 3, retry_delay: Duration::from_secs(10), demote_timeout: Duration::from_secs(5) };

/// Source files by number: source 1 renders to the contents F1 and L1; of source 9 both are E9.
fn config(number: &str) -> Arc<Config> {
    let content = |letter: &str| Bytes::from(format!("{letter}{number}"));
    let (follower, leader) = if number == "9" { ("E", "E") } else { ("F", "L") };
    Arc::new(Config::new(Variants { follower: content(follower), leader: content(leader), warnings: Vec::new() }))
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
    let leader = Leader { id: NodeId(1), is_self: leader == "pod-0", member };
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
        let up = |ready, healthy, detail: &str| {
            Event::Prometheus(PrometheusState { running: Running::Yes, ready, healthy, detail: detail.to_owned() })
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
                eligible: words[1] == "yes",
                detail: if words[1] == "yes" { String::new() } else { "pod-1 cannot: it is cordoned".to_owned() },
            }),
            "up" => up(true, true, ""),
            "not-ready" => up(false, true, "503"),
            "unhealthy" => up(true, false, "503"),
            "down" => Event::Prometheus(PrometheusState { running: Running::No, ..PrometheusState::default() }),
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
        let mut expected = String::new();
        let mut actual = String::new();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (event, actions) = line.split_once("=>").expect("event => actions");
            let words: Vec<_> = event.split_whitespace().collect();
            let head = words.join(" ");
            expected += &format!("{head} => {}\n", actions.trim());
            actual += &format!("{head} => {}\n", self.line(&words));
        }
        assert!(expected == actual, "expected\n{expected}\nactual\n{actual}");
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
            Action::Finish => assert!(after.shutting_down),
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
        assert!(state.leaving.is_none() && !state.shutting_down, "a leader's configuration while leaving");
    }
}

/// A follower whose Prometheus runs with F1.
fn follower() -> Scenario {
    let mut scenario = Scenario::new(Some(config("1")), None);
    scenario.run(
        "
        leader pod-1 => reload F1, tell no (Prometheus is not ready)
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

mod start {
    use super::*;

    #[test]
    fn the_role_is_asserted_by_a_reload_and_tried_again_until_prometheus_is_up() {
        let mut scenario = Scenario::new(Some(config("1")), None);
        scenario.run(
            "
            no-leader              => reload F1, tell no (Prometheus is not ready)
            reason                 => follows; no leader is known; puts the follower configuration in force
            reloaded error refused => -
            reason => follows; no leader is known; the follower configuration is not in force and is tried again: error refused
            wait 999               => -
            wait 1                 => reload F1
            reloaded error refused => -
            down                   => tell no (Prometheus does not run)
            wait 1000              => reload F1
            reloaded error refused => -
            up => reload F1, tell no (Prometheus has not loaded a configuration of this sidecar yet: it is being asked)
            reloaded ok            => tell yes (Prometheus is ready and healthy)
            reason                 => follows; no leader is known; the follower configuration is in force
            wait 1000000           => -
            ",
        );
    }

    #[test]
    fn a_reload_that_waits_for_prometheus_to_replay_its_log_is_waited_for() {
        Scenario::new(Some(config("1")), None).run(
            "
            no-leader    => reload F1, tell no (Prometheus is not ready)
            not-ready    => tell no (Prometheus is not ready: 503)
            slow         => -
            reason       => follows; no leader is known; Prometheus is slow to load the follower configuration and is waited for
            wait 1000000 => -
            up           => tell no (Prometheus has not loaded a configuration of this sidecar yet: it is being asked)
            reloaded ok  => tell yes (Prometheus is ready and healthy)
            ",
        );
    }

    #[test]
    fn without_any_valid_configuration_prometheus_is_left_alone_and_this_member_is_no_candidate() {
        Scenario::new(None, Some("line 3: bad")).run(
            "
            up            => tell no (there is no valid configuration: line 3: bad)
            authority 800 => -
            reason        => has authority but no valid leader configuration; there is no valid configuration, and Prometheus is left alone: if this member led before it was restarted, its Prometheus may still run with the leader configuration; line 3: bad
            leader pod-1  => -
            source 1      => write F1, tell no (Prometheus has not loaded a configuration of this sidecar yet: it is being asked)
            wrote ok      => reload F1
            reloaded ok   => tell yes (Prometheus is ready and healthy)
            ",
        );
    }

    #[test]
    fn with_only_the_kept_follower_configuration_it_follows_even_with_authority() {
        let kept = Arc::new(Config::follower_only(Bytes::from("F1")));
        Scenario::new(Some(kept), Some("line 3: bad")).run(
            "
            up            => reload F1, tell no (there is no valid configuration: line 3: bad)
            reloaded ok   => -
            authority 800 => -
            reason        => has authority but no valid leader configuration; the follower configuration is in force; the last good configuration stays because the newest is invalid: line 3: bad
            source 2      => write L2, tell yes (Prometheus is ready and healthy)
            ",
        );
    }
}

mod authority {
    use super::*;

    #[test]
    fn gained_and_lost_by_the_watch() {
        leader().run(
            "
            leader pod-1 => write F1
            wrote ok     => reload F1
            reloaded ok  => -
            reason       => follows pod-1; the follower configuration is in force
            ",
        );
    }

    #[test]
    fn its_deadline_demotes_without_any_event() {
        leader().run(
            "
            wait 799 => -
            wait 1   => write F1
            wrote ok => reload F1
            ",
        );
    }

    #[test]
    fn renewal_keeps_it_and_changes_nothing() {
        leader().run(
            "
            wait 700      => -
            authority 800 => -
            wait 799      => -
            wait 1        => write F1
            ",
        );
    }

    #[test]
    fn it_does_not_survive_a_suspended_machine() {
        leader().run("suspend => write F1");
    }

    #[test]
    fn a_sole_voter_keeps_it_without_a_deadline() {
        let mut scenario = follower();
        scenario.run(
            "
            authority forever => write L1
            wrote ok          => reload L1
            reloaded ok       => -
            wait 1000000      => -
            ",
        );
    }

    #[test]
    fn being_elected_is_not_authority() {
        follower().run(
            "
            elected => -
            reason  => was elected, without authority yet; the follower configuration is in force
            ",
        );
    }

    #[test]
    fn equal_variants_need_no_reload_in_either_direction() {
        let mut scenario = follower();
        scenario.run(
            "
            source 9      => write E9
            wrote ok      => reload E9
            reloaded ok   => -
            authority 800 => -
            reason        => leads; the leader configuration is in force
            leader pod-1  => -
            reason        => follows pod-1; the follower configuration is in force
            authority 800 => -
            shutdown      => hand over (the sidecar shuts down), tell no (the sidecar shuts down)
            ",
        );
    }
}

mod races {
    use super::*;

    #[test]
    fn lost_while_the_leader_file_is_written() {
        let mut scenario = follower();
        scenario.run(
            "
            authority 800      => write L1
            leader pod-1       => -
            wrote unauthorized => write F1
            wrote ok           => reload F1
            reloaded ok        => -
            ",
        );
    }

    #[test]
    fn lost_after_the_leader_file_was_written() {
        let mut scenario = follower();
        scenario.run(
            "
            authority 800 => write L1
            leader pod-1  => -
            wrote ok      => write F1
            wrote ok      => -
            ",
        );
        // Nothing was loaded meanwhile, so the follower configuration is still in force.
        assert!(scenario.state.in_force());
    }

    #[test]
    fn lost_right_before_the_request() {
        let mut scenario = follower();
        scenario.run(
            "
            authority 800         => write L1
            wrote ok              => reload L1
            leader pod-1          => write F1
            reloaded unauthorized => -
            wrote ok              => reload F1
            reloaded ok           => -
            ",
        );
    }

    #[test]
    fn lost_while_the_promotion_is_in_flight_reaches_the_file_at_once_and_prometheus_right_after() {
        let mut scenario = follower();
        scenario.run(
            "
            authority 800 => write L1
            wrote ok      => reload L1
            slow          => -
            wait 800      => write F1
            wrote ok      => -
            wait 100000   => -
            reloaded ok   => reload F1
            reloaded ok   => -
            ",
        );
    }

    #[test]
    fn a_failed_promotion_does_not_delay_the_demotion_that_followed_it() {
        let mut scenario = follower();
        scenario.run(
            "
            authority 800       => write L1
            wrote ok            => reload L1
            leader pod-1        => write F1
            wrote ok            => -
            reloaded error 500  => reload F1
            ",
        );
    }

    #[test]
    fn regained_while_the_demotion_is_in_flight_waits_for_its_end() {
        leader().run(
            "
            leader pod-1  => write F1
            wrote ok      => reload F1
            authority 800 => -
            slow          => -
            reason        => leads; Prometheus is slow to load the follower configuration and is waited for
            authority 800 => -
            reloaded ok   => write L1
            wrote ok      => reload L1
            ",
        );
    }

    #[test]
    fn lost_and_regained_while_the_promotion_is_in_flight_loads_the_leader_again() {
        let mut scenario = follower();
        scenario.run(
            "
            authority 800 => write L1
            wrote ok      => reload L1
            leader pod-1  => write F1
            authority 800 => -
            wrote ok      => -
            reloaded ok   => write L1
            wrote ok      => reload L1
            reloaded ok   => -
            ",
        );
    }
}

mod failures {
    use super::*;

    #[test]
    fn a_failed_promotion_is_tried_again_without_end_and_ever_slower() {
        let mut scenario = follower();
        scenario.run("authority forever => write L1\n wrote ok => reload L1");
        let mut pauses = Vec::new();
        for _ in 0..8 {
            scenario.run("reloaded error 500 => -");
            let before = scenario.now.instant;
            let at = scenario.state.wake_at().unwrap();
            pauses.push((at - before).as_secs());
            let actions = scenario.wait(at - before);
            assert_eq!(shown(&actions), "reload L1");
        }
        assert_eq!(pauses, [10, 10, 10, 20, 40, 60, 60, 60]);
        scenario.run("reloaded ok => -\n wait 1000000 => -");
    }

    #[test]
    fn a_failed_demotion_is_urgent() {
        let mut scenario = leader();
        scenario.run("leader pod-1 => write F1\n wrote ok => reload F1");
        let mut pauses = Vec::new();
        for _ in 0..10 {
            scenario.run("reloaded error 500 => -");
            let pause = scenario.state.wake_at().unwrap() - scenario.now.instant;
            pauses.push(pause.as_secs());
            assert_eq!(shown(&scenario.wait(pause)), "reload F1");
        }
        assert_eq!(pauses, [1, 1, 1, 2, 4, 8, 16, 32, 60, 60]);
    }

    #[test]
    fn a_new_wanted_configuration_is_tried_at_once() {
        leader().run(
            "
            source 2            => write L2
            wrote ok            => reload L2
            reloaded error 500  => -
            leader pod-1        => write F2
            ",
        );
    }

    #[test]
    fn after_a_failed_reload_nothing_is_known_of_what_is_in_force() {
        // Prometheus may have applied the failed configuration in part.
        let mut scenario = follower();
        scenario.run(
            "
            authority 800      => write L1
            wrote ok           => reload L1
            reloaded error 500 => -
            leader pod-1       => write F1
            wrote ok           => reload F1
            ",
        );
    }

    #[test]
    fn a_file_that_cannot_be_written_is_tried_again_and_nothing_is_loaded_meanwhile() {
        leader().run(
            "
            leader pod-1          => write F1
            wrote error disk full => -
            reason                => follows pod-1; the follower configuration is not in force and is tried again: error disk full
            wait 999              => -
            wait 1                => write F1
            wrote ok              => reload F1
            reloaded ok           => -
            ",
        );
    }
}

mod source {
    use super::*;

    #[test]
    fn a_change_is_applied_to_the_present_role() {
        follower().run("source 2 => write F2\n wrote ok => reload F2\n reloaded ok => -");
        leader().run("source 2 => write L2\n wrote ok => reload L2\n reloaded ok => -");
    }

    #[test]
    fn the_same_configuration_again_changes_nothing() {
        follower().run("source 1 => -");
    }

    #[test]
    fn an_invalid_one_keeps_the_last_good_one_and_the_right_to_lead() {
        let mut scenario = follower();
        scenario.run(
            "
            source invalid => -
            reason         => follows pod-1; the follower configuration is in force; the last good configuration stays because the newest is invalid: line 3: bad
            eligible       => Prometheus is ready and healthy
            authority 800  => write L1
            wrote ok       => reload L1
            source 1       => -
            reloaded ok    => -
            reason         => leads; the leader configuration is in force
            ",
        );
    }

    #[test]
    fn a_change_during_a_reload_is_loaded_after_it() {
        let mut scenario = follower();
        scenario.run(
            "
            source 2    => write F2
            wrote ok    => reload F2
            source 1    => write F1
            wrote ok    => -
            reloaded ok => reload F1
            reloaded ok => -
            ",
        );
        leader().run(
            "
            source 2    => write L2
            wrote ok    => reload L2
            source 1    => -
            reloaded ok => write L1
            wrote ok    => reload L1
            ",
        );
    }
}

mod prometheus {
    use super::*;

    #[test]
    fn a_crash_makes_the_role_unknown_and_it_is_asserted_when_prometheus_is_back() {
        leader().run(
            "
            authority forever      => -
            down                   => reload L1, tell no (Prometheus does not run)
            reloaded error refused => -
            up                     => reload L1, tell yes (Prometheus is ready and healthy)
            reloaded ok            => -
            ",
        );
    }

    #[test]
    fn a_crash_during_a_reload_makes_its_success_worthless() {
        follower().run(
            "
            source 2    => write F2
            wrote ok    => reload F2
            down        => tell no (Prometheus does not run)
            reloaded ok => reload F2
            ",
        );
    }

    #[test]
    fn unhealthy_or_not_ready_is_told_to_the_group_and_changes_no_configuration() {
        leader().run(
            "
            unhealthy => tell no (Prometheus is not healthy: 503)
            not-ready => tell no (Prometheus is not ready: 503)
            up        => tell yes (Prometheus is ready and healthy)
            ",
        );
    }
}

mod step_down {
    use super::*;

    #[test]
    fn the_follower_configuration_is_in_force_before_the_handover() {
        leader().run(
            "
            step-down 7  => write F1, tell yes (leads until the follower configuration is in force)
            reason       => gives leadership up: maintenance; first puts the follower configuration in force
            wrote ok     => reload F1
            reloaded ok  => hand over (maintenance), tell yes (Prometheus is ready and healthy)
            reason       => hands leadership over: maintenance
            leader pod-1 => -
            handed-over to pod-1 => answer 7 ok (pod-1)
            reason       => follows pod-1; the follower configuration is in force
            ",
        );
    }

    #[test]
    fn refused_without_a_target_costs_nothing() {
        leader().run(
            "
            others no   => -
            step-down 7 => answer 7 error (no other member can take over: pod-1 cannot: it is cordoned)
            ",
        );
    }

    #[test]
    fn refused_on_a_follower_names_the_leader() {
        follower().run("step-down 7 => answer 7 error (this member does not lead the group; ask the leader (pod-1))");
    }

    #[test]
    fn a_second_one_is_refused_and_the_first_goes_on() {
        leader().run(
            "
            step-down 7 => write F1, tell yes (leads until the follower configuration is in force)
            step-down 8 => answer 8 error (this member is giving leadership up already)
            wrote ok    => reload F1
            ",
        );
    }

    #[test]
    fn when_nobody_takes_over_it_leads_again() {
        leader().run(
            "
            authority forever => -
            step-down 7 => write F1, tell yes (leads until the follower configuration is in force)
            wrote ok    => reload F1
            reloaded ok => hand over (maintenance), tell yes (Prometheus is ready and healthy)
            handed-over none => answer 7 error (no other member can take over: none), write L1
            ",
        );
    }

    #[test]
    fn a_hung_prometheus_holds_it_up_for_the_stated_time_only() {
        leader().run(
            "
            authority forever => -
            step-down 7 => write F1, tell yes (leads until the follower configuration is in force)
            wrote ok    => reload F1
            wait 4999   => -
            wait 1      => hand over (maintenance), tell yes (Prometheus is ready and healthy)
            reason      => hands leadership over: maintenance, although Prometheus has not taken the follower configuration within 5s
            leader pod-1         => -
            handed-over to pod-1 => answer 7 ok (pod-1)
            reloaded ok          => -
            ",
        );
    }

    #[test]
    fn authority_lost_on_the_way_still_ends_with_an_answer() {
        leader().run(
            "
            step-down 7  => write F1, tell yes (leads until the follower configuration is in force)
            leader pod-1 => tell yes (Prometheus is ready and healthy)
            wrote ok     => reload F1
            reloaded ok  => hand over (maintenance)
            handed-over already pod-1 => answer 7 ok (pod-1)
            ",
        );
    }
}

mod cordon {
    use super::*;

    #[test]
    fn a_follower_is_no_candidate_until_it_is_uncordoned() {
        follower().run(
            "
            cordon 1   => answer 1 ok (cordoned: this member does not lead until it is uncordoned or its sidecar restarts), tell no (cordoned by an operator)
            uncordon 2 => answer 2 ok (uncordoned: this member may lead again), tell yes (Prometheus is ready and healthy)
            ",
        );
    }

    #[test]
    fn a_leader_hands_over_as_planned() {
        leader().run(
            "
            cordon 1     => answer 1 ok (cordoned: this member hands leadership over as soon as the follower configuration is in force), write F1, tell yes (leads until the follower configuration is in force)
            wrote ok     => reload F1
            reloaded ok  => hand over (cordoned by an operator), tell no (cordoned by an operator)
            leader pod-1 => -
            handed-over to pod-1 => -
            ",
        );
    }

    #[test]
    fn a_leader_without_a_successor_leads_on_until_there_is_one() {
        leader().run(
            "
            others no  => -
            cordon 1   => answer 1 ok (cordoned: this member leads on until another one can take over; now none can (pod-1 cannot: it is cordoned)), tell yes (cordoned, and leads until another member can take over)
            eligible   => cordoned by an operator
            others yes => write F1, tell yes (leads until the follower configuration is in force)
            ",
        );
    }

    #[test]
    fn uncordoned_before_the_handover_leads_on() {
        leader().run(
            "
            cordon 1    => answer 1 ok (cordoned: this member hands leadership over as soon as the follower configuration is in force), write F1, tell yes (leads until the follower configuration is in force)
            wrote ok    => reload F1
            uncordon 2  => answer 2 ok (uncordoned: this member may lead again), tell yes (Prometheus is ready and healthy)
            reloaded ok => write L1
            ",
        );
    }

    #[test]
    fn after_a_failed_handover_it_is_left_to_the_group_instead_of_flapping() {
        leader().run(
            "
            authority forever => -
            cordon 1    => answer 1 ok (cordoned: this member hands leadership over as soon as the follower configuration is in force), write F1, tell yes (leads until the follower configuration is in force)
            wrote ok    => reload F1
            reloaded ok => hand over (cordoned by an operator), tell no (cordoned by an operator)
            handed-over none => write L1
            wrote ok    => reload L1
            reloaded ok => -
            wait 100000 => -
            ",
        );
    }
}

mod shutdown {
    use super::*;

    #[test]
    fn a_follower_is_done_at_once() {
        follower().run("shutdown => finish, tell no (the sidecar shuts down)");
    }

    #[test]
    fn a_leader_puts_the_follower_configuration_in_force_and_hands_over() {
        leader().run(
            "
            shutdown     => write F1, tell yes (leads until the follower configuration is in force)
            wrote ok     => reload F1
            authority 800 => -
            reloaded ok  => hand over (the sidecar shuts down), tell no (the sidecar shuts down)
            leader pod-1 => -
            handed-over to pod-1 => finish
            ",
        );
    }

    #[test]
    fn nobody_to_hand_over_to_is_no_reason_to_stay() {
        leader().run(
            "
            authority forever => -
            others no   => -
            shutdown    => write F1, tell yes (leads until the follower configuration is in force)
            wrote ok    => reload F1
            reloaded ok => hand over (the sidecar shuts down), tell no (the sidecar shuts down)
            handed-over none => finish
            ",
        );
    }

    #[test]
    fn a_hung_prometheus_costs_the_stated_time() {
        leader().run(
            "
            authority forever => -
            shutdown  => write F1, tell yes (leads until the follower configuration is in force)
            wrote ok  => reload F1
            wait 4999 => -
            wait 1    => hand over (the sidecar shuts down), tell no (the sidecar shuts down)
            handed-over to pod-1 => finish
            ",
        );
    }

    #[test]
    fn a_prometheus_that_is_gone_already_is_not_waited_for() {
        leader().run(
            "
            authority forever => -
            down      => reload L1, tell no (Prometheus does not run)
            reloaded error refused => -
            shutdown  => write F1
            wrote ok  => reload F1, hand over (the sidecar shuts down), tell no (the sidecar shuts down)
            ",
        );
    }

    #[test]
    fn during_a_step_down_it_answers_and_then_ends() {
        leader().run(
            "
            step-down 7  => write F1, tell yes (leads until the follower configuration is in force)
            shutdown     => -
            wrote ok     => reload F1
            reloaded ok  => hand over (maintenance), tell no (the sidecar shuts down)
            leader pod-1 => -
            handed-over to pod-1 => answer 7 ok (pod-1), finish
            ",
        );
    }

    #[test]
    fn authority_that_comes_during_it_promotes_nothing_and_is_handed_over() {
        let mut scenario = follower();
        scenario.run(
            "
            source 2      => write F2
            wrote ok      => reload F2
            shutdown      => tell no (the sidecar shuts down)
            authority 800 => tell yes (leads until the follower configuration is in force)
            reloaded ok   => hand over (the sidecar shuts down), tell no (the sidecar shuts down)
            ",
        );
    }
}
