//! A leader gives leadership up once another member could take over without a gap in what is written.

use super::*;

/// A leader with a gate, in a group whose other members could take over, but not without a gap.
fn leader_of_the_uncovered() -> Scenario {
    let mut leader = leader();
    leader.run(
        "
        cover yes         => -
        authority forever => -
        others eligible   => -
        ",
    );
    leader
}

#[test]
fn a_leader_leads_on_until_somebody_could_take_over_without_a_gap() {
    leader_of_the_uncovered().run(
        "
        step-down 7  => tell yes (leads until a member could take over without a gap)
        reason       => leads on, and gives leadership up (maintenance) as soon as a member could take over without a gap; the leader configuration is in force
        wait 4999    => -
        others yes   => write F1, tell yes (leads until the follower configuration is in force)
        wrote ok     => reload F1
        reloaded ok  => hand over (maintenance), tell yes (Prometheus is ready and healthy)
        ",
    );
}

#[test]
fn a_step_down_does_not_wait_for_longer_than_stated() {
    leader_of_the_uncovered().run(
        "
        step-down 7  => tell yes (leads until a member could take over without a gap)
        wait 5000    => write F1, tell yes (leads until the follower configuration is in force)
        ",
    );
}

#[test]
fn a_shutdown_waits_until_the_own_prometheus_has_flushed_everything() {
    leader_of_the_uncovered().run(
        "
        shutdown     => tell yes (leads until a member could take over without a gap)
        wait 7999    => -
        down         => write F1, tell no (Prometheus does not run: nothing listens)
        wrote ok     => reload F1, hand over (the sidecar shuts down)
        ",
    );
    leader_of_the_uncovered().run(
        "
        shutdown     => tell yes (leads until a member could take over without a gap)
        wait 8000    => write F1, tell yes (leads until the follower configuration is in force)
        ",
    );
}

/// With the remote away it flushes for a minute, and loads nothing meanwhile.
#[test]
fn a_prometheus_that_ends_is_not_waited_for_once_somebody_could_take_over() {
    leader_of_the_uncovered().run(
        "
        shutdown     => tell yes (leads until a member could take over without a gap)
        ends         => -
        wait 7999    => -
        others yes   => write F1, tell yes (leads until the follower configuration is in force)
        wrote ok     => reload F1, hand over (the sidecar shuts down), tell yes (Prometheus ends; leads until another member has taken over)
        ",
    );
}

#[test]
fn a_leader_whose_prometheus_ends_alone_can_do_its_work_until_somebody_could_take_over_without_a_gap() {
    leader_of_the_uncovered().run(
        "
        ends       => tell yes (Prometheus ends; leads until another member has taken over)
        others yes => tell no (Prometheus is not ready: it ends)
        ",
    );
}

/// Its Prometheus writes to the remote itself, and would go on beside the next leader's.
#[test]
fn without_a_gate_a_prometheus_that_ends_is_waited_for() {
    let mut leader = leader();
    leader.run(
        "
        authority forever => -
        others eligible   => -
        shutdown          => write F1, tell yes (leads until the follower configuration is in force)
        ends              => -
        wrote ok          => reload F1
        wait 4999         => -
        down              => hand over (the sidecar shuts down), tell no (Prometheus does not run: nothing listens)
        ",
    );
}

#[test]
fn leadership_that_is_lost_meanwhile_ends_the_wait() {
    leader_of_the_uncovered().run(
        "
        shutdown     => tell yes (leads until a member could take over without a gap)
        leader pod-1 => write F1, tell no (the sidecar shuts down)
        wrote ok     => reload F1
        reloaded ok  => finish
        ",
    );
}

#[test]
fn a_cordon_waits_too_and_can_be_taken_back() {
    leader_of_the_uncovered().run(
        "
        cordon 1   => answer 1 ok (cordoned: this member hands leadership over as soon as the follower configuration is in force), tell yes (leads until a member could take over without a gap)
        uncordon 2 => answer 2 ok (uncordoned: this member may lead again), tell yes (Prometheus is ready and healthy)
        cordon 3   => answer 3 ok (cordoned: this member hands leadership over as soon as the follower configuration is in force), tell yes (leads until a member could take over without a gap)
        shutdown   => -
        uncordon 4 => answer 4 ok (uncordoned: this member may lead again)
        reason     => leads on, and gives leadership up (the sidecar shuts down) as soon as a member could take over without a gap; the leader configuration is in force
        ",
    );
}

#[test]
fn with_nothing_to_lose_nobody_is_waited_for() {
    leader().run(
        "
        others eligible => -
        step-down 7     => write F1, tell yes (leads until the follower configuration is in force)
        ",
    );
}

#[test]
fn a_leader_that_its_remote_refuses_is_not_fit_to_lead_and_fit_again_later() {
    leader_of_the_uncovered().run(
        "
        unfit the remote refuses => tell no (the remote refuses)
        cover yes                => tell yes (Prometheus is ready and healthy)
        ",
    );
}

/// A shutdown has its time from when it was asked for, whatever was under way then.
#[test]
fn a_shutdown_waits_no_longer_for_cover_because_a_step_down_was_under_way() {
    leader_of_the_uncovered().run(
        "
        step-down 7             => tell yes (leads until a member could take over without a gap)
        shutdown                => -
        wait 5000               => write F1, tell yes (leads until the follower configuration is in force)
        wait 5000               => hand over (maintenance), tell yes (Prometheus is ready and healthy)
        handed-over nobody      => answer 7 error (no other member can take over: nobody), tell yes (leads until the follower configuration is in force)
        wait 5000               => hand over (the sidecar shuts down), tell yes (Prometheus is ready and healthy)
        handed-over nobody      => finish, tell no (the sidecar shuts down)
        ",
    );
}

#[test]
fn a_member_that_is_not_covered_says_so_to_the_group() {
    let mut follower = follower();
    let actions = follower.feed(Event::Cover(Cover { matters: true, prepared: false, unfit: None }));
    let [Action::Tell(told)] = actions.as_slice() else { panic!("{actions:?}") };
    assert!(told.eligible && !told.prepared);
}
