//! Arguments, logging, build, wait for a signal, exit code.
//!
//! Exit codes: 0 done, 1 failed, 2 wrong usage.

use std::process::ExitCode;

use prometheus_elector::cli::{self, CliError, Output};
use prometheus_elector::config::{self, Command, Environment, StatusForm, logging};
use prometheus_elector::{app, discovery};

fn main() -> ExitCode {
    let environment = Environment::of_process(discovery::host::read());
    let (command, logs) = match config::parse(std::env::args_os(), &environment) {
        Ok(parsed) => parsed,
        Err(error) => {
            error.print();
            return ExitCode::from(error.exit_code());
        }
    };
    match command {
        Command::Run(settings) => with_logs(&logs, || app::run(*settings)),
        Command::Init(settings) => with_logs(&logs, || app::init(&settings)),
        command => cli::finish(ask(command)),
    }
}

fn with_logs(logs: &config::LogSettings, run: impl FnOnce() -> anyhow::Result<()>) -> ExitCode {
    match logging::init(logs).map_err(anyhow::Error::from).and_then(|()| run()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = %format!("{error:#}"), "prometheus-elector failed");
            ExitCode::FAILURE
        }
    }
}

/// The commands that print an answer and end.
fn ask(command: Command) -> Result<Output, CliError> {
    match command {
        Command::Render { source, role, gate } => cli::render(&source, role, gate),
        Command::CheckConfig { source, gate } => cli::check_config(&source, gate),
        Command::CheckFlags(warnings) => Ok(Output { text: b"ok\n".to_vec(), warnings }),
        Command::Status { whom, form: StatusForm::Once { json } } => wait(cli::status(&whom, json)),
        Command::Status { whom, form: StatusForm::Watch { json } } => wait(cli::watch(&whom, json)),
        Command::Status { whom, form: StatusForm::Check } => wait(cli::status_check(&whom)),
        Command::Shutdown { client, wait_for_others } => wait(cli::shutdown(client.admin, wait_for_others)),
        Command::StepDown(client) => wait(cli::step_down(client.admin)),
        Command::Cordon(client) => wait(cli::cordon(client.admin)),
        Command::Uncordon(client) => wait(cli::uncordon(client.admin)),
        Command::MemberList(client) => wait(cli::member_list(client.admin)),
        Command::MemberRemove { client, name } => wait(cli::member_remove(client.admin, &name)),
        Command::Recover { client, data_dir } => wait(cli::recover(client.admin, &data_dir)),
        // Handled before: they log instead of printing.
        Command::Run(_) | Command::Init(_) => Ok(Output::default()),
    }
}

fn wait(answer: impl Future<Output = Result<Output, CliError>>) -> Result<Output, CliError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(CliError::Runtime)?;
    runtime.block_on(answer)
}
