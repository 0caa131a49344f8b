//! Runs the simulation.

use elector_raft_sim::sim;

/// The simulation allocates all the time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

struct Clock;
impl tracing_subscriber::fmt::time::FormatTime for Clock {
    fn format_time(&self, w: &mut tracing_subscriber::fmt::format::Writer<'_>) -> std::fmt::Result {
        w.write_str(&sim::moment())
    }
}

fn main() {
    let args: Vec<u64> = std::env::args().skip(1).filter_map(|a| a.parse().ok()).collect();
    let (from, count) = (args[0], args.get(1).copied().unwrap_or(1));
    if std::env::var_os("LOG").is_some() {
        tracing_subscriber::fmt()
            .with_env_filter(tracing_subscriber::EnvFilter::from_env("LOG"))
            .with_timer(Clock)
            .init();
    }
    let start = std::time::Instant::now();
    let mut simulated = 0;
    let mut max = 0;
    for seed in from..from + count {
        let outcome = sim::run(seed, None);
        simulated += outcome.simulated;
        max = max.max(outcome.settled_after.unwrap_or(0));
        if count == 1 {
            println!("{outcome:#?}");
        } else if let Some(v) = outcome.violation {
            println!("seed {seed}: {} at {:.3} s: {}", v.rule, v.at as f64 / 1e9, v.what);
        }
    }
    println!(
        "{:.0} simulated s in {:.1} s; settled max {:.1} s",
        simulated as f64 / 1e9,
        start.elapsed().as_secs_f64(),
        max as f64 / 1e9
    );
}
