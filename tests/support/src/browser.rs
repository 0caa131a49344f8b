//! A headless Chromium that shows one page, driven by its `DevTools` protocol.
//!
//! ```text
//! test -> {"id", "method", "params"} NUL -> descriptor 3 of Chromium (its `--remote-debugging-pipe`)
//! test <- answers and events, NUL after each <- descriptor 4
//! ```
//!
//! Errors of the page (exceptions, `console.error`, refused by its policy) are kept and asked for at the end. Chromium ends
//! with its pipe, so also when the test is killed.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use base64::Engine as _;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::workdir::WorkDir;

/// Longest wait for an answer: the first one comes when a busy machine has started Chromium.
const ANSWER_MAX: Duration = Duration::from_secs(60);
/// Names of the program, the first that is found counts.
const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome-stable", "google-chrome"];

/// Which colours the reader of the page prefers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Dark on light.
    Light,
    /// Light on dark.
    Dark,
}

/// Chromium, with one page open.
pub struct Browser {
    // Ended when it is dropped.
    _process: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    session: Option<String>,
    asked: u64,
    errors: Vec<String>,
    _profile: WorkDir,
}

/// The program that `CHROMIUM` names, else the first one in `PATH`.
fn find() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("CHROMIUM").filter(|path| !path.is_empty()) {
        return Ok(path.into());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = NAMES.iter().flat_map(|name| std::env::split_paths(&path).map(move |dir| dir.join(name)));
    found.into_iter().find(|program| program.is_file()).context(
        "no Chromium: run `tests/setup/tools chromium` (as root on Debian or Ubuntu), or name one with CHROMIUM=path",
    )
}

impl Browser {
    /// Starts it and opens a page.
    pub async fn open(url: &str) -> Result<Self> {
        let profile = WorkDir::new("browser")?;
        let program = find()?;
        let log = std::fs::File::create(profile.path().join("chromium.log"))?;
        // The protocol wants descriptors 3 and 4; a shell gives it those of a plain pipe.
        let mut process = Command::new("sh")
            .args(["-c", r#"exec "$@" 3<&0 4>&1 </dev/null >/dev/null"#, "sh"])
            .arg(&program)
            .args(["--headless=new", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu", "--no-first-run"])
            .args([
                "--disable-dev-shm-usage",
                "--disable-background-networking",
                "--no-proxy-server",
                "--hide-scrollbars",
            ])
            .arg(format!("--user-data-dir={}", profile.path().join("profile").display()))
            .env("HOME", profile.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("start {}", program.display()))?;
        let to = process.stdin.take().context("its input")?;
        let from = BufReader::new(process.stdout.take().context("its output")?);
        let mut browser =
            Self { _process: process, to, from, session: None, asked: 0, errors: Vec::new(), _profile: profile };
        let target = browser.ask("Target.createTarget", json!({"url": "about:blank"})).await?;
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let attached = browser.ask("Target.attachToTarget", attach).await?;
        browser.session = attached["sessionId"].as_str().map(ToOwned::to_owned);
        for domain in ["Page", "Runtime", "Log"] {
            browser.ask(&format!("{domain}.enable"), json!({})).await?;
        }
        browser.go(url).await?;
        Ok(browser)
    }

    /// Opens another page.
    pub async fn go(&mut self, url: &str) -> Result<()> {
        let opened = self.ask("Page.navigate", json!({"url": url})).await?;
        ensure!(opened["errorText"].is_null(), "open {url}: {}", opened["errorText"]);
        Ok(())
    }

    /// The value of an expression in the page.
    pub async fn evaluate(&mut self, expression: &str) -> Result<Value> {
        let ask = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let answer = self.ask("Runtime.evaluate", ask).await?;
        ensure!(answer["exceptionDetails"].is_null(), "`{expression}`: {}", answer["exceptionDetails"]);
        Ok(answer["result"]["value"].clone())
    }

    /// Text of the first element that a selector finds, as it is shown; empty if it is hidden.
    pub async fn text(&mut self, selector: &str) -> Result<String> {
        let find = format!("document.querySelector({})", json!(selector));
        let shown = self.evaluate(&format!("(e => e.checkVisibility() ? e.innerText : '')({find})")).await?;
        shown.as_str().map(ToOwned::to_owned).with_context(|| format!("no text in {selector}"))
    }

    /// Shows the page in a window of this size (1000 pixels high), in these colours.
    pub async fn look(&mut self, width: u32, scheme: Scheme) -> Result<()> {
        let window = json!({"width": width, "height": 1000, "deviceScaleFactor": 1, "mobile": width < 600});
        self.ask("Emulation.setDeviceMetricsOverride", window).await?;
        let value = if scheme == Scheme::Dark { "dark" } else { "light" };
        let media = json!({"features": [{"name": "prefers-color-scheme", "value": value}]});
        self.ask("Emulation.setEmulatedMedia", media).await?;
        Ok(())
    }

    /// Writes the whole page as a picture.
    pub async fn screenshot(&mut self, file: &Path) -> Result<()> {
        let taken = self.ask("Page.captureScreenshot", json!({"captureBeyondViewport": true})).await?;
        let picture = taken["data"].as_str().context("a picture")?;
        std::fs::write(file, base64::prelude::BASE64_STANDARD.decode(picture)?)?;
        Ok(())
    }

    /// Everything that the page did wrong so far.
    pub fn errors(&self) -> &[String] {
        &self.errors
    }

    async fn ask(&mut self, method: &str, params: Value) -> Result<Value> {
        let answer = tokio::time::timeout(ANSWER_MAX, self.exchange(method, params));
        answer.await.with_context(|| format!("no answer to {method} within {ANSWER_MAX:?}"))?
    }

    async fn exchange(&mut self, method: &str, params: Value) -> Result<Value> {
        self.asked += 1;
        let mut message = json!({"id": self.asked, "method": method, "params": params});
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        let mut bytes = serde_json::to_vec(&message)?;
        bytes.push(0);
        self.to.write_all(&bytes).await.context("Chromium has ended")?;
        loop {
            let mut bytes = Vec::new();
            self.from.read_until(0, &mut bytes).await?;
            ensure!(bytes.pop() == Some(0), "Chromium has ended");
            let message: Value = serde_json::from_slice(&bytes)?;
            if message["id"] == self.asked {
                if !message["error"].is_null() {
                    bail!("{method}: {}", message["error"]);
                }
                return Ok(message["result"].clone());
            }
            self.errors.extend(error_in(&message));
        }
    }
}

/// What an event tells that is wrong with the page.
fn error_in(event: &Value) -> Option<String> {
    let params = &event["params"];
    let wrong = match event["method"].as_str()? {
        "Runtime.exceptionThrown" => &params["exceptionDetails"],
        "Runtime.consoleAPICalled" if params["type"] == "error" => &params["args"],
        "Log.entryAdded" if params["entry"]["level"] == "error" => &params["entry"],
        _ => return None,
    };
    Some(wrong.to_string())
}
