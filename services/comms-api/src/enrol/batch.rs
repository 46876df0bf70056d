//! Who of those who ask at once becomes an agent: a pure decision over what is known of their keys and names.

use std::collections::HashMap;

use muster_core::instant::Instant;
use muster_core::message::Enrolled;
use muster_core::problem::{Problem, Refusal};
use muster_core::record::{Agent, Group, agent_id};

/// Who asks, and for which name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// The public key of the identity.
    pub nkey: String,
    /// The name it would like to have.
    pub name: String,
}

/// What is known of those who ask.
#[derive(Debug, Default)]
pub struct Known {
    /// The agents that have these keys.
    pub agents: HashMap<String, (String, Agent)>,
    /// Who has these names.
    pub names: HashMap<String, String>,
}

/// What becomes of one who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is an agent already.
    Is(Enrolled),
    /// It becomes the new agent with this place in the batch.
    New(usize),
    /// It does not.
    Refused(Refusal),
}

/// Decides about each, in their order; gives the new ones too.
pub fn decide(asks: &[Ask], known: &Known) -> (Vec<Verdict>, Vec<Ask>) {
    let mut new: Vec<Ask> = Vec::new();
    let verdicts = asks.iter().map(|ask| {
        if let Some((id, agent)) = known.agents.get(&ask.nkey) {
            return match agent.gone {
                true => Verdict::Refused(gone(id)),
                false => Verdict::Is(Enrolled { id: id.clone(), name: agent.name.clone() }),
            };
        }
        if let Some(place) = new.iter().position(|other| other.nkey == ask.nkey) {
            return Verdict::New(place);
        }
        if known.names.contains_key(&ask.name) || new.iter().any(|other| other.name == ask.name) {
            return Verdict::Refused(vec![taken(&ask.name)]);
        }
        new.push(ask.clone());
        Verdict::New(new.len() - 1)
    });
    (verdicts.collect(), new)
}

fn taken(name: &str) -> Problem {
    Problem::new("name-taken", "/name", format!("another agent is called '{name}'"))
        .hint("choose another name, or delete the agent that has it")
}

fn gone(id: &str) -> Refusal {
    let problem = Problem::new("agent-deleted", "", format!("agent {id} was deleted, and with it this key"));
    vec![problem.hint("enrol with a new key")]
}

/// The record of a new agent.
pub fn record(ask: &Ask, number: u32, default: &Group, epoch: u32, now: Instant) -> Agent {
    Agent::enrolled(number, ask.name.clone(), ask.nkey.clone(), default, epoch, now)
}

/// What a new agent is told.
pub fn enrolled(ask: &Ask, number: u32) -> Enrolled {
    Enrolled { id: agent_id(number), name: ask.name.clone() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use muster_core::lane::Lane;
    use muster_core::record::{Content, Life};
    use muster_core::stamp::Stamp;

    use super::*;

    fn ask(nkey: &str, name: &str) -> Ask {
        Ask { nkey: nkey.into(), name: name.into() }
    }

    fn code(verdict: &Verdict) -> &str {
        match verdict {
            Verdict::Refused(errors) => &errors[0].code,
            Verdict::Is(enrolled) => &enrolled.id,
            Verdict::New(_) => "new",
        }
    }

    fn default() -> Group {
        let content = Content {
            revision: 3,
            digest: Some("d".into()),
            disabled: false,
            order: Stamp::new(0, 9),
            task: "t0-9".into(),
        };
        Group { contents: [(Lane::of(Lane::CONFIG), content)].into(), ..Group::alive(None) }
    }

    #[test]
    fn each_key_is_one_agent_and_each_name_one_agents() {
        let old = record(&ask("UOLD", "old-name"), 7, &default(), 0, Instant(0));
        let gone = Agent { gone: true, ..old.clone() };
        let known = Known {
            agents: [("UOLD".into(), ("007".into(), old)), ("UGONE".into(), ("008".into(), gone))].into(),
            names: [("old-name".into(), "007".into())].into(),
        };
        let asks = [
            ask("UOLD", "any"),
            ask("UGONE", "any"),
            ask("U1", "web-1"),
            ask("U1", "web-1"),
            ask("U2", "web-1"),
            ask("U3", "old-name"),
            ask("U5", "web-5"),
            ask("U1", "another"),
        ];
        let (verdicts, new) = decide(&asks, &known);
        let codes: Vec<&str> = verdicts.iter().map(code).collect();
        let expected = ["007", "agent-deleted", "new", "new", "name-taken", "name-taken", "new", "new"];
        assert_eq!(codes, expected);
        assert_eq!(new, [ask("U1", "web-1"), ask("U5", "web-5")]);
        assert_eq!((&verdicts[3], &verdicts[6], &verdicts[7]), (&Verdict::New(0), &Verdict::New(1), &Verdict::New(0)));
    }

    #[test]
    fn a_new_agent_has_what_is_in_force_in_its_group() {
        let agent = record(&ask("U1", "web-1"), 1, &default(), 2, Instant(5));
        assert_eq!(agent.groups, ["default"]);
        let entry = &agent.lanes[&Lane::config("default")];
        let expected = (Stamp::new(2, 1), Some("d"), Some(3), "t0-9");
        assert_eq!((entry.version, entry.digest.as_deref(), entry.revision, entry.task.as_str()), expected);
        assert_eq!(agent.grouped_by().unwrap().order, Stamp::default());
        let nowhere = record(&ask("U1", "web-1"), 1, &Group { life: Life::Deleted, ..default() }, 2, Instant(5));
        assert!(nowhere.groups.is_empty() && nowhere.lanes.len() == 1);
    }
}
