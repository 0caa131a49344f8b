//! The status page as a person sees it: a real group with the gate on, in a real browser.
//!
//! `SCREENSHOTS=dir` leaves pictures of it there: docs/status-page.png is one of them.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use test_support::browser::{Browser, Scheme};
use test_support::cluster::TAKEOVER_MAX;
use test_support::gated::{self, Gated};
use test_support::receiver::behaviour::Behaviour;
use test_support::sidecar::find_binary;
use test_support::wait::eventually;

/// A phone, and a small screen.
const WIDTHS: [u32; 2] = [360, 1280];
/// Ratio of text to what is behind it, of WCAG 2.2, level AA.
const CONTRAST_MIN: f64 = 4.5;

/// Texts with the least contrast, as `[ratio, text]`: each background is painted over those below it, as a browser does.
const CONTRASTS: &str = r#"(() => {
  const canvas = document.createElement("canvas"); canvas.width = canvas.height = 1;
  const paint = canvas.getContext("2d", { willReadFrequently: true });
  const over = colour => { paint.fillStyle = colour; paint.fillRect(0, 0, 1, 1); };
  const light = () => {
    const [r, g, b] = [...paint.getImageData(0, 0, 1, 1).data].map(v => v / 255).map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
    return .2126 * r + .7152 * g + .0722 * b;
  };
  return [...document.querySelectorAll("body *")].filter(e => e.checkVisibility({ visibilityProperty: true }) &&
      [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()) && !["SCRIPT", "STYLE"].includes(e.tagName)).map(e => {
    const chain = []; for (let at = e; at; at = at.parentElement) chain.unshift(at);
    over("white"); chain.forEach(at => over(getComputedStyle(at).backgroundColor));
    const back = light(); over(getComputedStyle(e).color); const front = light();
    return [(Math.max(back, front) + .05) / (Math.min(back, front) + .05), e.textContent.trim().slice(0, 40)];
  }).sort((a, b) => a[0] - b[0]).slice(0, 3);
})()"#;

#[tokio::test]
async fn the_page_of_a_follower_shows_the_group_and_a_change_of_leader_without_a_reload() -> Result<()> {
    let binary = find_binary(Some(env!("CARGO_BIN_EXE_prometheus-elector")))?;
    let (mut gated, leader) = Gated::start(&gated::options("page", binary, 200, true)?, Behaviour::Accept).await?;
    let follower = gated.cluster.follower(leader)?;
    let mut browser = Browser::open(&gated.cluster.members[follower].sidecar.url("/_elector")).await?;
    browser.evaluate("window.sameDocument = true").await?;
    wait_shows(&mut browser, &gated, follower, leader).await?;
    wait_text(&mut browser, "#authority", "held authority within the last").await?;
    looks_well_everywhere(&mut browser, "before").await?;

    let old = gated.cluster.tenure()?;
    gated.cluster.members[leader].kill()?;
    let next = gated.wait_next_writer(&old).await?;
    wait_shows(&mut browser, &gated, follower, next).await?;
    let silent = gated.cluster.members[leader].name.clone();
    wait_text(&mut browser, &format!("tr[data-name={silent}]"), "silent").await?;
    wait_text(&mut browser, "#warnings", &format!("no word from {silent}")).await?;
    looks_well_everywhere(&mut browser, "silent").await?;
    gated.cluster.members[leader].start().await?;
    gated.wait_whole().await?;
    wait_shows(&mut browser, &gated, follower, next).await?;
    looks_well_everywhere(&mut browser, "after").await?;
    ensure!(browser.errors().is_empty(), "the page did something wrong: {:#?}", browser.errors());

    gated.cluster.members[follower].sidecar.kill()?;
    wait_text(&mut browser, "#lost", "Connection lost.").await?;
    wait_text(&mut browser, "#authority", "authority unknown").await?;
    looks_well_everywhere(&mut browser, "lost").await?;
    gated.cluster.members[follower].sidecar.start()?;
    let next = gated.wait_whole().await?;
    eventually(TAKEOVER_MAX, "the page to see that its member is back", async || {
        ensure!(browser.text("#lost").await?.is_empty(), "it says: {}", browser.text("#lost").await?);
        Ok(())
    })
    .await?;
    wait_shows(&mut browser, &gated, follower, next).await?;
    ensure!(browser.evaluate("window.sameDocument").await? == true, "the page was loaded anew");

    browser.go(&gated.cluster.members[next].sidecar.url("/_elector/")).await?;
    wait_text(&mut browser, "#left", "ms left unless renewed").await?;
    wait_shows(&mut browser, &gated, next, next).await?;
    looks_well_everywhere(&mut browser, "leader").await?;
    gated.cluster.finish()
}

