//! Files that change, and the local client over TLS.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::os::unix::fs::symlink;
use std::time::Duration;

use reqwest::{Method, StatusCode, Url};
use tokio::time::Instant;

use super::testing::{Files, TlsPrometheus, accesses};
use super::*;
use crate::files::PERIOD;
use crate::prometheus::client::{LocalClient, cause};
use crate::tls::testing::Ca;

const TIMEOUT: Duration = Duration::from_secs(20);

fn name(text: &str) -> ServerName<'static> {
    ServerName::try_from(text.to_owned()).unwrap()
}

fn password(accesses: &Accesses) -> String {
    accesses.borrow().authorization().unwrap().to_str().unwrap().to_owned()
}

#[test]
fn changed_files_are_used_and_bad_ones_leave_the_last_good_ones() {
    let (ca, other) = (Ca::new(), Ca::new());
    let files = Files::new(&ca, "one");
    let mut access = AccessFiles::read(files.settings()).unwrap();
    let mut seen = access.accesses();
    access.look();
    assert!(!seen.has_changed().unwrap(), "nothing has changed");

    files.write(&other, "two");
    access.look();
    assert!(seen.has_changed().unwrap());
    seen.mark_unchanged();
    assert_eq!(password(&seen), Files::authorization("two"));

    let good = std::fs::read(files.path("key")).unwrap();
    std::fs::remove_file(files.path("basic")).unwrap();
    access.look();
    let complaint = access.0.complaint().borrow().clone().unwrap();
    assert!(complaint.contains("prometheus-basic-auth-file") && complaint.contains("cannot be read"), "{complaint}");
    std::fs::write(files.path("basic"), "elector:three").unwrap();
    std::fs::write(files.path("key"), ca.issue(&["elector"]).1).unwrap();
    access.look();
    let complaint = access.0.complaint().borrow().clone().unwrap();
    assert!(complaint.contains("prometheus-client-key-file") && complaint.contains("is no key for"), "{complaint}");
    assert!(!seen.has_changed().unwrap(), "all of the last good ones stay");

    std::fs::write(files.path("key"), good).unwrap();
    access.look();
    assert_eq!((password(&seen), access.0.complaint().borrow().clone()), (Files::authorization("three"), None));
}

#[tokio::test(start_paused = true)]
async fn a_swapped_link_is_seen_within_a_second() {
    let dir = tempfile::tempdir().unwrap();
    for generation in ["one", "two"] {
        std::fs::create_dir(dir.path().join(generation)).unwrap();
        std::fs::write(dir.path().join(generation).join("token"), generation).unwrap();
    }
    symlink("one", dir.path().join("..data")).unwrap();
    symlink("..data/token", dir.path().join("token")).unwrap();
    let settings = AccessSettings {
        credentials: Some(CredentialsFile::Bearer(dir.path().join("token"))),
        ..AccessSettings::default()
    };
    let files = AccessFiles::read(settings).unwrap();
    let mut seen = files.accesses();
    tokio::spawn(files.follow());
    symlink("two", dir.path().join("..new")).unwrap();
    std::fs::rename(dir.path().join("..new"), dir.path().join("..data")).unwrap();
    let begin = Instant::now();
    seen.changed().await.unwrap();
    assert_eq!((password(&seen).as_str(), begin.elapsed()), ("Bearer two", PERIOD));
}

#[test]
fn what_is_wrong_at_the_start_names_the_flag_and_shows_no_secret() {
    let files = Files::new(&Ca::new(), "s3cret");
    let other_key = Ca::new().issue(&["elector"]).1;
    for (name, text, flag, words) in [
        ("ca", Some("s3cret"), "prometheus-ca-file", "no certificate in PEM"),
        ("cert", Some("s3cret"), "prometheus-client-cert-file", "no certificate in PEM"),
        ("key", Some("s3cret"), "prometheus-client-key-file", "no private key in PEM"),
        ("key", Some(other_key.as_str()), "prometheus-client-key-file", "is no key for"),
        ("basic", Some("s3cret"), "prometheus-basic-auth-file", "does not hold USER:PASSWORD"),
        ("basic", None, "prometheus-basic-auth-file", "cannot be read"),
    ] {
        let good = std::fs::read(files.path(name)).unwrap();
        match text {
            Some(text) => std::fs::write(files.path(name), text).unwrap(),
            None => std::fs::remove_file(files.path(name)).unwrap(),
        }
        let error = AccessFiles::read(files.settings()).err().unwrap();
        let (shown, debug) = (error.to_string(), format!("{error:?}"));
        assert!(shown.starts_with(flag) && shown.contains(words), "{shown}");
        assert!(!shown.contains("s3cret") && !debug.contains("s3cret"), "{shown} {debug}");
        std::fs::write(files.path(name), good).unwrap();
    }
    let accesses = accesses(files.settings());
    let shown = format!("{:?} {:?}", accesses.borrow(), accesses.borrow().authorization());
    assert!(!shown.contains("s3cret") && !shown.contains(&Files::authorization("s3cret")), "{shown}");
}

