//! Any order and duplication of hand-overs ends in the state of the newest versions.

use std::time::Duration;

use muster_core::desired;
use muster_core::fleet::Fleet;
use muster_core::plan::{Decision, Plan};
use muster_core::record::{Agent, Content, Group};
use muster_core::target;
use muster_core::task::{Task, TaskType};
use proptest::prelude::*;
use proptest::sample::Index;

use super::*;

const GROUPS: [&str; 3] = ["a", "b", "c"];

/// Contents of groups: their lanes without the group.
const CONTENTS: [&str; 3] = ["config", "sca=cis", "active-response=block"];
/// Lanes of the agent itself, with the commands that set them.
const OWN: [(&str, &str); 4] = [
    ("version", "upgrade"),
    ("sca-content", "update-sca-content"),
    ("rescan", "rescan-vulnerabilities"),
    ("name", "set-name"),
];

/// What a task does: the agent is put into groups, a group gets another content or loses it, the agent gets something.
#[derive(Debug, Clone)]
enum Act {
    Regroup(Vec<usize>),
    Content(usize, usize, Option<u8>),
    Own(usize, u8),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let subset = proptest::sample::subsequence(vec![0, 1, 2], 0..=3).prop_shuffle();
    let act = prop_oneof![
        subset.prop_map(Act::Regroup),
        (0..GROUPS.len(), 0..5u8).prop_map(|(group, body)| Act::Content(group, 0, Some(body))),
        (0..GROUPS.len(), 1..CONTENTS.len(), proptest::option::weighted(0.8, 0..5u8))
            .prop_map(|(group, content, body)| Act::Content(group, content, body)),
        (0..OWN.len(), 0..5u8).prop_map(|(lane, body)| Act::Own(lane, body)),
    ];
    proptest::collection::vec(act, 1..12)
}

/// The server's side: the record and the groups, changed by the functions' own code.
struct Server {
    record: Agent,
    groups: BTreeMap<&'static str, Group>,
    commands: Vec<Command>,
}

impl Server {
    fn new() -> Self {
        let record = Agent {
            number: 1,
            name: "a1".into(),
            groups: vec![],
            version: Stamp::default(),
            lanes: BTreeMap::new(),
            nkey: String::new(),
            enrolled: Instant(0),
            gone: false,
        };
        Self { record, groups: GROUPS.iter().map(|name| (*name, Group::alive(None))).collect(), commands: vec![] }
    }

    fn act(&mut self, n: u64, act: &Act) {
        let task = Task {
            id: format!("task-{n}"),
            kind: TaskType::GroupAssignment,
            order: Stamp::new(0, n),
            target: None,
            args: (),
            source: None,
            user: None,
            timeout: Duration::from_secs(600),
            published: Instant(0),
            deliver_until: Instant(0),
            retry: None,
        };
        let (action, lane, decision) = match act {
            Act::Regroup(list) => {
                let groups = list.iter().map(|at| GROUPS[*at].to_owned()).collect();
                ("set-group", Lane::of(Lane::GROUPS), Decision::Groups(groups))
            }
            Act::Content(at, content, body) => {
                let (name, of) = (GROUPS[*at], CONTENTS[*content].parse::<Lane>().unwrap());
                let content = Content {
                    revision: n,
                    digest: body.map(|body| digest(&[body])),
                    disabled: false,
                    order: task.order,
                    task: task.id.clone(),
                };
                self.groups.get_mut(name).unwrap().contents.insert(of.clone(), content.clone());
                if !self.record.in_group(name) {
                    return;
                }
                let action = match (of.kind(), body) {
                    (Lane::CONFIG, _) => "set-config",
                    (Lane::SCA, Some(_)) => "set-sca-policy",
                    (Lane::SCA, None) => "remove-sca-policy",
                    (_, Some(_)) => "set-active-response",
                    (_, None) => "remove-active-response",
                };
                let decision = Decision::Set { digest: content.digest, revision: Some(n) };
                (action, Lane::of_content(name, &of), decision)
            }
            Act::Own(at, body) => {
                let (lane, action) = OWN[*at];
                let decision = match lane {
                    Lane::NAME => Decision::Name(format!("a{body}")),
                    Lane::RESCAN => Decision::Set { digest: None, revision: Some(n) },
                    _ => Decision::Set { digest: Some(digest(&[*body])), revision: Some(n) },
                };
                (action, Lane::of(lane), decision)
            }
        };
        let plan = Plan::level(action, lane.clone(), target::Target::All, json!({}));
        desired::apply(&mut self.record, &decision, &task, &lane, |name| self.groups.get(name)).unwrap();
        self.commands.push(desired::command(&task, &plan, &self.record, "001"));
    }

    fn history(acts: &[Act]) -> Self {
        let mut server = Self::new();
        (1..).zip(acts).for_each(|(n, act)| server.act(n, act));
        server
    }

    fn sync(&self, core: &mut Core<Tape>, bad: &[u8]) {
        let held = core.hello(&About::default(), BTreeMap::new()).lanes;
        for command in desired::catch_up(Fleet::Agents, &self.record, "001", |lane| held.get(lane).copied(), Instant(0))
        {
            assert!(!deliver(core, command, bad), "the record knows no group that the agent is not in");
        }
    }

    fn versions(&self) -> BTreeMap<Lane, Stamp> {
        self.record.lanes.iter().map(|(lane, entry)| (lane.clone(), entry.version)).collect()
    }

