//! A value of each type in which every field is filled. The literals name all fields and the lists are exhaustive, so a
//! field or a variant that is added to a type does not compile until it is here, and then not pass without its schema.

use std::collections::BTreeMap;

use muster_core::chain::{FORMAT, Frozen, Page, Paged, Planned, Stored};
use muster_core::dead::DeadLetter;
use muster_core::fact::{Fact, StoredResult};
use muster_core::feed::{Feed, Part};
use muster_core::instant::Instant;
use muster_core::lane::Lane;
use muster_core::message::{
    Action, Command, CommandResult, Confirmed, Enrol, Enrolled, HandOver, Hello, Outcome, Recipient, Refused, Report,
    ReportStatus, Sync,
};
use muster_core::names::digest;
use muster_core::numbers::Numbers;
use muster_core::package::Package;
use muster_core::plan::{Change, Plan};
use muster_core::problem::Problem;
use muster_core::record::{Agent, Content, Entry, Group, Life, Reported};
use muster_core::sca::Manifest;
use muster_core::stamp::Stamp;
use muster_core::status::{Counts, State, Status};
use muster_core::summary::{Stop, StopKind, Summary};
use muster_core::target::Target;
use muster_core::task::{Envelope, Retry};
use serde_json::json;

/// All variants without data of an enum; a missing one does not compile.
macro_rules! all {
    ($type:ident: $($variant:ident),*) => {{
        let exhaustive = |value: $type| match value { $($type::$variant => value),* };
        [$($type::$variant),*].map(exhaustive)
    }};
}

fn text() -> String {
    "some".into()
}

fn stamp() -> Stamp {
    Stamp::new(u32::MAX, u64::MAX)
}

fn instant() -> Instant {
    Instant(1_795_000_000_123)
}

/// A set that is written as a list, and one that is written as a bitmap.
fn sets() -> [Numbers; 2] {
    [Numbers::from_iter([0, u32::MAX]), (0..300).collect()]
}

fn lanes<T>(value: T) -> BTreeMap<Lane, T> {
    [(Lane::config("web.eu/ä"), value)].into()
}

fn entry() -> Entry {
    Entry { version: stamp(), order: stamp(), task: text(), digest: Some(digest(b"")), revision: Some(u64::MAX) }
}

fn problem() -> Problem {
    Problem { code: text(), pointer: "/args".into(), message: text(), line: Some(1), hint: Some(text()) }
}

fn stops() -> Vec<Stop> {
    let stop = |kind| Stop { kind, reason: text(), user: Some(text()) };
    all!(StopKind: Cancelled, Parked, Restored, Expired).map(stop).into()
}

fn outcome() -> Outcome {
    Outcome { code: i32::MIN, message: text(), data: json!({ "any": [1] }) }
}

fn targets() -> Vec<Target> {
    let listed = |list: &[&str]| list.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
    let mut leaves = vec![
        Target::Agents(listed(&["001"])),
        Target::Agents(listed(&["001", "4294967295"])),
        Target::Groups(listed(&["web"])),
        Target::Groups(listed(&["web", "db.eu"])),
        Target::All,
        Target::Query("os = linux".into()),
        Target::Failures("t0-17".into(), vec![Status::Failure, Status::Cancelled]),
        Target::Servers(Vec::new()),
        Target::Servers(listed(&["node-1"])),
    ];
    let any = Target::Any(leaves.clone());
    leaves.push(Target::Without(Box::new(any.clone()), Box::new(Target::All)));
    leaves.push(any);
    for target in &leaves {
        match target {
            Target::Agents(_) | Target::Groups(_) | Target::All | Target::Query(_) | Target::Failures(..) => {}
            Target::Servers(_) | Target::Any(_) | Target::Without(..) => {}
        }
    }
    leaves
}

pub fn feed() -> Feed {
    let part = Part { object: "cve-snapshot".into(), size: 1, sha256: "4".repeat(64), offset: 5 };
    Feed { from: 5, to: 9, snapshot: Some(part.clone()), changes: vec![Part { offset: 9, ..part }] }
}

pub fn manifest() -> Manifest {
    Manifest { version: text(), policies: [("cis".to_owned(), digest(b"x"))].into() }
}

pub fn package() -> Package {
    Package {
        name: "muster-agent-5.1.0".into(),
        version: "5.1.0".into(),
        os: text(),
        arch: text(),
        size: 1 << 20,
        sha256: digest(b"x"),
        signature: text(),
    }
}

