//! A change from one version of the program to another, as a state machine without I/O. What is on disk decides; so
//! whoever starts after a crash, at whichever write, goes on from there.
//!
//! ```text
//!   staged ──► tried ──► proven     the agent writes staged, its new version proven,
//!                └─────► failed     the supervisor the others: while no agent lives
//! ```
//!
//! At each moment one process alone may write: the agent while one lives, else the supervisor. A version is tried once:
//! a trial that anything ends before it is proven has failed.

use serde::{Deserialize, Serialize};

use crate::rules::Single;

/// How far a change has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// The new program is there and was checked; the agent ends to make room for it.
    Staged,
    /// The new program was started, or is about to be.
    Tried,
    /// The hello of the new program was answered.
    Proven,
    /// The old program is the one to run, and this is why.
    Failed(String),
}

/// A change of the program.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Switch {
    /// The version that ran before.
    pub from: String,
    /// The version that is to run.
    pub to: String,
    /// The SHA-256 of the new program.
    pub sha256: String,
    /// The lane's state that asks for it.
    pub single: Single,
    /// How far it has come.
    pub phase: Phase,
}

/// Which program the supervisor starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// The one in force.
    InForce,
    /// The new one, which has so long to prove itself.
    Trial,
    /// The new one, which has proven itself.
    New,
}

/// How an agent's process ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// By itself, or killed by others; the text says how.
    Itself(String),
    /// The supervisor ended it, since its time to prove itself was over. How long that was, in seconds.
    Overdue(u64),
    /// The supervisor was told to end.
    Told,
}

/// What the supervisor does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// Start a program again.
    Again,
    /// End as the agent did.
    End,
}

impl Switch {
    fn now(&self, phase: Phase) -> Self {
        Self { phase, ..self.clone() }
    }

    /// What is to be on disk before a program is started (none: what is there), and which one that is.
    pub fn start(of: Option<&Self>) -> (Option<Self>, Program) {
        let Some(switch) = of else { return (None, Program::InForce) };
        match &switch.phase {
            Phase::Staged => (Some(switch.now(Phase::Tried)), Program::Trial),
            Phase::Tried => {
                let why = format!("version {} was stopped before its hello was answered", switch.to);
                (Some(switch.now(Phase::Failed(why))), Program::InForce)
            }
            Phase::Proven => (None, Program::New),
            Phase::Failed(_) => (None, Program::InForce),
        }
    }

    /// What is to be on disk when a program has ended (none: what is there), and what comes then.
    pub fn ended(of: Option<&Self>, how: &Ended) -> (Option<Self>, After) {
        let phase = of.map(|switch| (switch, &switch.phase));
        match (phase, how) {
            // A trial that was told to end is not continued: the next start finds it stopped.
            (_, Ended::Told) => (None, After::End),
            (Some((_, Phase::Staged)), _) => (None, After::Again),
            (Some((switch, Phase::Tried)), how) => {
                let how = match how {
                    Ended::Overdue(seconds) => format!("its hello was not answered within {seconds} s"),
                    Ended::Itself(how) => format!("it ended before its hello was answered: {how}"),
                    Ended::Told => String::new(),
                };
                (Some(switch.now(Phase::Failed(format!("version {}: {how}", switch.to)))), After::Again)
            }
            // It was proven in the moment in which its time was over.
            (_, Ended::Overdue(_)) => (None, After::Again),
            (_, Ended::Itself(_)) => (None, After::End),
        }
    }

    /// The change with the new version proven, if that is what is awaited.
    pub fn proven(&self) -> Option<Self> {
        (self.phase == Phase::Tried).then(|| self.now(Phase::Proven))
    }

    /// Why this state of the lane is not to be tried: it, or a newer one, was tried and failed.
    pub fn failed_for(&self, single: &Single) -> Option<&str> {
        match &self.phase {
            Phase::Failed(why) if self.single.entry.version >= single.entry.version => Some(why),
            _ => None,
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used)]
    use muster_core::lane::Lane;
    use muster_core::record::Entry;
    use muster_core::stamp::Stamp;
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    pub fn single(version: u64) -> Single {
        let entry = Entry {
            version: Stamp::new(0, version),
            order: Stamp::new(0, 7),
            task: "t0-7".into(),
            digest: Some("d".into()),
            revision: None,
        };
        Single { lane: Lane::of(Lane::VERSION), entry, args: Value::Null, timeout: 3600 }
    }

    pub fn switch(phase: Phase) -> Switch {
        Switch { from: "1.0.0".into(), to: "1.1.0".into(), sha256: "s".into(), single: single(3), phase }
    }