    fn in_force(&self) -> InForce {
        let digest =
            |group: &String| self.record.lanes.get(&Lane::config(group)).and_then(|entry| entry.digest.clone());
        let groups = &self.record.groups;
        let configurations = groups.iter().filter_map(|group| Some((group.clone(), digest(group)?))).collect();
        let alone = |lane: &Lane| !matches!(lane.kind(), Lane::GROUPS | Lane::CONFIG);
        let contents = self.record.lanes.iter().filter(|(lane, _)| alone(lane));
        let contents = contents.filter_map(|(lane, entry)| Some((lane.clone(), entry.digest.clone()?))).collect();
        InForce { groups: groups.clone(), configurations, contents }
    }
}

/// What is in force, with the contents in the order of their lanes: they come into force in any order.
fn in_force(core: &Core<Tape>) -> InForce {
    let mut in_force = core.state().in_force.clone();
    in_force.contents.sort();
    in_force
}

/// Carries out a command; true when the agent asks for a sync.
fn deliver(core: &mut Core<Tape>, command: Command, bad: &[u8]) -> bool {
    let is_bad = |of: &str| bad.iter().any(|body| of == digest(&[*body]));
    let mut sync = false;
    for step in core.take(command).unwrap() {
        match step {
            Step::Set(target) => {
                let failed = target.state.configurations.iter().any(|(_, of)| is_bad(of));
                let done = if failed { Err(outcome::outcome(outcome::NOT_APPLIED, "bad")) } else { Ok(()) };
                sync |= core.set(target, done).unwrap();
            }
            Step::Lane(single) => {
                let failed = single.entry.digest.as_deref().is_some_and(is_bad);
                let done = if failed { Err(outcome::outcome(outcome::INVALID, "bad")) } else { Ok(Value::Null) };
                core.done(single, done).unwrap();
            }
            Step::Sync => sync = true,
            Step::Run { .. } => panic!("no edge command was sent"),
        }
    }
    sync
}

proptest! {
    #[test]
    fn in_any_order_and_number(acts in acts(), mut order in proptest::collection::vec(any::<Index>(), 0..24)) {
        let server = Server::history(&acts);
        prop_assume!(!server.commands.is_empty());
        let mut core = agent();
        let mut asked = false;
        // Some in any order and number, then each once more, in an order of its own.
        let mut deliveries: Vec<Command> = order.drain(..).map(|at| at.get(&server.commands).clone()).collect();
        let mut rest = server.commands.clone();
        rest.sort_by_key(|command| digest(command.request_id.as_bytes()));
        deliveries.extend(rest);
        for command in deliveries {
            asked |= deliver(&mut core, command, &[]);
        }
        if asked {
            server.sync(&mut core, &[]);
        }
        prop_assert_eq!(&core.state().groups, &server.record.groups);
        prop_assert_eq!(core.sync(BTreeMap::new()).lanes, server.versions());
        prop_assert_eq!(in_force(&core), server.in_force());
        // Every lane's task that is now in force is told as a success.
        let told = reported(&mut core);
        for entry in server.record.lanes.values() {
            prop_assert!(told.contains(&(entry.task.clone(), true)), "{} in {:?}", entry.task, told);
        }
    }

    #[test]
    fn whatever_was_lost_a_sync_makes_up_for(
        acts in acts(),
        order in proptest::collection::vec(any::<Index>(), 0..12),
        restarts in proptest::collection::vec(any::<bool>(), 12),
        bad in proptest::collection::vec(0..5u8, 0..2),
    ) {
        let server = Server::history(&acts);
        prop_assume!(!server.commands.is_empty());
        let tape = Tape::default();
        let mut core = tape.start(&[]);
        for (at, restart) in order.iter().zip(restarts) {
            deliver(&mut core, at.get(&server.commands).clone(), &bad);
            if restart {
                core = tape.start(&[]);
            }
        }
        server.sync(&mut core, &bad);
        let core = tape.start(&[]);
        prop_assert_eq!(&core.state().groups, &server.record.groups);
        prop_assert_eq!(core.sync(BTreeMap::new()).lanes, server.versions());
        // What failed has not replaced what was good.
        let bad: Vec<String> = bad.iter().map(|body| digest(&[*body])).collect();
        prop_assert!(core.state().in_force.configurations.iter().all(|(_, digest)| !bad.contains(digest)));
        if bad.is_empty() {
            prop_assert_eq!(in_force(&core), server.in_force());
        }
        // A second sync finds nothing to do.
        let held = core.sync(BTreeMap::new()).lanes;
        let again = desired::catch_up(Fleet::Agents, &server.record, "001", |lane| held.get(lane).copied(), Instant(0));
        prop_assert!(again.is_empty());
    }

    #[test]
    fn an_agent_with_an_empty_directory_ends_as_one_that_took_every_command(acts in acts()) {
        let server = Server::history(&acts);
        let mut old = agent();
        let asked = server.commands.iter().cloned().fold(false, |asked, command| asked | deliver(&mut old, command, &[]));
        prop_assert!(!asked, "in their order nothing is missing");
        let mut fresh = agent();
        server.sync(&mut fresh, &[]);
        prop_assert_eq!(&fresh.state().groups, &old.state().groups);
        prop_assert_eq!(fresh.sync(BTreeMap::new()).lanes, old.sync(BTreeMap::new()).lanes);
        prop_assert_eq!(in_force(&fresh), in_force(&old));
    }
}
