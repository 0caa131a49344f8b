//! `jepsen run | list`.

use clap::Parser as _;
use jepsen::cli::{Arguments, main as run};

fn main() -> anyhow::Result<()> {
    run(Arguments::parse())
}