    fn failed(switch: &Switch) -> &str {
        match &switch.phase {
            Phase::Failed(why) => why,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_staged_version_is_tried_and_a_trial_that_was_cut_short_is_not_tried_again() {
        assert_eq!(Switch::start(None), (None, Program::InForce));
        let (tried, program) = Switch::start(Some(&switch(Phase::Staged)));
        assert_eq!((tried.as_ref().unwrap().phase.clone(), program), (Phase::Tried, Program::Trial));
        let (back, program) = Switch::start(tried.as_ref());
        assert!(failed(back.as_ref().unwrap()).contains("1.1.0 was stopped"));
        assert_eq!(program, Program::InForce);
        assert_eq!(Switch::start(back.as_ref()), (None, Program::InForce));
        assert_eq!(Switch::start(Some(&switch(Phase::Proven))), (None, Program::New));
    }

    #[test]
    fn a_trial_that_ends_or_takes_too_long_goes_back() {
        let (back, after) = Switch::ended(Some(&switch(Phase::Tried)), &Ended::Itself("exit status: 3".into()));
        assert!(failed(&back.unwrap()).ends_with("exit status: 3"));
        assert_eq!(after, After::Again);
        let (back, after) = Switch::ended(Some(&switch(Phase::Tried)), &Ended::Overdue(60));
        assert!(failed(&back.unwrap()).contains("within 60 s"));
        assert_eq!(after, After::Again);
        // Proven just in time, and ended all the same: it is started again.
        assert_eq!(Switch::ended(Some(&switch(Phase::Proven)), &Ended::Overdue(60)), (None, After::Again));
    }

    #[test]
    fn without_a_change_the_supervisor_ends_as_its_agent_does() {
        let itself = Ended::Itself("exit status: 1".into());
        for of in [None, Some(&switch(Phase::Proven)), Some(&switch(Phase::Failed(String::new())))] {
            assert_eq!(Switch::ended(of, &itself), (None, After::End));
        }
        assert_eq!(Switch::ended(Some(&switch(Phase::Staged)), &itself), (None, After::Again));
        for phase in [Phase::Staged, Phase::Tried, Phase::Proven] {
            assert_eq!(Switch::ended(Some(&switch(phase)), &Ended::Told), (None, After::End));
        }
    }

    #[test]
    fn what_has_failed_is_not_tried_until_the_lane_is_newer() {
        let back = switch(Phase::Failed("why".into()));
        assert_eq!([2, 3, 4].map(|version| back.failed_for(&single(version))), [Some("why"), Some("why"), None]);
        assert_eq!(switch(Phase::Proven).failed_for(&single(3)), None);
        assert_eq!(back.proven(), None);
        assert_eq!(switch(Phase::Tried).proven().unwrap().phase, Phase::Proven);
    }

    /// What may happen to the processes while one change is on its way.
    #[derive(Debug, Clone, Copy)]
    enum Event {
        /// The agent's process ends by itself, or is killed.
        AgentEnds,
        /// The trial's time is over.
        TimeIsOver,
        /// Both are killed, or the power is lost, before the supervisor's next write.
        AllEnd,
        /// The hello of the agent is answered.
        Hello,
        /// SIGTERM, and a new start.
        Restart,
    }

    proptest! {
        #[test]
        fn a_version_is_tried_at_most_once_and_runs_only_when_it_was_proven(
            events in proptest::collection::vec(
                prop_oneof![
                    Just(Event::AgentEnds), Just(Event::TimeIsOver), Just(Event::AllEnd), Just(Event::Hello),
                    Just(Event::Restart)
                ],
                0..12,
            ),
            lost in proptest::collection::vec(any::<bool>(), 12),
        ) {
            let mut disk = Some(switch(Phase::Staged));
            let (mut trials, mut was_proven) = (0, false);
            let mut lost = lost.into_iter();
            // The supervisor starts a program; each of its writes may be cut off by a loss of power.
            let mut running = None;
            for event in std::iter::once(Event::AllEnd).chain(events) {
                let mut start = matches!(event, Event::AllEnd | Event::Restart);
                let how = match event {
                    Event::AgentEnds => Some(Ended::Itself("killed".into())),
                    Event::TimeIsOver if running == Some(Program::Trial) => Some(Ended::Overdue(60)),
                    Event::Restart => Some(Ended::Told),
                    Event::Hello => {
                        if running.is_some() && let Some(proven) = disk.as_ref().and_then(Switch::proven) {
                            disk = Some(proven);
                            was_proven = true;
                        }
                        None
                    }
                    _ => None,
                };
                if let Some(how) = how {
                    let (write, after) = Switch::ended(disk.as_ref(), &how);
                    running = None;
                    start |= after == After::Again;
                    if let Some(write) = write && !lost.next().unwrap_or_default() {
                        disk = Some(write);
                    }
                }
                if start {
                    let (write, program) = Switch::start(disk.as_ref());
                    let cut = write.is_some() && lost.next().unwrap_or_default();
                    running = (!cut).then_some(program);
                    if !cut {
                        disk = write.or(disk);
                        trials += usize::from(program == Program::Trial);
                    }
                }
                prop_assert!(trials <= 1);
                prop_assert!(running != Some(Program::New) || was_proven);
                let back = matches!(disk.as_ref().map(|s| &s.phase), Some(Phase::Failed(_)));
                prop_assert!(!(back && was_proven), "what was proven stays");
                prop_assert!(!(was_proven && running == Some(Program::InForce)));
            }
        }
    }
}
