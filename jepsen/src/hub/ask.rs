//! What a member says when it is asked.

use std::net::Ipv4Addr;

use anyhow::{Context as _, Result, ensure};
use reqwest::{Client, StatusCode};
use serde_json::Value;
use test_support::http;

use super::API_PORT;

/// Answer of `/_elector/leader`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// This member holds authority.
    pub is_leader: bool,
    /// Name of the leader; empty if none is known.
    pub name: String,
    /// Term; 0 from an elector that has none.
    pub term: u64,
}

/// Asks the member at this address who leads.
pub(super) async fn leader(client: &Client, address: Ipv4Addr) -> Result<Answer> {
    let answer = http::get_json(client, &format!("http://{address}:{API_PORT}/_elector/leader")).await?;
    parse(&answer).with_context(|| format!("an answer without `is_leader` and `current_leader`: {answer}"))
}

fn parse(answer: &Value) -> Option<Answer> {
    let name = answer["current_leader"].as_str()?.to_owned();
    Some(Answer { is_leader: answer["is_leader"].as_bool()?, name, term: answer["term"].as_u64().unwrap_or(0) })
}

/// An error unless the member at this address says that it is ready.
pub(super) async fn ready(client: &Client, address: Ipv4Addr, path: &str) -> Result<()> {
    let answer = client.get(format!("http://{address}:{API_PORT}{path}")).send().await?;
    let code = answer.status();
    ensure!(code == StatusCode::OK, "{code}: {}", answer.text().await?);
    Ok(())
}

/// The status of the member at this address.
pub(super) async fn status(client: &Client, address: Ipv4Addr) -> Result<Value> {
    http::get_json(client, &format!("http://{address}:{API_PORT}/_elector/status")).await
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_answer_is_read_by_its_keys() {
        let answer = json!({"is_leader": true, "current_leader": "prom-0", "term": 4, "more": 1});
        assert_eq!(parse(&answer), Some(Answer { is_leader: true, name: "prom-0".into(), term: 4 }));
        let of_another_kind = parse(&json!({"is_leader": false, "current_leader": ""}));
        assert_eq!(of_another_kind, Some(Answer { is_leader: false, name: String::new(), term: 0 }));
        assert_eq!(parse(&json!({"current_leader": "prom-0"})), None);
    }
}
