//! Metrics of the process (`--runtime-metrics`), under the names that every Prometheus client library uses.
//!
//! A value that the kernel does not tell (no `/proc`, or one that hides) is left out; a scrape never fails for it.

use procfs::process::{LimitValue, Process, Stat};
use procfs::{boot_time_secs, page_size, ticks_per_second};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;

use super::gauge;

/// The main thread, that of the group, that of its disk and that of the gate's fence.
const LASTING_THREADS: [&str; 4] = ["main", "group", "group-disk", "gate-fence"];

#[derive(Debug)]
pub(super) struct ProcessCollector;

impl Collector for ProcessCollector {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let Ok(process) = Process::myself() else { return Ok(()) };
        if let Ok(stat) = process.stat() {
            encode_stat(&mut encoder, &stat)?;
        }
        if let Ok(open) = process.fd_count() {
            gauge(&mut encoder, "process_open_fds", "Open file descriptors.", u64::try_from(open).unwrap_or(u64::MAX))?;
        }
        if let Ok(limits) = process.limits() {
            let (name, help) = ("process_max_fds", "Largest number of open file descriptors.");
            match limits.max_open_files.soft_limit {
                LimitValue::Value(limit) => gauge(&mut encoder, name, help, limit)?,
                LimitValue::Unlimited => gauge(&mut encoder, name, help, f64::INFINITY)?,
            }
        }
        encode_threads(&mut encoder, &process)
    }
}

/// Which part the time goes to. Threads that come and go would make a counter that falls: `process_cpu_seconds_total` has them.
fn encode_threads(encoder: &mut DescriptorEncoder, process: &Process) -> Result<(), std::fmt::Error> {
    let Ok(threads) = process.tasks() else { return Ok(()) };
    let name = "prometheus_elector_thread_cpu_seconds";
    let help = "CPU time spent by the threads that live as long as the process, user and system.";
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for thread in threads.flatten() {
        let Ok(stat) = thread.stat() else { continue };
        let name = if thread.tid == process.pid() { "main" } else { stat.comm.as_str() };
        if LASTING_THREADS.contains(&name) {
            let cpu = ticks_to_seconds(stat.utime.saturating_add(stat.stime));
            ConstCounter::new(cpu).encode(metric.encode_family(&[("thread", name)])?)?;
        }
    }
    Ok(())
}

fn encode_stat(encoder: &mut DescriptorEncoder, stat: &Stat) -> Result<(), std::fmt::Error> {
    let cpu = ticks_to_seconds(stat.utime.saturating_add(stat.stime));
    let help = "CPU time spent, user and system, in seconds.";
    ConstCounter::new(cpu).encode(encoder.encode_descriptor(
        "process_cpu_seconds",
        help,
        None,
        MetricType::Counter,
    )?)?;
    if let Ok(boot) = boot_time_secs() {
        let started = std::time::Duration::from_secs(boot).as_secs_f64() + ticks_to_seconds(stat.starttime);
        gauge(encoder, "process_start_time_seconds", "Unix time at which the process started.", started)?;
    }
    gauge(encoder, "process_virtual_memory_bytes", "Virtual memory.", stat.vsize)?;
    let resident = stat.rss.saturating_mul(page_size());
    gauge(encoder, "process_resident_memory_bytes", "Resident memory.", resident)?;
    gauge(encoder, "process_threads", "Threads of the process.", stat.num_threads)
}

fn ticks_to_seconds(ticks: u64) -> f64 {
    // Exact in milliseconds: the kernel's clock ticks 100 or 1000 times a second.
    std::time::Duration::from_millis(ticks.saturating_mul(1000) / ticks_per_second().max(1)).as_secs_f64()
}
