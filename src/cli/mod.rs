//! Subcommands that do not run the sidecar: `render`, `check-config`, `recover`, and the clients of a running sidecar.
//!
//! Each is a function from plain inputs to what it prints; [`finish`] prints it and makes the exit code: 0, or 1 with
//! one message on standard error. Clients talk to the loopback admin address, which answers as long as the process
//! lives, also when the API is saturated. Output has no colours and fits into 80 columns;
//! only `status --watch` moves the cursor, and only on a terminal.

mod client;
mod offline;
mod table;
mod watch;

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use elector_raft::StoreError;

pub use client::{cordon, member_list, member_remove, shutdown, status, status_check, step_down, uncordon};
pub use offline::{check_config, recover, render};
pub use watch::watch;

/// What a subcommand prints.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// For standard output.
    pub text: Vec<u8>,
    /// For standard error, one a line.
    pub warnings: Vec<String>,
}

impl From<String> for Output {
    fn from(text: String) -> Self {
        Self { text: text.into_bytes(), warnings: Vec::new() }
    }
}

/// Why a subcommand failed.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// Nothing listens on the admin address.
    #[error(
        "no sidecar answers on {address} ({source}). Is it running in this pod or on this host? If it was started with \
         another --admin-listen-address, give the same one here or set PROMETHEUS_ELECTOR_ADMIN_LISTEN_ADDRESS"
    )]
    NotRunning {
        /// The address tried.
        address: SocketAddr,
        /// The system's answer.
        source: std::io::Error,
    },
    /// Another member's API cannot be reached.
    #[error("no member's API answers on {address} ({source}). Is it the HOST:PORT of its --api-listen-address?")]
    NoMember {
        /// HOST:PORT as it was given.
        address: String,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A connection was made, but no whole answer came.
    #[error("the sidecar on {address} gave no answer within {} s", after.as_secs())]
    NoAnswer {
        /// The address tried.
        address: SocketAddr,
        /// How long it was waited for.
        after: Duration,
    },
    /// What came is not an answer of a sidecar.
    #[error(
        "what answers on {address} is not a prometheus-elector of a version that this one understands: {why}. Check \
         --admin-listen-address"
    )]
    NotASidecar {
        /// The address tried.
        address: SocketAddr,
        /// What is wrong.
        why: String,
    },
    /// The sidecar refused.
    #[error("{0}")]
    Refused(String),
    /// Another member can do it.
    #[error("{error}. Run it on that member: `{command}`")]
    AskLeader {
        /// The sidecar's words, with the leader's name.
        error: String,
        /// What to run there.
        command: String,
    },
    /// The durable state of the group cannot be changed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The text cannot be shown.
    #[error("cannot write to standard output: {0}")]
    Write(std::io::Error),
    /// No runtime for the request.
    #[error("cannot start: {0}")]
    Runtime(std::io::Error),
    /// The source file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// Its path.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The source file is wrong.
    #[error("{}: {error}", path.display())]
    Config {
        /// Its path.
        path: PathBuf,
        /// What is wrong with it.
        error: String,
    },
}

/// Prints the outcome of a subcommand and tells the exit code.
pub fn finish(outcome: Result<Output, CliError>) -> ExitCode {
    match outcome {
        Ok(output) => {
            for warning in &output.warnings {
                eprintln!("warning: {warning}");
            }
            let mut stdout = std::io::stdout().lock();
            match stdout.write_all(&output.text).and_then(|()| stdout.flush()) {
                Ok(()) => ExitCode::SUCCESS,
                // `status | head -1` is no failure.
                Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
                Err(error) => {
                    eprintln!("error: {}", CliError::Write(error));
                    ExitCode::FAILURE
                }
            }
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
