//! Messages to a member: JSON lines, or a script (`raft/src/network/script.rs`). Seeds: `raft/tests/wire`.
#![no_main]

use std::cell::OnceCell;
use std::path::Path;

use elector_raft::fuzzing::Target;
use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;

thread_local! {
    /// One for all inputs, which libFuzzer gives from one thread; each input starts it anew.
    static TARGET: OnceCell<(Target, TempDir)> = const { OnceCell::new() };
}

/// In memory where that is possible: the disk is not what is tested.
fn make() -> (Target, TempDir) {
    let memory = Path::new("/dev/shm");
    let dir = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    let dir = dir.expect("a directory for the member's state");
    (Target::new(dir.path()), dir)
}

fuzz_target!(|input: &[u8]| {
    TARGET.with(|target| target.get_or_init(make).0.attack(input));
});
