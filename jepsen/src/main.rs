//! `jepsen run | list`.

use std::process::ExitCode;

use clap::Parser as _;
use jepsen::cli::{Arguments, main as run};

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("jepsen: {error:#}");
            ExitCode::from(2)
        }
    }
}
