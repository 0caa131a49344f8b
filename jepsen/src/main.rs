//! The chaos and partition harness. It is an issue of its own; until then this binary says so and fails,
//! so that nobody takes it for a harness that passed.

fn main() -> std::process::ExitCode {
    eprintln!("jepsen: the chaos harness is not built yet; see the tests in tests/ and `make test-cluster`");
    std::process::ExitCode::from(2)
}
