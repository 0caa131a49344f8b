//! Starts, failures, changes of the source file and of Prometheus.

mod start {
    use super::super::*;

    #[test]
    fn the_role_is_asserted_by_a_reload_and_tried_again_until_prometheus_is_up() {
        let mut scenario = Scenario::new(Some(config("1")), None);
        scenario.run(
            "
            no-leader              => reload F1, tell no (Prometheus is not ready: it has not been checked yet)
            reason                 => follows; no leader is known; puts the follower configuration in force
            reloaded error refused => -
            reason => follows; no leader is known; the follower configuration is not in force and is tried again: error refused
            wait 999               => -
            wait 1                 => reload F1
            reloaded error refused => -
            down                   => tell no (Prometheus does not run: nothing listens)
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
            no-leader    => reload F1, tell no (Prometheus is not ready: it has not been checked yet)
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

mod failures {
    use super::super::*;

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
    fn a_follower_whose_new_configuration_is_rejected_is_in_no_hurry() {
        follower().run(
            "
            source 2           => write F2
            wrote ok           => reload F2
            reloaded error 500 => -
            wait 9999          => -
            wait 1             => reload F2
            ",
        );
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
    use super::super::*;

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

mod crash_and_health {
    use super::super::*;

    #[test]
    fn a_crash_makes_the_role_unknown_and_it_is_asserted_when_prometheus_is_back() {
        leader().run(
            "
            authority forever      => -
            down                   => reload L1, tell no (Prometheus does not run: nothing listens)
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
            down        => tell no (Prometheus does not run: nothing listens)
            reloaded ok => reload F2
            ",
        );
    }

    #[test]
    fn whoever_has_ended_and_is_ready_is_another_process() {
        follower().run(
            "
            ends => tell no (Prometheus is not ready: it ends)
            up   => reload F1, tell yes (Prometheus is ready and healthy)
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
