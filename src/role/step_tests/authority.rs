//! Gaining and losing authority, and the races with what is in flight.

mod gained_and_lost {
    use super::super::*;

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
            shutdown      => hand over (the sidecar shuts down)
            ",
        );
    }
}

mod races {
    use super::super::*;

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
    fn lost_after_the_leader_file_was_written_asserts_the_follower_because_prometheus_may_have_restarted() {
        let mut scenario = follower();
        scenario.run(
            "
            authority 800 => write L1
            leader pod-1  => -
            wrote ok      => write F1
            wrote ok      => reload F1
            ",
        );
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