/// Status and text, or the error in words.
async fn get(client: &LocalClient, url: &Url) -> Result<(StatusCode, String), String> {
    let answer = client.request(Method::GET, url).timeout(TIMEOUT).send().await.map_err(|error| cause(&error))?;
    Ok((answer.status(), answer.text().await.unwrap()))
}

#[tokio::test]
async fn the_local_client_presents_what_the_files_say_now() {
    let (ca, other) = (Ca::new(), Ca::new());
    let prometheus = TlsPrometheus::start(ca.acceptor(&["127.0.0.1"], &["h2", "http/1.1"], Some(&ca))).await;
    let url: Url = format!("https://{}/-/healthy", prometheus.address).parse().unwrap();
    let files = Files::new(&ca, "one");
    let mut access = AccessFiles::read(files.settings()).unwrap();
    let client = LocalClient::build([&url], TIMEOUT, access.accesses()).unwrap();
    assert_eq!(get(&client, &url).await.unwrap(), (StatusCode::OK, Files::authorization("one")));

    files.write(&other, "two");
    *prometheus.acceptor.lock().unwrap() = other.acceptor(&["127.0.0.1"], &[], Some(&other));
    let error = get(&client, &url).await.unwrap_err();
    assert!(error.contains(" (does prometheus-ca-file"), "{error}");
    access.look();
    assert_eq!(get(&client, &url).await.unwrap(), (StatusCode::OK, Files::authorization("two")));
}

#[tokio::test]
async fn what_is_missing_is_said_with_the_flag() {
    let ca = Ca::new();
    let prometheus = TlsPrometheus::start(ca.acceptor(&["127.0.0.1"], &[], None)).await;
    let url: Url = format!("https://{}/", prometheus.address).parse().unwrap();
    let files = Files::new(&ca, "one");
    let settings = AccessSettings { ca_file: Some(files.path("ca")), ..AccessSettings::default() };
    let client = LocalClient::build([&url], TIMEOUT, accesses(settings)).unwrap();
    assert_eq!(get(&client, &url).await.unwrap().0, StatusCode::UNAUTHORIZED);
    assert!(client.hint(&url, StatusCode::UNAUTHORIZED).contains("give prometheus-basic-auth-file"));
    let with_files = LocalClient::build([&url], TIMEOUT, accesses(files.settings())).unwrap();
    assert!(with_files.hint(&url, StatusCode::UNAUTHORIZED).contains("credentials of prometheus-basic-auth-file"));
    assert!(with_files.hint(&url, StatusCode::FORBIDDEN).contains("prometheus-basic-auth-file"));
    let mut with_user = url.clone();
    with_user.set_username("me").unwrap();
    assert!(with_files.hint(&with_user, StatusCode::UNAUTHORIZED).contains("credentials of the URL"));
    assert_eq!(with_files.hint(&url, StatusCode::SERVICE_UNAVAILABLE), "");

    *prometheus.acceptor.lock().unwrap() = ca.acceptor(&["127.0.0.1"], &[], Some(&ca));
    let error = get(&client, &url).await.unwrap_err();
    assert!(error.contains("see prometheus-client-cert-file"), "{error}");
}

#[tokio::test]
async fn a_certificate_proves_the_host_or_locally_the_own_name_or_always_the_one_that_is_set() {
    let ca = Ca::new();
    let prometheus = TlsPrometheus::start(ca.acceptor(&["p-0.prom"], &[], Some(&ca))).await;
    let url: Url = format!("https://{}/", prometheus.address).parse().unwrap();
    let files = Files::new(&ca, "one");
    let wanted = name("p-0.prom");
    for (server_name, own_name, is_good) in [
        (None, None, false),
        (None, Some(name("p-1.prom")), false),
        (None, Some(wanted.clone()), true),
        (Some(wanted.clone()), None, true),
        // What is set is not widened by anything else.
        (Some(name("127.0.0.1")), Some(wanted.clone()), false),
    ] {
        let settings = AccessSettings { server_name, own_name, ..files.settings() };
        let case = format!("{settings:?}");
        let client = LocalClient::build([&url], TIMEOUT, accesses(settings)).unwrap();
        match get(&client, &url).await {
            Ok((status, _)) => assert!(is_good && status == StatusCode::OK, "{case}"),
            Err(error) => assert!(!is_good && error.contains("prometheus-tls-server-name"), "{case}: {error}"),
        }
    }
}

#[tokio::test]
async fn the_name_of_a_certificate_opens_no_door_to_another_authority() {
    let (ca, other) = (Ca::new(), Ca::new());
    let prometheus = TlsPrometheus::start(other.acceptor(&["p-0.prom"], &[], None)).await;
    let url: Url = format!("https://{}/", prometheus.address).parse().unwrap();
    let files = Files::new(&ca, "one");
    let settings = AccessSettings { own_name: Some(name("p-0.prom")), ..files.settings() };
    let client = LocalClient::build([&url], TIMEOUT, accesses(settings)).unwrap();
    assert!(get(&client, &url).await.unwrap_err().contains(" (does prometheus-ca-file"));
}
