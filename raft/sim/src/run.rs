//! One run: a seed, and nothing else, decides everything.

use std::cell::RefCell;
use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};

use super::checkers::Violation;
use super::executor::{self, Nanos};
use super::mutants::{self, Mutant};
use super::nemesis::{Faults, Nemesis};
use super::quiet;
use super::rules;
use super::scenarios::Story;
use super::world::{self, MILLISECOND};

/// What a run came to.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// The first broken promise, if any.
    pub violation: Option<Violation>,
    /// Hash of everything that happened.
    pub trace: u64,
    /// Steps of tasks.
    pub polls: u64,
    /// Simulated time.
    pub simulated: Nanos,
    /// Faults by kind: installed, skipped.
    pub faults: Faults,
    /// From the end of the faults until the group was whole.
    pub settled_after: Option<Nanos>,
}

#[derive(Default)]
struct Progress {
    faults: Faults,
    settled_after: Option<Nanos>,
}

/// Runs a seed on this thread, with a rule switched off or none.
pub fn run(seed: u64, mutant: Option<Mutant>) -> Outcome {
    rules::switch_off(mutant.map(|mutant| mutant.rules.to_vec()).unwrap_or_default());
    executor::begin(seed);
    let progress = Arc::new(Mutex::new(Progress::default()));
    let told = progress.clone();
    let story = Story::of(seed);
    let nemesis = story.group(seed);
    world::with(|world| world.reuse_node_ids = mutant.is_some_and(|mutant| mutant.name == mutants::SAME_NODE_ID));
    let scenario = async move {
        let result = play(story, nemesis, &told).await;
        if let Err(missing) = result {
            world::violated("liveness", missing);
        }
    };
    let panicked: Rc<RefCell<Option<String>>> = Rc::default();
    let result = std::panic::catch_unwind(AssertUnwindSafe(|| {
        executor::run(scenario, |life| {
            world::with(|world| {
                world.looked(life);
                world.checkers.violation().is_none()
            })
        });
    }));
    if let Err(panic) = result {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        *panicked.borrow_mut() = Some(text.unwrap_or_else(|| "a panic".into()));
    }
    let at = executor::now();
    let violation = world::with(|world| world.checkers.violation().cloned());
    let violation =
        violation.or_else(|| panicked.borrow_mut().take().map(|what| Violation { rule: "no panic", at, what }));
    let (trace, polls) = executor::trace();
    executor::end();
    world::set(None);
    rules::switch_off(Vec::new());
    let progress = std::mem::take(&mut *progress.lock().unwrap_or_else(PoisonError::into_inner));
    Outcome {
        seed,
        violation,
        trace,
        polls,
        simulated: at,
        faults: progress.faults,
        settled_after: progress.settled_after,
    }
}

async fn play(story: Story, mut nemesis: Nemesis, progress: &Mutex<Progress>) -> Result<(), String> {
    story.play(&mut nemesis).await?;
    progress.lock().unwrap_or_else(PoisonError::into_inner).faults = std::mem::take(&mut nemesis.faults);
    tracing::info!("the faults stop");
    quiet::heal(&nemesis);
    let settled = quiet::settle(&nemesis).await?;
    progress.lock().unwrap_or_else(PoisonError::into_inner).settled_after = Some(settled);
    // A while of peace, in which nothing may break either.
    super::nemesis::sleep(500 * MILLISECOND).await;
    Ok(())
}
