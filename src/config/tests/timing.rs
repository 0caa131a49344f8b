//! The relations between the lease's times, at their edges, with the exact words.

use super::{REPLICA, mistakes, mistakes_with, pod, try_parse};

fn accepted(lease: &str, renew: &str, retry: &str) -> bool {
    let times = format!("-lease-duration {lease} -lease-renew-deadline {renew} -lease-retry-period {retry}");
    try_parse(&format!("{REPLICA} {times}"), &[], pod()).is_ok()
}

#[test]
fn the_edges_are_exact() {
    // 3 H <= R: equality is enough.
    assert!(accepted("10s", "300ms", "100ms"));
    assert!(!accepted("10s", "299.999999ms", "100ms"));
    // 1.23 R < L: equality is not.
    assert!(!accepted("1.23s", "1s", "100ms"));
    assert!(accepted("1.230000001s", "1s", "100ms"));
    assert!(!accepted("1.229999999s", "1s", "100ms"));
    assert!(accepted("1s", "813ms", "100ms"));
    assert!(!accepted("1s", "814ms", "100ms"));
    // Nothing overflows.
    assert!(accepted("2562047h", "2000000h", "600000h -member-removal-delay 2562047h"));
    assert!(!accepted("2000000h", "2562047h", "2562047h"));
}

#[test]
fn a_renew_deadline_that_outlives_the_lease_is_told_with_the_numbers() {
    assert_eq!(
        mistakes("-lease-renew-deadline 900ms"),
        [
            "--lease-renew-deadline=900ms does not go with --lease-duration=900ms (the default): with clocks that are 10 % off \
          in opposite directions it takes up to 1.107s (1.23 * 900ms), which must be less than the lease (900ms); use a \
          renew deadline of at most 731ms, or a lease of at least 1.108s"
        ]
    );
}

#[test]
fn heartbeats_that_do_not_fit_are_told_with_the_numbers() {
    let env = [("PROMETHEUS_ELECTOR_LEASE_RETRY_PERIOD", "300ms")];
    assert_eq!(
        mistakes_with(REPLICA, &env, pod()),
        ["PROMETHEUS_ELECTOR_LEASE_RETRY_PERIOD=300ms (flag --lease-retry-period) does not go with \
          --lease-renew-deadline=720ms (the default): 3 retry periods (900ms) must fit into the renew deadline (720ms); \
          use a retry period of at most 240ms, or a renew deadline of at least 900ms"]
    );
}

#[test]
fn the_way_out_that_a_message_names_is_one() {
    assert!(accepted("900ms", "731ms", "100ms") && accepted("1.108s", "900ms", "100ms"));
    assert!(accepted("900ms", "720ms", "240ms") && accepted("2s", "900ms", "300ms"));
}

#[test]
fn a_member_is_not_removed_for_the_silence_of_a_takeover() {
    assert_eq!(
        mistakes("-member-removal-delay 500ms"),
        [
            "--member-removal-delay=500ms does not go with --lease-duration=900ms (the default): a member must be silent for \
          at least one lease before it is removed; use at least 900ms"
        ]
    );
}

#[test]
fn a_retry_period_that_is_a_mistyped_unit_is_refused() {
    assert_eq!(
        mistakes("-lease-retry-period 100us"),
        ["--lease-retry-period=100us is too short; it must be at least 10ms"]
    );
}
