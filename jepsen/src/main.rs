//! `jepsen run | check | list`.

use std::process::ExitCode;

use clap::Parser as _;
use jepsen::checkers::Outcome;
use jepsen::cli::{Arguments, main as run};

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(Outcome::Pass) => ExitCode::SUCCESS,
        Ok(Outcome::Fail) => ExitCode::FAILURE,
        Ok(Outcome::Unknown) => ExitCode::from(2),
        Err(error) => {
            eprintln!("jepsen: {error:#}");
            ExitCode::from(2)
        }
    }
}
