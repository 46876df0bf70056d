use super::*;
use muster_core::message::{MAX_REPORT, MAX_RESULTS};

#[test]
fn a_result_is_repeated_until_it_is_confirmed() {
    let tape = Tape::default();
    let mut core = tape.start(&[]);
    carry_out(&mut core, set_group(1, "g1", &[], &[]), &[]);
    assert_eq!(reported(&mut core), said(&[("g1", true)]));
    assert_eq!(reported(&mut core), said(&[]), "once, unless it is asked for");
    assert_eq!(core.report(Which::All).unwrap().results.len(), 1);
    assert_eq!(reported(&mut tape.start(&[])), said(&[("g1", true)]), "also after a restart");
    core.confirmed(&["other".into()]).unwrap();
    assert!(core.reports());
    core.heard(&HandOver { confirmed: vec!["g1".into()], ..HandOver::default() }).unwrap();
    assert!(!core.reports() && core.report(Which::All).is_none() && !tape.start(&[]).reports());
}

#[test]
fn a_result_that_changed_since_it_was_sent_stays() {
    let mut core = agent();
    carry_out(&mut core, set_group(1, "g1", &["a"], &[("a", entry(1, "c1", Some("bad")))]), &["bad"]);
    assert_eq!(reported(&mut core), said(&[("c1", false), ("g1", false)]));
    carry_out(&mut core, set_config("a", 2, "c2", "good"), &["bad"]);
    core.confirmed(&["c1".into(), "g1".into()]).unwrap();
    assert_eq!(reported(&mut core), said(&[("c2", true), ("g1", true)]));
}

#[test]
fn reports_are_bounded_and_the_rest_follows() {
    let mut core = agent();
    let tasks: Vec<String> = (0..2000).map(|n| format!("task-{n:040}")).collect();
    tasks.iter().for_each(|task| assert_eq!(core.take(command("what", task, json!({}), 1)).unwrap(), []));
    let mut seen = Vec::new();
    while let Some(report) = core.report(Which::New) {
        assert!(report.results.len() <= MAX_RESULTS);
        assert!(serde_json::to_vec(&report).unwrap().len() <= MAX_REPORT);
        seen.extend(report.results.into_iter().map(|result| result.request_id));
    }
    assert_eq!(seen, tasks);
    assert!(core.reports() && !core.has_new());
}