pub fn dead_letter() -> DeadLetter {
    DeadLetter {
        stream: "RESULTS".into(),
        place: u64::MAX,
        subject: text(),
        reason: text(),
        body: "/w==".into(),
        base64: true,
        size: u64::MAX,
    }
}

pub fn envelopes() -> Vec<Envelope> {
    let of = |target| Envelope {
        id: Some(text()),
        target: Some(target),
        args: json!({ "free": true }),
        source: Some(text()),
        user: Some(text()),
        version: Some(text()),
        timeout: Some(600),
        deliver_until: Some("7d".into()),
        retry: Some(Retry { of: "t0-17".into(), status: vec![Status::Failure] }),
    };
    targets().into_iter().map(of).collect()
}

pub fn command() -> Command {
    Command {
        request_id: text(),
        order_id: "some:001".into(),
        source: Some(text()),
        user: Some(text()),
        target: Recipient { kind: "agent".into(), id: "001".into() },
        action: Action { name: "set-group".into(), args: json!({ "groups": [] }), version: "1".into() },
        order: stamp(),
        timeout: 600,
        deliver_until: instant(),
        sets: lanes(entry()),
    }
}

pub fn hand_over() -> HandOver {
    HandOver {
        commands: vec![command()],
        bodies: [(digest(b"x"), "x".to_owned())].into(),
        confirmed: vec![text()],
        name: Some(text()),
        floor: Some(stamp()),
        epoch: Some(u32::MAX),
        more: true,
        sync_after: Some(300),
    }
}

pub fn enrol() -> Enrol {
    Enrol { name: text(), version: text(), os: text() }
}

pub fn enrolled() -> Enrolled {
    Enrolled { id: "001".into(), name: text() }
}

pub fn hello() -> Hello {
    Hello {
        ledger: text(),
        version: text(),
        os: text(),
        arch: text(),
        labels: [(text(), text())].into(),
        lanes: lanes(stamp()),
        digests: lanes(digest(b"x")),
    }
}

pub fn sync() -> Sync {
    Sync { ledger: text(), lanes: lanes(stamp()), digests: lanes(digest(b"x")) }
}

pub fn report() -> Report {
    let result = |status| CommandResult {
        request_id: text(),
        status,
        lane: Some(Lane::of(Lane::GROUPS)),
        version: Some(stamp()),
        result: outcome(),
    };
    Report { ledger: text(), results: all!(ReportStatus: InProgress, Success, Failure).map(result).into() }
}

pub fn confirmed() -> Confirmed {
    Confirmed { confirmed: vec![text()] }
}

pub fn refused() -> Refused {
    Refused { errors: vec![problem()] }
}

pub fn summaries() -> Vec<Summary> {
    let counts = Counts {
        pending: 1,
        in_progress: 2,
        success: 3,
        failure: 4,
        skipped: 5,
        timeout: 6,
        expired: 7,
        cancelled: 8,
        superseded: 9,
        gone: 10,
    };
    let of = |state| Summary {
        id: text(),
        kind: text(),
        state,
        recipients: Some(55),
        counts,
        order: stamp(),
        digest: digest(b"x"),
        target: Some(Target::All),
        source: Some(text()),
        user: Some(text()),
        created: instant(),
        deliver_until: instant(),
        timeout: 600,
        ended: Some(instant()),
        message: Some(text()),
        errors: vec![problem()],
        stop: stops().pop(),
    };
    all!(State: Pending, Running, Stopping, Rejected, Failed, Cancelled, Succeeded, Expired, Partial).map(of).into()
}

pub fn facts() -> Vec<Fact> {
    let mut facts = vec![
        Fact::Nothing { reason: text() },
        Fact::Refused { errors: vec![problem()] },
        Fact::Frozen,
        Fact::Page { n: u32::MAX },
        Fact::Expired,
    ];
    facts.extend(sets().map(|numbers| Fact::Superseded { by: text(), numbers }));
    facts.extend(sets().map(|numbers| Fact::Gone { numbers }));
    facts.extend(stops().into_iter().map(|stop| Fact::Stopped { stop, after: Some(u32::MAX), edge: true }));
    for fact in &facts {
        match fact {
            Fact::Nothing { .. } | Fact::Refused { .. } | Fact::Frozen | Fact::Page { .. } => {}
            Fact::Superseded { .. } | Fact::Gone { .. } | Fact::Stopped { .. } | Fact::Expired => {}
        }
    }
    facts
}

