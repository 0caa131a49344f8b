//! A whole run: stage, faults by the plan, healing, quiet, and the record of it all.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tokio::time::{Instant, sleep_until};

use crate::history::{Bounds, Outcome, Phase, Run, What};
use crate::hub::SCRAPE_INTERVAL_MS;
use crate::nemesis::{Aim, Begun, Nemesis};
use crate::plan::Step;
use crate::recorder::now_ns;
use crate::stage::Stage;

/// A group of debug builds on a busy machine is well long before.
const SETTLE_MAX: Duration = Duration::from_secs(180);
/// Observed after the last fault has been healed.
const QUIET: Duration = Duration::from_secs(45);
/// Between two looks at the processes.
const LOOK_PERIOD: Duration = Duration::from_millis(250);
/// A takeover takes less.
const LEADER_WITHIN: Duration = Duration::from_secs(5);
/// After a fault was healed, until what it broke is whole: a rolling update takes minutes.
const WHOLE_WITHIN: Duration = Duration::from_secs(600);
/// Between two ticks of a nemesis.
const TICK_PERIOD: Duration = Duration::from_secs(1);

/// The head of the record.
async fn head(stage: &impl Stage, seed: u64, plan: &[Step]) -> Result<Run> {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock stands before 1970")?;
    let named: BTreeSet<&str> = plan.iter().map(|step| step.nemesis).collect();
    Ok(Run {
        seed,
        command: std::env::args().collect::<Vec<_>>().join(" "),
        start_unix_ms: u64::try_from(unix.as_millis()).unwrap_or(0),
        start_ns: now_ns(),
        members: stage.members(),
        versions: stage.versions().await?,
        plan: named.into_iter().map(ToOwned::to_owned).collect(),
        gate: stage.has_gate(),
        scrape_interval_ms: u64::from(SCRAPE_INTERVAL_MS),
        bounds: Bounds::default(),
    })
}

/// A fault that is in force.
struct Active<S> {
    id: u64,
    name: &'static str,
    nemesis: Box<dyn Nemesis<S>>,
    rng: StdRng,
    /// It is healed, and lasts until what it broke is whole again.
    healed: bool,
    /// When it is to be healed; once it is, when to give up waiting.
    ends: Instant,
    ticks: Instant,
    targets: Vec<String>,
    hit_leader: bool,
}

/// Waits until all is well, does what the plan says, heals everything, and watches for a while.
pub async fn run<S: Stage>(stage: &mut S, seed: u64, plan: &[Step]) -> Result<()> {
    let recorder = stage.hub().recorder.clone();
    stage.wait_settled(SETTLE_MAX).await?;
    recorder.begin(&head(stage, seed, plan).await?);
    stage.hub_mut().start_clients();
    recorder.say("the group is well; the first fault can come");
    let start = Instant::now();
    let mut active: Vec<Active<S>> = Vec::new();
    let mut steps = (1..).zip(plan).peekable();
    while steps.peek().is_some() || !active.is_empty() {
        // What is due to end ends before anything begins.
        end_due(stage, &mut active).await;
        let now = Instant::now();
        let due = steps.next_if(|(_, step)| start + step.at <= now && !active.iter().any(|fault| fault.bars(step)));
        if let Some((id, step)) = due {
            active.extend(begin(stage, id, step).await);
            continue;
        }
        // Installing and recovering take time that the plan does not know: what is in the way ends first.
        let barred = steps.peek().filter(|(_, step)| start + step.at <= now);
        let bars = |fault: &&mut Active<S>| !fault.healed && barred.is_some_and(|(_, step)| fault.bars(step));
        for fault in active.iter_mut().filter(bars) {
            fault.ends = now;
        }
        let next_step = steps.peek().map(|(_, step)| start + step.at).filter(|at| *at > now);
        let next_end = active.iter().map(|fault| fault.ends).min();
        let looked = now + LOOK_PERIOD;
        look(stage, &mut active, next_step.into_iter().chain(next_end).fold(looked, Instant::min)).await?;
    }
    stage.heal_all().await.context("heal everything at the end")?;
    recorder.note(What::Healed {});
    recorder.say("healed");
    look(stage, &mut active, Instant::now() + QUIET).await?;
    stage.hub().record_remote()?;
    recorder.note(What::End {});
    recorder.end();
    recorder.flush()
}

