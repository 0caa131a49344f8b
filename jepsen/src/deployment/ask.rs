//! What a member says when it is asked.

use std::net::Ipv4Addr;

use anyhow::{Context as _, Result};
use reqwest::Client;
use serde_json::Value;
use test_support::http;

use super::options::API_PORT;

/// Answer of `/_elector/leader`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// This member holds authority.
    pub is_leader: bool,
    /// Name of the leader; empty if none is known.
    pub name: String,
    /// Term.
    pub term: u64,
}

/// Asks the member at this address who leads.
pub(super) async fn leader(client: &Client, address: Ipv4Addr) -> Result<Answer> {
    let answer = http::get_json(client, &format!("http://{address}:{API_PORT}/_elector/leader")).await?;
    parse(&answer).with_context(|| format!("an answer without `is_leader`, `current_leader` and `term`: {answer}"))
}

fn parse(answer: &Value) -> Option<Answer> {
    let name = answer["current_leader"].as_str()?.to_owned();
    Some(Answer { is_leader: answer["is_leader"].as_bool()?, name, term: answer["term"].as_u64()? })
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
        assert_eq!(parse(&json!({"is_leader": true, "current_leader": "prom-0"})), None);
    }
}