/// Waits until the page of one member shows what its status tells, with this leader.
async fn wait_shows(browser: &mut Browser, gated: &Gated, of: usize, leader: usize) -> Result<()> {
    let members = &gated.cluster.members;
    let name = &members[leader].name;
    eventually(TAKEOVER_MAX, &format!("the page of {} to show {name} as the leader", members[of].name), async || {
        let status = members[of].sidecar.status().await?;
        ensure!(browser.text("#leader").await? == *name, "it shows {}", browser.text("#leader").await?);
        let (shown, term) = (browser.text("#term").await?, status.0["term"].as_u64());
        ensure!(shown.parse().ok() == term, "term {shown}, not {term:?}");
        let shown = browser.text("#members tbody").await?;
        for member in members.iter().filter(|member| member.sidecar.started()) {
            let hash =
                member.sidecar.status().await?.config()["applied_hash"].as_str().map(|hash| hash[..12].to_owned());
            let hash = hash.with_context(|| format!("{} has applied nothing yet", member.name))?;
            ensure!(shown.contains(&member.name) && shown.contains(&hash), "not {}, {hash}: {shown}", member.name);
        }
        let written = browser.text(&format!("#writes tr[data-name={name}]")).await?;
        ensure!(written.contains("writes"), "the leader's remote write: {written}");
        let warnings = browser.text("#warnings").await?;
        for warning in status.0["warnings"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            ensure!(warnings.contains(warning), "no `{warning}` in {warnings}");
        }
        let newest = browser.text("#terms tbody tr").await?;
        ensure!(newest.contains(name.as_str()) && newest.contains("leads now"), "the newest term: {newest}");
        Ok(())
    })
    .await
}

async fn wait_text(browser: &mut Browser, selector: &str, wanted: &str) -> Result<()> {
    eventually(TAKEOVER_MAX, &format!("`{wanted}` in {selector}"), async || {
        let shown = browser.text(selector).await?;
        ensure!(shown.contains(wanted), "{shown}");
        Ok(())
    })
    .await
}

/// No sideways scrolling and enough contrast, on a phone and on a screen, light and dark.
async fn looks_well_everywhere(browser: &mut Browser, moment: &str) -> Result<()> {
    let pictures = std::env::var_os("SCREENSHOTS").map(PathBuf::from);
    for width in WIDTHS {
        for scheme in [Scheme::Light, Scheme::Dark] {
            browser.look(width, scheme).await?;
            let page = browser
                .evaluate("[innerWidth, document.scrollingElement.scrollWidth, document.scrollingElement.clientWidth]")
                .await?;
            ensure!(page == json!([width, width, width]), "{width} {scheme:?}: window, content, view: {page}");
            let contrasts = browser.evaluate(CONTRASTS).await?;
            let least = contrasts[0][0].as_f64().context("a page with text")?;
            ensure!(least >= CONTRAST_MIN, "{width} {scheme:?}: {contrasts}");
            if let Some(dir) = &pictures {
                browser.screenshot(&dir.join(format!("{moment}-{width}-{scheme:?}.png").to_lowercase())).await?;
            }
        }
    }
    Ok(())
}
