use super::*;

const ACTIONS: &[&str] = &["run-active-response"];

fn edge(task: &str, order: u64) -> Command {
    command("run-active-response", task, json!({ "name": "block" }), order)
}

fn floor(order: u64) -> HandOver {
    HandOver { floor: Some(Stamp::new(0, order)), ..HandOver::default() }
}

fn runs(step: &[Step]) -> bool {
    matches!(step, [Step::Run { .. }])
}

#[test]
fn started_is_durable_before_it_starts_and_done_before_it_is_reported() {
    let tape = Tape::default();
    let mut core = tape.start(ACTIONS);
    assert!(runs(&core.take(edge("e1", 7)).unwrap()));
    let started = Edge { task: "e1".into(), order: Stamp::new(0, 7), outcome: None, confirmed: false };
    assert_eq!(tape.last(), (vec![Change::Edge("e1".into(), Some(started))], Durability::Now));
    assert_eq!(core.report(Which::All), None);
    core.finished("e1", outcome::outcome(0, "blocked")).unwrap();
    let (changes, durability) = tape.last();
    assert_eq!(durability, Durability::Now);
    assert!(
        matches!(&changes[..], [Change::Edge(_, Some(edge)), Change::Result(_, Some(_))] if edge.outcome.is_some())
    );
    assert_eq!(reported(&mut core), said(&[("e1", true)]));
}

#[test]
fn it_runs_at_most_once_and_is_reported_again() {
    let mut core = Tape::default().start(ACTIONS);
    assert!(runs(&core.take(edge("e1", 7)).unwrap()));
    assert_eq!(core.take(edge("e1", 7)).unwrap(), [], "it still runs");
    assert_eq!(core.report(Which::All), None);
    core.finished("e1", outcome::outcome(3, "no such address")).unwrap();
    core.finished("e1", outcome::outcome(0, "")).unwrap();
    assert_eq!(reported(&mut core), said(&[("e1", false)]));
    core.confirmed(&["e1".into()]).unwrap();
    assert_eq!(core.take(edge("e1", 7)).unwrap(), []);
    assert_eq!(reported(&mut core), said(&[("e1", false)]));
}

#[test]
fn what_a_restart_interrupts_fails_and_is_not_started_again() {
    let tape = Tape::default();
    assert!(runs(&tape.start(ACTIONS).take(edge("e1", 7)).unwrap()));
    let mut core = tape.start(ACTIONS);
    assert_eq!(core.state().results[0].result.result.code, outcome::INTERRUPTED);
    assert_eq!(reported(&mut core), said(&[("e1", false)]));
    assert_eq!(core.take(edge("e1", 7)).unwrap(), []);
    assert_eq!(reported(&mut tape.start(ACTIONS)), said(&[("e1", false)]), "it is reported until it is confirmed");
}

#[test]
fn below_the_floor_it_never_starts() {
    let mut core = Tape::default().start(ACTIONS);
    assert!(!core.heard(&floor(8)).unwrap());
    assert_eq!(core.take(edge("e7", 7)).unwrap(), []);
    assert!(runs(&core.take(edge("e8", 8)).unwrap()));
    assert_eq!(core.report(Which::All), None);
    core.heard(&floor(3)).unwrap();
    assert_eq!(core.state().floor, Stamp::new(0, 8), "a floor does not fall");
}

#[test]
fn an_id_leaves_only_when_it_is_confirmed_and_below_the_floor() {
    let mut core = Tape::default().start(ACTIONS);
    for (task, order) in [("e1", 1), ("e2", 2), ("e9", 9)] {
        assert!(runs(&core.take(edge(task, order)).unwrap()));
        core.finished(task, outcome::outcome(0, "")).unwrap();
    }
    let ids = |core: &Core<Tape>| core.state().edges.iter().map(|edge| edge.task.clone()).collect::<Vec<_>>();
    reported(&mut core);
    core.confirmed(&["e1".into(), "e9".into()]).unwrap();
    assert_eq!(ids(&core), ["e1", "e2", "e9"]);
    core.heard(&floor(5)).unwrap();
    assert_eq!(ids(&core), ["e2", "e9"]);
    // A late copy is older than the floor now, and is not started a second time.
    assert_eq!(core.take(edge("e1", 1)).unwrap(), []);
    core.confirmed(&["e2".into()]).unwrap();
    assert_eq!(ids(&core), ["e9"]);
}

#[test]
fn an_unknown_command_fails_once() {
    let mut core = agent();
    assert_eq!(core.take(edge("e1", 7)).unwrap(), []);
    assert_eq!(core.state().results[0].result.result.message, "unknown command: run-active-response");
    assert_eq!(reported(&mut core), said(&[("e1", false)]));
}

#[test]
fn data_that_is_too_large_is_left_out() {
    let mut core = Tape::default().start(ACTIONS);
    core.take(edge("e1", 7)).unwrap();
    let outcome = Outcome { code: 0, message: "é".repeat(3000), data: json!("x".repeat(5000)) };
    core.finished("e1", outcome).unwrap();
    let kept = core.report(Which::New).unwrap().results.remove(0).result;
    assert_eq!((kept.data, kept.message.chars().count()), (Value::Null, 1024));
}
