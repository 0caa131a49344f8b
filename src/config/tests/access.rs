//! Access to Prometheus: files, names, and the scheme of its port.

use super::{REPLICA, mistakes, pod, run};
use crate::prometheus::access::{AccessSettings, CredentialsFile};

const TLS: &str =
    "-config c.yaml -output /out/p.yaml -notify-http-url https://127.0.0.1:9090/-/reload -api-proxy-enabled";

#[test]
fn files_are_taken_by_their_flags() {
    let line = format!(
        "{REPLICA} -prometheus-ca-file /s/ca -prometheus-client-cert-file /s/crt -prometheus-client-key-file /s/key \
         -prometheus-tls-server-name prom.mon.svc -prometheus-bearer-token-file /s/token"
    );
    let expected = AccessSettings {
        ca_file: Some("/s/ca".into()),
        client_cert_files: Some(("/s/crt".into(), "/s/key".into())),
        credentials: Some(CredentialsFile::Bearer("/s/token".into())),
        server_name: Some("prom.mon.svc".try_into().unwrap()),
        own_name: Some("prom-0.prom.mon.svc.cluster.local".try_into().unwrap()),
    };
    assert_eq!(run(&line, pod()).access, expected);
    let basic = run(&format!("{REPLICA} -prometheus-basic-auth-file /s/basic"), pod()).access;
    assert_eq!(basic.credentials, Some(CredentialsFile::Basic("/s/basic".into())));
    let own_name = |flags: &str| run(&format!("{REPLICA} {flags}"), pod()).access.own_name;
    assert_eq!(own_name("-advertise-prometheus-url https://[::1]:9090"), Some("::1".try_into().unwrap()));
}

#[test]
fn a_witness_reaches_the_leaders_prometheus_too() {
    let settings = run("-witness -raft-data-dir /d -api-proxy-enabled -prometheus-ca-file /s/ca", pod());
    assert_eq!(settings.access, AccessSettings { ca_file: Some("/s/ca".into()), ..AccessSettings::default() });
}

#[test]
fn a_port_speaks_tls_where_the_reload_url_says_so() {
    let urls = |line: &str| {
        let settings = run(line, pod());
        let local = settings.proxy.unwrap().local_url.unwrap().to_string();
        (local, settings.group.member.prometheus_url)
    };
    let at = |scheme: &str, local: u16, remote: u16| {
        (
            format!("http{scheme}://127.0.0.1:{local}/"),
            format!("http{scheme}://prom-0.prom.mon.svc.cluster.local:{remote}"),
        )
    };
    let plain = at("", 9090, 9090);
    assert_eq!(urls(&format!("{REPLICA} -api-proxy-enabled")), plain);
    assert_eq!(urls(TLS), at("s", 9090, 9090));
    // Another listener, of which nothing is known.
    assert_eq!(urls(&TLS.replace(":9090", ":9091")), plain);
    let (local, _) = at("s", 9090, 9090);
    let (_, remote) = at("", 9090, 9443);
    assert_eq!(urls(&format!("{TLS} -api-proxy-prometheus-remote-port 9443")), (local, remote));
    let said = format!("{TLS} -advertise-prometheus-url http://prom-0:9090");
    assert_eq!(urls(&said).1, "http://prom-0:9090");
    assert_eq!(
        urls(&TLS.replace("127.0.0.1:9090", "localhost").replace("-api", "-api-proxy-prometheus-local-port 443 -api"))
            .0,
        "https://127.0.0.1/"
    );
}

#[test]
fn what_contradicts_itself_is_refused() {
    let one = |line: &str| {
        let found = mistakes(line);
        assert_eq!(found.len(), 1, "{found:?}");
        found.into_iter().next().unwrap()
    };
    assert_eq!(
        one("-prometheus-basic-auth-file /b -prometheus-bearer-token-file /t"),
        "--prometheus-basic-auth-file=/b and --prometheus-bearer-token-file=/t exclude each other: a request has room for one \
         of them; take the other one away"
    );
    assert_eq!(
        one("-prometheus-client-cert-file /c"),
        "--prometheus-client-key-file (or PROMETHEUS_ELECTOR_PROMETHEUS_CLIENT_KEY_FILE) is missing: \
         prometheus-client-cert-file is given, and a certificate needs its key"
    );
    assert!(one("-prometheus-client-key-file /c").starts_with("--prometheus-client-cert-file (or "));
    assert_eq!(
        one("-prometheus-basic-auth-file /b -healthcheck-http-url http://me:secret@127.0.0.1:9090/-/healthy"),
        "--prometheus-basic-auth-file=/b and --healthcheck-http-url=http://***@127.0.0.1:9090/-/healthy exclude each other: \
         both say who asks; take user and password out of the URL"
    );
}

#[test]
fn the_proxy_adds_credentials_only_when_told_to_and_only_in_a_group_with_a_token() {
    let flags = "-api-proxy-enabled -prometheus-basic-auth-file /b";
    let adds = |flags: &str| run(&format!("{REPLICA} {flags}"), pod()).proxy.unwrap().add_credentials;
    assert!(!adds(flags));
    assert!(adds(&format!("{flags} -proxy-add-credentials -raft-token-file /t")));
    let tls = "-raft-tls-ca-file /ca -raft-tls-cert-file /c -raft-tls-key-file /k";
    assert!(adds(&format!("{flags} -proxy-add-credentials {tls}")));
    assert_eq!(mistakes(&format!("{flags} -proxy-add-credentials {tls} -raft-tls-mode optional")).len(), 1);
    assert_eq!(
        mistakes(&format!("{flags} -proxy-add-credentials")),
        ["--proxy-add-credentials=true would send the credentials to whoever leads, and without raft-token-file or \
             raft-tls-mode=required anybody may; give the members one of them"]
    );
    assert_eq!(
        mistakes("-proxy-add-credentials -raft-token-file /t"),
        [
            "--proxy-add-credentials=true has nothing to add: give prometheus-basic-auth-file or prometheus-bearer-token-file"
        ]
    );
}
