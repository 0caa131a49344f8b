//! Subcommands and the command line.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use test_support::cluster::{Cluster, Options, TAKEOVER_MAX};
use test_support::net::Block;
use test_support::sidecar::{Flags, Sidecar};
use test_support::wait::eventually;

use crate::options;

#[tokio::test]
async fn status_shows_the_group_as_a_table_and_as_json() -> Result<()> {
    let mut cluster = Cluster::start(&options("status")?).await?;
    let leader = cluster.wait_settled().await?;
    let follower = &cluster.members[cluster.follower(leader)?].sidecar;
    let table = follower.command(&["status"]).await?.ok()?;
    for member in &cluster.members {
        ensure!(table.contains(&member.name), "no {} in:\n{table}", member.name);
    }
    eventually(TAKEOVER_MAX, "a follower to tell the configuration of all", async || {
        let table = follower.command(&["status"]).await?.ok()?;
        for member in &cluster.members {
            let status = member.sidecar.status().await?;
            let hash =
                status.config()["applied_hash"].as_str().context("its configuration is in force")?[..12].to_owned();
            let told = table.lines().any(|line| line.starts_with(&member.name) && line.contains(&hash));
            ensure!(told, "not {hash} of {}:\n{table}", member.name);
        }
        Ok(())
    })
    .await?;
    let json: Value = serde_json::from_str(&follower.command(&["status", "--json"]).await?.ok()?)?;
    ensure!(json["leader"] == cluster.members[leader].name.as_str(), "{json}");
    let list = follower.command(&["member", "list"]).await?.ok()?;
    for member in &cluster.members {
        ensure!(list.contains(&member.name), "no {} in:\n{list}", member.name);
    }
    cluster.finish()
}

#[tokio::test]
async fn a_dead_member_is_removed_by_hand() -> Result<()> {
    let mut cluster = Cluster::start(&options("member-remove")?.members(4, 4)).await?;
    let leader = cluster.wait_settled().await?;
    let dead = cluster.follower(leader)?;
    let name = cluster.members[dead].name.clone();
    cluster.members[dead].kill()?;
    let living: Vec<usize> = (0..4).filter(|&index| index != dead).collect();
    cluster.publish(&living);
    let leader = &cluster.members[leader].sidecar;
    let said = leader.command(&["member", "remove", &name]).await?.ok()?;
    ensure!(said.contains(&name), "`{said}` does not name {name}");
    let refused = leader.command(&["member", "remove", "nobody"]).await?;
    ensure!(refused.code != 0, "a member that does not exist was removed: {refused:?}");
    cluster.wait_group(&living).await?;
    cluster.finish()
}

/// A sidecar that is never started, for commands that need none.
fn alone(flags: Flags) -> Result<(Sidecar, tempfile::TempDir)> {
    let dir = tempfile::tempdir()?;
    let Options { binary, .. } = options("alone")?;
    let sidecar = Sidecar::new("alone", &binary, Block::claim()?.storage(), flags, dir.path())?;
    Ok((sidecar, dir))
}

#[tokio::test]
async fn init_renders_the_follower_configuration_and_ends() -> Result<()> {
    let (mut sidecar, dir) = alone(Flags::default())?;
    let (source, output) = (dir.path().join("config.yaml"), dir.path().join("out.yml"));
    std::fs::write(
        &source,
        "follower: {global: {scrape_interval: 7s}}\nleader: {remote_write: [{url: 'http://x'}]}\n",
    )?;
    sidecar.flags.set("config", source.display()).set("output", output.display());
    sidecar.flags.set("lease-name", "x").set("lease-namespace", "x");
    sidecar.command(&["-init"]).await?.ok()?;
    let gated = std::fs::read_to_string(&output)?;
    ensure!(gated.contains("7s") && gated.contains("http://127.0.0.1:9097/write/x-"), "{gated}");
    sidecar.flags.set("remote-write-gate", "off");
    sidecar.command(&["-init"]).await?.ok()?;
    let rendered = std::fs::read_to_string(&output)?;
    ensure!(rendered.contains("7s") && !rendered.contains("remote_write"), "{rendered}");
    let leader = sidecar.command(&["render", "--role", "leader"]).await?.ok()?;
    ensure!(leader.contains("7s") && leader.contains("http://x"), "{leader}");
    ensure!(std::fs::read_to_string(&output)? == rendered, "render wrote the output file");
    sidecar.command(&["check-config"]).await?.ok()?;
    std::fs::write(&source, "folower: {}\n")?;
    let refused = sidecar.command(&["check-config"]).await?;
    ensure!(refused.code != 0 && refused.stderr.contains("folower"), "{refused:?}");
    Ok(())
}

#[tokio::test]
async fn all_mistakes_on_the_command_line_are_told_at_once() -> Result<()> {
    let (mut sidecar, _dir) = alone(Flags::default())?;
    sidecar.flags.set("lease-duration", "1s").set("lease-renew-deadline", "1s").set("notify-retry-max-attempts", 0);
    let refused = sidecar.command(&[]).await?;
    ensure!(refused.code == 2, "exit code {}: {}", refused.code, refused.stderr);
    for name in ["config", "output", "lease-renew-deadline", "notify-retry-max-attempts"] {
        ensure!(refused.stderr.contains(name), "{name} is not named in: {}", refused.stderr);
    }
    Ok(())
}
