//! A policy run on a system.

use std::time::Duration;

use crate::evaluate::Evaluation;
use crate::policy::{Condition, Policy, Rules};
use crate::report::{CheckReport, Outcome, Report};
use crate::system::System;
use crate::verdict::Verdict;

/// What a scan may do. By default it runs no commands and takes at most an hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Run commands (`c:`). Without it, what depends on them is not applicable.
    pub commands: bool,
    /// The time for the whole scan. What is not decided by then is not applicable; only a command that runs already is
    /// waited for.
    pub time: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { commands: false, time: Duration::from_secs(3600) }
    }
}

/// Judges each check of a policy on a system. When its requirements do not hold, no check is run and the policy is not
/// applicable as a whole.
pub fn scan(policy: &Policy, system: &impl System, options: Options) -> Report {
    let evaluation = Evaluation::new(system, options);
    let required = policy.requirements.as_ref().map_or(Verdict::Holds, |required| judge(required, &evaluation));
    let not_applicable = match required {
        Verdict::Holds => None,
        Verdict::Fails => Some("its requirements do not hold".to_owned()),
        Verdict::Unknown(why) => Some(format!("whether its requirements hold is not known: {why}")),
    };
    let checks = policy.checks.iter().map(|check| {
        let verdict = match &not_applicable {
            None => judge(&check.rules, &evaluation),
            Some(_) => Verdict::Unknown("the policy is not applicable".into()),
        };
        let (result, reason) = match verdict {
            Verdict::Holds => (Outcome::Passed, None),
            Verdict::Fails => (Outcome::Failed, None),
            Verdict::Unknown(why) => (Outcome::NotApplicable, Some(why)),
        };
        CheckReport::new(check.id, check.title.clone(), result, reason)
    });
    Report::new(&policy.id, &policy.name, not_applicable.as_deref(), checks.collect())
}

/// Whether rules hold together. An expression that does not compile leaves it open, whatever the other rules say.
fn judge(rules: &Rules, evaluation: &Evaluation<'_, impl System>) -> Verdict {
    if let Some(why) = &rules.uncompilable {
        return Verdict::Unknown(why.clone());
    }
    let verdicts = rules.rules.iter().enumerate().map(|(number, rule)| match evaluation.rule(rule) {
        Verdict::Unknown(why) => Verdict::Unknown(format!("/rules/{number}: {why}")),
        decided => decided,
    });
    match rules.condition {
        Condition::All => Verdict::all(verdicts),
        Condition::Any => Verdict::any(verdicts),
        Condition::None => !Verdict::any(verdicts),
    }
}
