//! Step-down, cordon and shutdown.

mod step_down {
    use super::super::*;

    #[test]
    fn the_follower_configuration_is_in_force_before_the_handover() {
        leader().run(
            "
            step-down 7  => write F1, tell yes (leads until the follower configuration is in force)
            reason       => gives leadership up (maintenance) once the follower configuration is in force; puts the follower configuration in force
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
    use super::super::*;

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
            reloaded ok  => hand over (cordoned by an operator), tell yes (Prometheus is ready and healthy)
            leader pod-1 => tell no (cordoned by an operator)
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
            reloaded ok => hand over (cordoned by an operator), tell yes (Prometheus is ready and healthy)
            handed-over none => write L1, tell no (cordoned by an operator)
            wrote ok    => reload L1
            reloaded ok => -
            wait 100000 => -
            ",
        );
    }
}

mod shutdown {
    use super::super::*;

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
            reloaded ok  => hand over (the sidecar shuts down), tell yes (Prometheus is ready and healthy)
            leader pod-1 => tell no (the sidecar shuts down)
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
            reloaded ok => hand over (the sidecar shuts down), tell yes (Prometheus is ready and healthy)
            handed-over none => finish, tell no (the sidecar shuts down)
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
            wait 1    => hand over (the sidecar shuts down), tell yes (Prometheus is ready and healthy)
            handed-over to pod-1 => finish, tell no (the sidecar shuts down)
            ",
        );
    }

    #[test]
    fn a_prometheus_that_is_gone_already_is_not_waited_for() {
        leader().run(
            "
            authority forever => -
            down      => reload L1, tell no (Prometheus does not run: nothing listens)
            reloaded error refused => -
            shutdown  => write F1
            wrote ok  => reload F1, hand over (the sidecar shuts down)
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
            reloaded ok  => hand over (maintenance), tell yes (Prometheus is ready and healthy)
            leader pod-1 => tell no (the sidecar shuts down)
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
            reloaded ok   => hand over (the sidecar shuts down), tell yes (Prometheus is ready and healthy)
            ",
        );
    }

    #[test]
    fn leadership_without_authority_yet_is_handed_over_too() {
        let mut scenario = follower();
        scenario.run(
            "
            elected  => -
            shutdown => hand over (the sidecar shuts down)
            handed-over to pod-1 => finish, tell no (the sidecar shuts down)
            ",
        );
    }

    #[test]
    fn uncordoning_a_member_that_shuts_down_does_not_keep_it() {
        leader().run(
            "
            cordon 1    => answer 1 ok (cordoned: this member hands leadership over as soon as the follower configuration is in force), write F1, tell yes (leads until the follower configuration is in force)
            shutdown    => -
            uncordon 2  => answer 2 ok (uncordoned: this member may lead again)
            wrote ok    => reload F1
            reloaded ok => hand over (the sidecar shuts down), tell yes (Prometheus is ready and healthy)
            handed-over to pod-1 => finish, tell no (the sidecar shuts down)
            ",
        );
    }
}
