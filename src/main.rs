//! Arguments, logging, build, wait for a signal, exit code.

fn main() {}
