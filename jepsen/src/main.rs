//! `jepsen run | check | list`.

fn main() -> std::process::ExitCode {
    eprintln!("jepsen: not built yet");
    std::process::ExitCode::from(2)
}
