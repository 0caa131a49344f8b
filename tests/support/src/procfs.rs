//! Memory and processor time of another process, from `/proc`.

use std::time::Duration;

use anyhow::{Context, Result};

/// One reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Resident memory in bytes.
    pub resident_bytes: u64,
    /// The most that was resident since it started, or since [`reset_peak`].
    pub peak_bytes: u64,
    /// User and system time since it started; counted in ticks of 10 ms.
    pub cpu: Duration,
}

impl Usage {
    /// Reads process `id`.
    pub fn read(id: u32) -> Result<Self> {
        let read = |file: &str| std::fs::read_to_string(format!("/proc/{id}/{file}")).context("read /proc");
        parse(&read("stat")?, &read("status")?).with_context(|| format!("/proc/{id} is not as expected"))
    }
}

/// User and system time of the thread named `thread` of process `id`; `main` is the first one. `None`: there is none.
pub fn thread_cpu(id: u32, thread: &str) -> Option<Duration> {
    let threads = std::fs::read_dir(format!("/proc/{id}/task")).ok()?;
    threads.flatten().find_map(|entry| {
        let is_first = entry.file_name().to_str() == Some(&id.to_string());
        let name = std::fs::read_to_string(entry.path().join("comm")).ok()?;
        let is_meant = if is_first { thread == "main" } else { name.trim_end() == thread };
        is_meant.then(|| cpu(&std::fs::read_to_string(entry.path().join("stat")).ok()?)).flatten()
    })
}

/// Lets [`Usage::peak_bytes`] of process `id` begin anew.
pub fn reset_peak(id: u32) -> Result<()> {
    std::fs::write(format!("/proc/{id}/clear_refs"), "5").context("write /proc")
}

/// Open descriptors of process `id`.
pub fn descriptors(id: u32) -> Result<usize> {
    Ok(std::fs::read_dir(format!("/proc/{id}/fd")).context("read /proc")?.count())
}

fn parse(stat: &str, status: &str) -> Option<Usage> {
    let bytes = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
    };
    Some(Usage { resident_bytes: bytes("VmRSS:")?, peak_bytes: bytes("VmHWM:")?, cpu: cpu(stat)? })
}

fn cpu(stat: &str) -> Option<Duration> {
    // The command's name, in brackets, may hold spaces and brackets itself. After it come the fields from the third on.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    Some(Duration::from_millis(ticks * 1_000 / rustix::param::clock_ticks_per_second()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn fields_are_found_behind_an_ugly_name() {
        let stat = "7 (a) b) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20 0";
        let usage = parse(stat, "Name:\tx\nVmHWM:\t  3072 kB\nVmRSS:\t  2048 kB\n").unwrap();
        assert_eq!(usage, Usage { resident_bytes: 2 << 20, peak_bytes: 3 << 20, cpu: Duration::from_secs(3) });
    }

    #[test]
    fn the_own_process_can_be_read() {
        let id = std::process::id();
        assert!(Usage::read(id).unwrap().resident_bytes > 0);
        assert!(descriptors(id).unwrap() >= 3);
        assert!(thread_cpu(id, "main").is_some() && thread_cpu(id, "no such thread").is_none());
    }
}