pub fn stored_results() -> Vec<StoredResult> {
    let of = |status| StoredResult { number: u32::MAX, status, result: outcome() };
    all!(ReportStatus: InProgress, Success, Failure).map(of).into()
}

pub fn agent() -> Agent {
    let mut lanes = lanes(entry());
    lanes.insert(Lane::of(Lane::GROUPS), entry());
    Agent {
        number: u32::MAX,
        name: text(),
        groups: vec![text()],
        version: stamp(),
        lanes,
        nkey: format!("U{}", "A2".repeat(27) + "B"),
        enrolled: instant(),
        gone: true,
    }
}

pub fn groups() -> Vec<Group> {
    let content =
        Content { revision: u64::MAX, digest: Some(digest(b"x")), disabled: true, order: stamp(), task: text() };
    let contents = [(Lane::of(Lane::CONFIG), content)];
    let of = |life| Group { life, by: Some(text()), contents: contents.clone().into() };
    all!(Life: Alive, Deleting, Deleted).map(of).into()
}

pub fn reported() -> Reported {
    Reported {
        version: text(),
        os: text(),
        arch: text(),
        labels: [(text(), text())].into(),
        digests: lanes(digest(b"x")),
        seen: Some(instant()),
    }
}

fn changes() -> Vec<Change> {
    let lane = || Lane::item_of(Lane::SCA, "cis");
    let (digest, revision) = (Some(digest(b"x")), u64::MAX);
    let content = Change::Content { group: text(), content: lane(), digest: digest.clone(), revision, disabled: true };
    let index = Change::Index { content: lane(), digest, revision };
    let name = Change::Name { agent: "007".into(), name: "web-1".into() };
    let life = |life| Change::Life { group: text(), life };
    let mut changes: Vec<_> = all!(Life: Alive, Deleting, Deleted).map(life).into();
    changes.extend([content, index, name]);
    for change in &changes {
        match change {
            Change::Content { .. } | Change::Life { .. } | Change::Index { .. } | Change::Name { .. } => {}
        }
    }
    changes
}

fn stored<D>(decisions: impl IntoIterator<Item = D>) -> Vec<Stored<D>> {
    let store = |decision| Stored { format: FORMAT, delivery: u64::MAX, decision };
    decisions.into_iter().map(store).collect()
}

pub fn planned() -> Vec<Stored<Planned>> {
    let plan = |select| Plan {
        action: "set-group".into(),
        lane: Some(Lane::of(Lane::GROUPS)),
        select,
        args: json!({ "free": true }),
        changes: changes(),
        finish: changes(),
        on_stop: changes(),
        superseded_by: Some(text()),
        // Bodies are stored by themselves and not written with the plan.
        bodies: Vec::new(),
    };
    let mut decisions: Vec<_> = targets().into_iter().map(|target| Planned::Plan(Box::new(plan(target)))).collect();
    decisions.push(Planned::Refused { errors: vec![problem()] });
    decisions.push(Planned::Nothing { reason: text() });
    decisions.extend(stops().into_iter().map(Planned::Stop));
    for decision in &decisions {
        match decision {
            Planned::Plan(_) | Planned::Refused { .. } | Planned::Nothing { .. } | Planned::Stop(_) => {}
        }
    }
    stored(decisions)
}

pub fn frozen() -> Vec<Stored<Frozen>> {
    let mut decisions: Vec<_> = stops().into_iter().map(Frozen::Stop).collect();
    decisions.push(Frozen::Recipients { count: 70_000, containers: vec![0, u16::MAX] });
    for decision in &decisions {
        match decision {
            Frozen::Recipients { .. } | Frozen::Stop(_) => {}
        }
    }
    stored(decisions)
}

pub fn paged() -> Vec<Stored<Paged>> {
    let page = |set: Numbers| Page {
        upto: Some(u32::MAX),
        last: true,
        commanded: set.clone(),
        skipped: [(text(), set.clone())].into(),
        gone: set.clone(),
        superseded: [(text(), set.clone())].into(),
        replaced: [(text(), set)].into(),
    };
    let mut decisions: Vec<_> = sets().map(page).map(Paged::Page).into();
    decisions.extend(stops().into_iter().map(Paged::Stop));
    for decision in &decisions {
        match decision {
            Paged::Page(_) | Paged::Stop(_) => {}
        }
    }
    stored(decisions)
}
