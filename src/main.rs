//! Arguments, logging, build, wait for a signal, exit code.
//!
//! Exit codes: 0 done, 1 failed, 2 wrong usage.

use std::process::ExitCode;

use prometheus_elector::config::{self, Command, Environment, logging};
use prometheus_elector::discovery::host::HostNames;

fn main() -> ExitCode {
    let host = HostNames { host: rustix::system::uname().nodename().to_string_lossy().into_owned(), fqdn: None };
    let (command, logs) = match config::parse(std::env::args_os(), &Environment::of_process(host)) {
        Ok(parsed) => parsed,
        Err(error) => {
            error.print();
            return ExitCode::from(error.exit_code());
        }
    };
    match logging::init(&logs).map_err(anyhow::Error::from).and_then(|()| dispatch(command)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("prometheus-elector: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "every command hands its settings on")]
fn dispatch(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Run(_)
        | Command::Init(_)
        | Command::Render { .. }
        | Command::CheckConfig { .. }
        | Command::Status { .. }
        | Command::StepDown(_)
        | Command::Cordon(_)
        | Command::Uncordon(_)
        | Command::MemberList(_)
        | Command::MemberRemove { .. }
        | Command::Recover { .. } => anyhow::bail!("this build reads its command line only"),
    }
}