/// Keeps everything going until `until`.
async fn look<S: Stage>(stage: &mut S, active: &mut [Active<S>], until: Instant) -> Result<()> {
    loop {
        stage.look()?;
        for fault in active.iter_mut().filter(|fault| fault.ticks <= Instant::now()) {
            fault.ticks = Instant::now() + TICK_PERIOD;
            if let Err(error) = fault.nemesis.tick(stage, &mut fault.rng).await {
                stage.hub().recorder.say(&format!("{}: {error:#}", fault.name));
            }
        }
        let now = Instant::now();
        if now >= until {
            return Ok(());
        }
        sleep_until(until.min(now + LOOK_PERIOD)).await;
    }
}

async fn begin<S: Stage>(stage: &mut S, id: u64, step: &Step) -> Option<Active<S>> {
    let known = S::find(step.nemesis)?;
    let (mut nemesis, mut rng) = ((known.make)(), StdRng::seed_from_u64(step.seed));
    let aim = Aim { leader: leader(stage, step.at_leader).await, at_leader: step.at_leader };
    let begun = nemesis.install(stage, &aim, &mut rng).await;
    let begun = begun.unwrap_or_else(|error| Begun {
        at_ns: now_ns(),
        outcome: Outcome::Indeterminate,
        targets: Vec::new(),
        detail: format!("{error:#}"),
    });
    let hit_leader = aim.leader.is_some_and(|leader| begun.targets.contains(&leader));
    let Begun { at_ns, outcome, targets, detail } = begun;
    let fault = Active {
        id,
        name: step.nemesis,
        nemesis,
        rng,
        healed: false,
        ends: Instant::now() + step.hold,
        ticks: Instant::now() + TICK_PERIOD,
        targets,
        hit_leader,
    };
    stage.hub().recorder.note_at(at_ns, fault.entry(Phase::Begin, outcome, detail));
    (outcome != Outcome::Skipped).then_some(fault)
}

/// Who leads now. What goes for the leader waits a moment for one.
async fn leader(stage: &mut impl Stage, is_needed: bool) -> Option<String> {
    let patience = if is_needed { LEADER_WITHIN } else { Duration::ZERO };
    let found = async |stage: &_| Stage::hub(stage).leader().await.context("nobody leads");
    // Nobody: the nemesis says what it thinks of that.
    stage.until(patience, "a leader", found).await.ok()
}

/// Heals what is due to be healed, and notes the end of what is whole again.
async fn end_due<S: Stage>(stage: &mut S, active: &mut Vec<Active<S>>) {
    for mut fault in std::mem::take(active) {
        if !fault.healed && fault.ends > Instant::now() {
            active.push(fault);
            continue;
        }
        let mut whole = Ok(());
        if !fault.healed {
            whole = fault.nemesis.heal(stage).await;
            (fault.healed, fault.ends) = (whole.is_ok(), Instant::now() + WHOLE_WITHIN);
        }
        if fault.healed {
            whole = fault.nemesis.check_whole(stage).await;
            if whole.is_err() && fault.ends > Instant::now() {
                active.push(fault);
                continue;
            }
        }
        let (outcome, detail) = match whole {
            Ok(()) => (Outcome::Installed, String::new()),
            Err(error) => (Outcome::Indeterminate, format!("{error:#}")),
        };
        stage.hub().recorder.note(fault.entry(Phase::End, outcome, detail));
    }
}

impl<S: Stage> Active<S> {
    /// It changes something that this step changes too.
    fn bars(&self, step: &Step) -> bool {
        let traits = |name| S::find(name).map(|known| known.traits);
        traits(self.name).zip(traits(step.nemesis)).is_some_and(|(one, other)| one.shares(&other))
    }

    fn entry(&self, phase: Phase, outcome: Outcome, detail: String) -> What {
        let (nemesis, targets) = (self.name.to_owned(), self.targets.clone());
        What::Fault { id: self.id, nemesis, phase, outcome, targets, hit_leader: self.hit_leader, detail }
    }
}
