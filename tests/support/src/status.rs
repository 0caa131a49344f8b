//! What a sidecar tells over HTTP, read as a script of a user would: by key, tolerant of more keys.

use anyhow::{Context, Result};
use serde_json::Value;

/// Answer of `/_elector/leader`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaderAnswer {
    /// This member holds authority.
    pub is_leader: bool,
    /// Name of the leader; empty if none is known.
    pub current_leader: String,
    /// Raft term.
    pub term: u64,
}

impl LeaderAnswer {
    pub(crate) fn parse(answer: &Value) -> Result<Self> {
        let parts = (answer["is_leader"].as_bool(), answer["current_leader"].as_str(), answer["term"].as_u64());
        let (Some(is_leader), Some(current_leader), Some(term)) = parts else {
            anyhow::bail!("/_elector/leader without `is_leader`, `current_leader` and `term`: {answer}");
        };
        Ok(Self { is_leader, current_leader: current_leader.into(), term })
    }
}

/// Answer of `/_elector/status`.
#[derive(Clone, Debug)]
pub struct Status(pub Value);

/// One member in a [`Status`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberView {
    /// Name.
    pub name: String,
    /// Node id.
    pub id: String,
    /// `voter`, `learner`, `witness` or `candidate`.
    pub kind: String,
}

impl Status {
    /// The group's part.
    pub fn group(&self) -> &Value {
        &self.0["group"]
    }

    /// State of the configuration.
    pub fn config(&self) -> &Value {
        &self.0["config"]
    }

    /// Own node id.
    pub fn node_id(&self) -> Result<String> {
        text(self.group(), "node_id")
    }

    /// Id of the group, once there is one.
    pub fn cluster_id(&self) -> Option<String> {
        self.group()["cluster_id"].as_str().map(ToOwned::to_owned)
    }

    /// Members, by name.
    pub fn members(&self) -> Result<Vec<MemberView>> {
        let members = self.group()["members"].as_array().context("a status without members")?;
        let view = |member: &Value| {
            Ok(MemberView { name: text(member, "name")?, id: text(member, "id")?, kind: text(member, "kind")? })
        };
        members.iter().map(view).collect()
    }

    /// Names of the voters, sorted.
    pub fn voters(&self) -> Result<Vec<String>> {
        let mut names: Vec<_> =
            self.members()?.into_iter().filter(|member| member.kind == "voter").map(|member| member.name).collect();
        names.sort();
        Ok(names)
    }

    /// What the gate tells of the entry with this name.
    pub fn remote(&self, name: &str) -> Result<&Value> {
        let remotes = self.0["gate"]["remotes"].as_array().context("a status without gated entries")?;
        remotes
            .iter()
            .find(|remote| remote["name"] == name)
            .with_context(|| format!("no entry `{name}` in {remotes:?}"))
    }

    /// Everything that an operator should know.
    pub fn warnings(&self) -> Vec<&str> {
        self.0["warnings"].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
    }

    /// Whether the own Prometheus can do the leader's work.
    pub fn eligible(&self) -> bool {
        self.0["eligible"] == true
    }

    /// Why the newest source file or reload was not accepted.
    pub fn last_error(&self) -> Option<&str> {
        self.config()["last_error"].as_str()
    }

    /// `leader` or `follower`: the configuration that Prometheus accepted last.
    pub fn applied_role(&self) -> Option<&str> {
        self.config()["applied_role"].as_str()
    }

    /// Whether what Prometheus accepted last is what should be in force.
    pub fn config_in_force(&self) -> bool {
        let config = self.config();
        config["desired_hash"].is_string() && config["desired_hash"] == config["applied_hash"]
    }
}

fn text(value: &Value, key: &str) -> Result<String> {
    value[key].as_str().map(ToOwned::to_owned).with_context(|| format!("no `{key}` in {value}"))
}
