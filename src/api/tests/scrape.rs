//! A real Prometheus scrapes the endpoint: it must take every family, under the names and types of REFERENCE.md.

use std::net::TcpListener as StdListener;
use std::process::Stdio;

use serde_json::Value;
use tokio::process::Command;

use super::*;

const PATIENCE: Duration = Duration::from_mins(1);

#[tokio::test]
async fn a_real_prometheus_takes_every_family() {
    let (inputs, ends) = inputs(false);
    ends.leads("prom-0", true, Authority::SoleVoter);
    ends.notifier.errors.inc_by(3);
    let api = Api::bind(&ApiSettings {
        listen: "127.0.0.1:0".parse().unwrap(),
        admin_listen: "127.0.0.1:0".parse().unwrap(),
        web_config_file: None,
    })
    .unwrap();
    let target = api.public_addr;
    let drain = CancellationToken::new();
    let served = tokio::spawn(api.serve(inputs, drain.clone().into(), Duration::ZERO));

    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("prometheus.yml");
    let text = format!(
        "global: {{scrape_interval: 200ms, scrape_timeout: 200ms}}\nscrape_configs:\n- job_name: elector\n  \
         metrics_path: /_elector/metrics\n  static_configs: [{{targets: ['{target}']}}]\n"
    );
    std::fs::write(&config, text).unwrap();
    let web = StdListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let program = std::env::var("PROMETHEUS").unwrap_or_else(|_| "/usr/bin/prometheus".to_owned());
    let mut prometheus = Command::new(&program)
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--storage.tsdb.path={}", directory.path().join("data").display()))
        .arg(format!("--web.listen-address={web}"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap_or_else(|error| panic!("cannot start {program} ({error}): install the package prometheus"));

    let client = Client { web };
    let up = client.eventually("/api/v1/query?query=up%3E0").await;
    assert_eq!(up[0]["metric"]["job"], "elector");
    let leader = client.eventually("/api/v1/query?query=prometheus_elector_election_is_leader").await;
    assert_eq!(leader[0]["metric"]["member_id"], "prom-0");
    assert_eq!(leader[0]["value"][1], "1");
    let left = client.eventually("/api/v1/query?query=prometheus_elector_election_authority_left_seconds").await;
    assert_eq!(left[0]["value"][1], "+Inf");
    let errors = client.eventually("/api/v1/query?query=prometheus_elector_notifier_calls_errors").await;
    assert_eq!(errors[0]["value"][1], "3");
    client.eventually("/api/v1/query?query=prometheus_elector_notifier_calls_total").await;

    let metadata = client.eventually("/api/v1/targets/metadata?metric=prometheus_elector_notifier_calls_errors").await;
    assert_eq!(metadata[0]["type"], "unknown", "scraped as OpenMetrics");

    prometheus.kill().await.unwrap();
    drain.cancel();
    served.await.unwrap();
}

struct Client {
    web: SocketAddr,
}

impl Client {
    /// The result of a query once it is not empty.
    async fn eventually(&self, path: &str) -> Value {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let answer = self.get(path).await;
            // A query's result is an object with a `result`, metadata are a list.
            let found = answer.as_ref().map(|answer| &answer["data"]);
            let found = found.map(|data| if data.is_array() { data } else { &data["result"] });
            if let Some(result) = found.filter(|result| result.as_array().is_some_and(|list| !list.is_empty())) {
                return result.clone();
            }
            assert!(tokio::time::Instant::now() < deadline, "{path} gave nothing within {PATIENCE:?}: {answer:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn get(&self, path: &str) -> Option<Value> {
        let stream = tokio::net::TcpStream::connect(self.web).await.ok()?;
        let io = hyper_util::rt::TokioIo::new(stream);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.ok()?;
        let _connection = AbortOnDropHandle::new(tokio::spawn(connection));
        let request = http::Request::get(path).header("host", "localhost").body(Body::empty()).unwrap();
        let body = sender.send_request(request).await.ok()?.into_body().collect().await.ok()?.to_bytes();
        serde_json::from_slice(&body).ok()
    }
}
