//! Random histories against a model of Prometheus and the disk: what role control believes must be true, and once the
//! world is calm, what it wants must be in force.

use proptest::prelude::*;

use super::*;

/// A content as [`name`] gives it, e.g. `L1`.
type Content = String;

#[derive(Clone, Debug)]
enum Op {
    Wait(u64),
    /// Authority for so many milliseconds.
    Authority(u64),
    Lost,
    /// Whether another member could lead, and without a gap.
    Others(bool, bool),
    Source(&'static str),
    /// The write in flight reaches its rename, or fails before it.
    Rename(bool),
    /// Its result arrives.
    Wrote,
    /// The Prometheus that reloads reads the file.
    Read,
    /// The reload ends.
    Reloaded(bool),
    /// Prometheus is told to end, and takes its time.
    End,
    Crash,
    Restart,
    /// The prober finds out.
    Probe,
    Cordon,
    Uncordon,
    StepDown,
    Shutdown,
    HandedOver(bool),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (1_u64..1500).prop_map(Op::Wait),
        1 => (5_000_u64..70_000).prop_map(Op::Wait),
        6 => (1_u64..2000).prop_map(Op::Authority),
        3 => Just(Op::Lost),
        2 => any::<(bool, bool)>().prop_map(|(eligible, prepared)| Op::Others(eligible, prepared)),
        2 => prop::sample::select(vec!["1", "2", "9", "invalid"]).prop_map(Op::Source),
        6 => prop::bool::weighted(0.8).prop_map(Op::Rename),
        6 => Just(Op::Wrote),
        4 => Just(Op::Read),
        6 => prop::bool::weighted(0.7).prop_map(Op::Reloaded),
        1 => Just(Op::End),
        1 => Just(Op::Crash),
        2 => Just(Op::Restart),
        3 => Just(Op::Probe),
        1 => Just(Op::Cordon),
        1 => Just(Op::Uncordon),
        1 => Just(Op::StepDown),
        2 => any::<bool>().prop_map(Op::HandedOver),
    ]
}

/// The true world beside what role control believes.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
struct World {
    scenario: Scenario,
    file: Content,
    /// What Prometheus runs with; `None`: it does not run.
    loaded: Option<Content>,
    /// What the reload in flight has read.
    read: Option<Content>,
    /// Prometheus has crashed since the reload in flight began: its connection is gone.
    broken: bool,
    /// Prometheus ends: it loads nothing any more.
    ending: bool,
    /// Prometheus has crashed or restarted and the prober does not know yet.
    unseen: bool,
    /// The outcome of the write in flight.
    written: Option<Result<(), Failure>>,
    finished: bool,
}

impl World {
    /// Starts over a stale leader configuration, in the file's place already replaced, in Prometheus not.
    fn new() -> Self {
        let mut world = Self {
            scenario: Scenario::new(Some(config("1")), None),
            file: "F1".to_owned(),
            loaded: Some("L2".to_owned()),
            read: None,
            broken: false,
            ending: false,
            unseen: false,
            written: None,
            finished: false,
        };
        world.feed(Event::Leadership(Leadership::default()));
        world.feed(Event::Others(Others { eligible: true, prepared: true, detail: String::new() }));
        world.feed(Event::Cover(Cover { matters: true, prepared: true, unfit: None }));
        world.probe();
        world
    }

    fn feed(&mut self, event: Event) {
        let actions = self.scenario.feed(event);
        self.note(&actions);
    }

    fn note(&mut self, actions: &[Action]) {
        for action in actions {
            match action {
                Action::Reload(_) => (self.read, self.broken) = (None, self.loaded.is_none()),
                Action::Write(_) => self.written = None,
                Action::Finish => self.finished = true,
                _ => {}
            }
        }
        self.check_belief();
    }

    fn check_belief(&self) {
        let state = &self.scenario.state;
        if let Some(applied) = state.applied.filter(|_| !self.unseen) {
            assert_eq!(self.loaded.as_deref(), Some(name(applied).as_str()), "believed to be in force");
        }
        if let Some(file) = state.file {
            assert_eq!(name(Target { role: Role::Follower, hash: file }), self.file, "believed to be in the file");
        }
    }

    fn holds_authority(&self) -> bool {
        self.scenario.state.leadership.holds_authority(self.scenario.now)
    }

    fn probe(&mut self) {
        let up = self.loaded.is_some();
        let was_ending = self.scenario.state.prometheus.running == Running::Ending;
        // A prober that sees a crash at all sees it before the return; of one that was to end it may see the return alone.
        if std::mem::take(&mut self.unseen) && !(was_ending && up) {
            self.feed(Event::Prometheus(PrometheusState { running: Running::No, ..PrometheusState::default() }));
        }
        if up {
            let running = if self.ending { Running::Ending } else { Running::Yes };
            let ready = !self.ending;
            let up = PrometheusState { running, ready, healthy: true, ..PrometheusState::default() };
            self.feed(Event::Prometheus(up));
        }
    }

