//! The API behind TLS, client certificates and a password, by the very file that a real Prometheus takes for its own port
//! (`secured`).

use std::time::Duration;

use anyhow::{Result, ensure};
use test_support::cluster::TAKEOVER_MAX;
use test_support::net::{ADMIN_PORT, Block, RAFT_PORT};
use test_support::secured::Secured;
use test_support::sidecar::{Flags, Sidecar, find_binary};
use test_support::wait::eventually;
use test_support::workdir::WorkDir;

const TIMEOUT: Duration = Duration::from_secs(5);

#[tokio::test]
async fn the_api_asks_for_certificate_and_password_and_takes_new_ones_without_a_restart() -> Result<()> {
    let (block, dir) = (Block::claim()?, WorkDir::new("web-config")?);
    let secured = Secured::new(dir.path())?;
    let ip = block.member_ip(0);
    // The certificates are for 127.0.0.1.
    let api = block.prometheus(0);
    let mut flags = Flags::default();
    flags
        .set("witness", true)
        .set("member-id", "witness-0")
        .set("raft-bootstrap-expect", 1)
        .set("raft-data-dir", dir.path().join("raft").display())
        .set("raft-listen-address", format!("{ip}:{RAFT_PORT}"))
        .set("raft-advertise-address", format!("{ip}:{RAFT_PORT}"))
        .set("peers", format!("witness-0={ip}:{RAFT_PORT}"))
        .set("admin-listen-address", format!("{ip}:{ADMIN_PORT}"))
        .set("api-listen-address", api)
        .set("api-web-config-file", secured.file("web.yml").display());
    let mut sidecar = Sidecar::new(
        "witness-0",
        &find_binary(Some(env!("CARGO_BIN_EXE_prometheus-elector")))?,
        api,
        flags,
        dir.path(),
    )?;
    sidecar.start()?;
    // The subcommands go on, over loopback.
    eventually(TAKEOVER_MAX, "the sidecar to answer its subcommands", async || {
        sidecar.command(&["status"]).await?.ok()
    })
    .await?;
    let status = |client: reqwest::Client, path: &'static str| async move {
        Ok::<_, anyhow::Error>(client.get(format!("https://{api}{path}")).send().await?.status().as_u16())
    };
    let first = secured.client(TIMEOUT, true)?;
    ensure!(status(first.clone(), "/_elector/metrics").await? == 200);
    let stranger = secured.client(TIMEOUT, false)?;
    ensure!(status(stranger.clone(), "/_elector/metrics").await? == 401, "without a password");
    ensure!(status(stranger, "/_elector/livez").await? == 200, "probes need none");
    let plain = sidecar.get("/_elector/metrics").await;
    ensure!(plain.is_err(), "a plain client got {plain:?}");

    secured.change(1)?;
    eventually(TAKEOVER_MAX, "the new certificates and password", async || {
        let answer = status(secured.client(TIMEOUT, true)?, "/_elector/status").await?;
        ensure!(answer == 200, "{answer}");
        Ok(())
    })
    .await?;
    ensure!(status(first, "/_elector/metrics").await? == 401, "the old password, on a connection of before");
    let log = std::fs::read_to_string(dir.path().join("sidecar.log"))?;
    ensure!(!log.contains("-password") && !log.contains("$2b$"), "a secret in the log:\n{log}");
    Ok(())
}
