//! Certificates of the Raft port: files, mode, and what is warned about.

use elector_raft::TlsMode;

use super::{REPLICA, mistakes, mistakes_with, pod, run};
use crate::raft_files::RaftTlsSettings;

const FILES: &str = "-raft-tls-ca-file /ca -raft-tls-cert-file /crt -raft-tls-key-file /key";

fn settings(mode: TlsMode) -> RaftTlsSettings {
    RaftTlsSettings { ca_file: "/ca".into(), cert_file: "/crt".into(), key_file: "/key".into(), mode }
}

#[test]
fn the_files_mean_tls_for_all_unless_it_is_optional() {
    let tls = |flags: &str| run(&format!("{REPLICA} {flags}"), pod()).group.tls;
    assert_eq!(tls(""), None);
    assert_eq!(tls(FILES), Some(settings(TlsMode::Required)));
    assert_eq!(tls(&format!("{FILES} -raft-tls-mode required")), Some(settings(TlsMode::Required)));
    assert_eq!(tls(&format!("{FILES} -raft-tls-mode optional")), Some(settings(TlsMode::Optional)));
    assert_eq!(tls(&format!("{FILES} -raft-tls-mode=")), Some(settings(TlsMode::Required)));
}

#[test]
fn a_part_of_the_files_and_a_mode_without_them_are_mistakes() {
    assert_eq!(
        mistakes("-raft-tls-ca-file /ca -raft-tls-key-file /key"),
        ["--raft-tls-cert-file (or PROMETHEUS_ELECTOR_RAFT_TLS_CERT_FILE) is missing: raft-tls-ca-file and \
          raft-tls-key-file is given, and members prove themselves with CA, certificate and key"]
    );
    assert_eq!(mistakes("-raft-tls-cert-file /crt").len(), 2);
    assert_eq!(
        mistakes("-raft-tls-mode optional"),
        ["--raft-tls-mode=optional says how certificates are used, but there are none: give raft-tls-ca-file, \
          raft-tls-cert-file and raft-tls-key-file, or take it away"]
    );
    let env = [("PROMETHEUS_ELECTOR_RAFT_TLS_MODE", "on")];
    assert_eq!(
        mistakes_with(&format!("{REPLICA} {FILES}"), &env, pod()),
        ["PROMETHEUS_ELECTOR_RAFT_TLS_MODE=on (flag --raft-tls-mode) is not a mode; write required or optional"]
    );
}

#[test]
fn only_what_leaves_the_port_open_is_warned_about() {
    let warnings = |flags: &str| run(&format!("{REPLICA} {flags}"), pod()).warnings;
    let optional = |who: &str| {
        format!(
            "--raft-tls-mode=optional: {who} can still speak to [::]:9096 without a certificate; once all members have \
             theirs, set --raft-tls-mode=required"
        )
    };
    assert_eq!(warnings(FILES), [""; 0]);
    assert_eq!(warnings(&format!("{FILES} -raft-tls-mode optional")), [optional("anybody")]);
    let with_token = format!("{FILES} -raft-tls-mode optional -raft-token-file /t");
    assert_eq!(warnings(&with_token), [optional("whoever knows the raft token")]);
    assert_eq!(warnings(&format!("{with_token} -raft-listen-address 127.0.0.1:9096")), [""; 0]);
}