    fn rename(&mut self, works: bool) {
        let Some(target) = self.scenario.state.writing.filter(|_| self.written.is_none()) else { return };
        self.written = Some(if !works {
            Err(Failure::Error("disk full".to_owned()))
        } else if target.role == Role::Leader && !self.holds_authority() {
            Err(Failure::NoAuthority)
        } else {
            self.file = name(target);
            Ok(())
        });
    }

    fn read_file(&mut self) {
        if self.scenario.state.reloading.is_some() && !self.broken && self.read.is_none() {
            self.read = Some(self.file.clone());
        }
    }

    fn reloaded(&mut self, accepted: bool) {
        if self.scenario.state.reloading.is_none() || self.ending {
            return;
        }
        self.read_file();
        let result = if self.broken || !accepted {
            Err(Failure::Error("500".to_owned()))
        } else {
            self.loaded = self.read.take();
            Ok(())
        };
        self.feed(Event::Reloaded(result));
    }

    fn apply(&mut self, op: &Op) {
        match op {
            Op::Wait(ms) => {
                let actions = self.scenario.wait(Duration::from_millis(*ms));
                self.note(&actions);
            }
            Op::Authority(ms) => {
                let deadline = self.scenario.now.instant + Duration::from_millis(*ms);
                let authority = Authority::Until { deadline, suspended: Duration::ZERO };
                self.feed(Event::Leadership(leadership("pod-0", authority)));
            }
            Op::Lost => self.feed(Event::Leadership(leadership("pod-1", Authority::None))),
            Op::Others(eligible, prepared) => {
                let prepared = *eligible && *prepared;
                self.feed(Event::Others(Others { eligible: *eligible, prepared, detail: String::new() }));
            }
            Op::Source("invalid") => self.feed(Event::Source(Err("bad".to_owned()))),
            Op::Source(number) => self.feed(Event::Source(Ok(config(number)))),
            Op::Rename(works) => self.rename(*works),
            Op::Wrote => {
                if let Some(result) = self.written.take() {
                    self.feed(Event::Wrote(result));
                }
            }
            Op::Read => self.read_file(),
            Op::Reloaded(accepted) => self.reloaded(*accepted),
            Op::End => self.ending = self.loaded.is_some(),
            Op::Crash => (self.loaded, self.broken, self.ending, self.unseen) = (None, true, false, true),
            Op::Restart => {
                if self.loaded.is_none() {
                    self.loaded = Some(self.file.clone());
                    // It may have been down so shortly that nobody saw it.
                    self.unseen = true;
                }
            }
            Op::Probe => self.probe(),
            Op::Cordon => self.feed(Event::Cordon { id: 1 }),
            Op::Uncordon => self.feed(Event::Uncordon { id: 2 }),
            Op::StepDown => self.feed(Event::StepDown { id: 3, reason: "test".to_owned() }),
            Op::Shutdown => self.feed(Event::Shutdown),
            Op::HandedOver(works) => self.handed_over(*works),
        }
    }

    fn handed_over(&mut self, works: bool) {
        if !matches!(self.scenario.state.leaving, Some(Leaving::HandingOver { .. })) {
            return;
        }
        if works {
            // The group publishes the end of authority before it answers.
            self.apply(&Op::Lost);
            self.feed(Event::HandedOver(Ok("pod-1".to_owned())));
        } else {
            self.feed(Event::HandedOver(Err(CommandError::NoTarget("none".to_owned()))));
        }
    }

    /// Everything works from now on, and time passes.
    fn calm_down(&mut self) {
        if self.ending {
            self.apply(&Op::Crash);
        }
        self.apply(&Op::Restart);
        self.apply(&Op::Probe);
        for _ in 0..20 {
            for op in [Op::HandedOver(true), Op::Rename(true), Op::Wrote, Op::Reloaded(true), Op::Wait(60_000)] {
                self.apply(&op);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn belief_is_true_and_the_wanted_configuration_comes_into_force(ops in prop::collection::vec(op(), 0..60)) {
        let mut world = World::new();
        for op in &ops {
            world.apply(op);
        }
        world.calm_down();
        // Without a renewal all authority is over by now.
        let number = name(world.scenario.state.config.clone().unwrap().target(Role::Follower));
        prop_assert_eq!(world.loaded.as_ref(), Some(&number));
        prop_assert_eq!(&world.file, &number);
        prop_assert!(world.scenario.state.in_force());
    }

    #[test]
    fn a_shutdown_ends_in_time_whatever_happens(
        before in prop::collection::vec(op(), 0..30),
        after in prop::collection::vec(op(), 0..30),
    ) {
        let mut world = World::new();
        for op in &before {
            world.apply(op);
        }
        world.apply(&Op::Shutdown);
        for op in &after {
            if world.finished {
                break;
            }
            world.apply(op);
        }
        // Nothing else answers from now on: neither disk nor Prometheus.
        for _ in 0..5 {
            if !world.finished {
                world.apply(&Op::HandedOver(false));
            }
            if !world.finished {
                world.apply(&Op::Wait(5000));
            }
        }
        prop_assert!(world.finished);
    }
}
