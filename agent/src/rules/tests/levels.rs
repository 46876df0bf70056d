use super::*;

/// An agent in the groups `web` and `eu`, each with a configuration.
fn member() -> Core<Tape> {
    let mut core = agent();
    let contents = [("web", entry(4, "c1", Some("w1"))), ("eu", entry(5, "c2", Some("e1")))];
    assert!(carry_out(&mut core, set_group(5, "g1", &["web", "eu"], &contents), &[]));
    assert_eq!(reported(&mut core), said(&[("c1", true), ("c2", true), ("g1", true)]));
    core.confirmed(&["c1".into(), "c2".into(), "g1".into()]).unwrap();
    core
}

#[test]
fn groups_and_their_configurations_are_taken_together() {
    let core = member();
    let (w1, e1) = (digest(b"w1"), digest(b"e1"));
    assert_eq!(in_force(&core), [("web", Some(w1.as_str())), ("eu", Some(e1.as_str()))]);
    assert_eq!(core.state().lanes.len(), 3);
    assert_eq!(core.hello(&About::default(), BTreeMap::new()).lanes[&Lane::config("eu")], Stamp::new(0, 5));
}

#[test]
fn lanes_of_groups_that_it_left_are_forgotten() {
    let mut core = member();
    // A configuration of a group that the list does not name comes with it and is not taken.
    let contents = [("eu", entry(5, "c2", Some("e1"))), ("foreign", entry(6, "c3", Some("f1")))];
    assert!(carry_out(&mut core, set_group(6, "g2", &["eu"], &contents), &[]));
    let lanes: Vec<String> = core.state().lanes.iter().map(|held| held.lane.to_string()).collect();
    assert_eq!((lanes, in_force(&core).len()), (vec!["config=eu".into(), "groups".into()], 1));
    assert_eq!(reported(&mut core), said(&[("c2", true), ("g2", true)]));
}

#[test]
fn a_configuration_that_the_list_does_not_bring_is_dropped_unless_it_is_newer() {
    let mut core = member();
    assert!(carry_out(&mut core, set_config("eu", 9, "c9", "e9"), &[]));
    assert!(carry_out(&mut core, set_group(8, "g2", &["web", "eu"], &[]), &[]));
    assert_eq!(in_force(&core), [("web", None), ("eu", Some(digest(b"e9").as_str()))]);
}

#[test]
fn an_equal_version_is_reported_again_for_the_task_of_the_entry() {
    let mut core = member();
    assert!(!carry_out(&mut core, set_config("web", 4, "other", "w1"), &[]));
    assert_eq!(reported(&mut core), said(&[("other", true)]));
    assert!(carry_out(&mut core, set_config("web", 6, "c6", "bad"), &["bad"]));
    assert_eq!(reported(&mut core), said(&[("c6", false)]));
    // A failed one is not tried again either, not even where it would be good now.
    assert!(!carry_out(&mut core, set_config("web", 6, "c6", "bad"), &[]));
    assert_eq!(reported(&mut core), said(&[("c6", false)]));
    assert!(carry_out(&mut core, set_config("web", 7, "c6", "bad"), &[]));
    assert_eq!(reported(&mut core), said(&[("c6", true)]));
}

#[test]
fn a_lower_version_is_ignored_whatever_its_task() {
    let mut core = member();
    assert!(!carry_out(&mut core, set_config("web", 3, "c1", "w0"), &[]));
    assert!(!carry_out(&mut core, set_group(4, "zz-later", &["web"], &[]), &[]));
    assert_eq!((reported(&mut core), core.state().groups.len()), (vec![], 2));
}

#[test]
fn the_last_good_configuration_stays_in_force() {
    let mut core = member();
    let before = core.state().in_force.clone();
    assert!(carry_out(&mut core, set_config("web", 6, "c6", "bad"), &["bad"]));
    assert_eq!(core.state().in_force, before);
    assert_eq!(core.hello(&About::default(), BTreeMap::new()).lanes[&Lane::config("web")], Stamp::new(0, 6));
    // The other group goes on with the last good one of this.
    assert!(carry_out(&mut core, set_config("eu", 7, "c7", "e7"), &["bad"]));
    let (w1, e7) = (digest(b"w1"), digest(b"e7"));
    assert_eq!(in_force(&core), [("web", Some(w1.as_str())), ("eu", Some(e7.as_str()))]);
    assert_eq!(reported(&mut core), said(&[("c6", false), ("c7", true)]));
}

#[test]
fn what_failed_with_others_succeeds_when_the_cause_is_gone() {
    let mut core = member();
    let contents = [("a", entry(6, "ca", Some("a1"))), ("b", entry(6, "cb", Some("bad")))];
    assert!(carry_out(&mut core, set_group(6, "g6", &["a", "b"], &contents), &["bad"]));
    assert_eq!(reported(&mut core), said(&[("ca", false), ("cb", false), ("g6", false)]));
    assert_eq!(in_force(&core).len(), 2, "the old groups");
    assert!(carry_out(&mut core, set_config("b", 7, "cb7", "b1"), &["bad"]));
    let (a1, b1) = (digest(b"a1"), digest(b"b1"));
    assert_eq!(in_force(&core), [("a", Some(a1.as_str())), ("b", Some(b1.as_str()))]);
    assert_eq!(reported(&mut core), said(&[("ca", true), ("cb7", true), ("g6", true)]));
}

#[test]
fn a_configuration_of_a_foreign_group_is_not_done_but_asks_for_a_sync() {
    let mut core = member();
    let before = core.state().clone();
    assert_eq!(core.take(set_config("db", 9, "c9", "d1")).unwrap(), [Step::Sync]);
    assert_eq!(*core.state(), before);
}

#[test]
fn an_unknown_command_fails_for_the_task_of_each_lane() {
    let mut core = member();
    let sets = [(Lane::of("name"), entry(7, "n1", None)), (Lane::item_of("sca", "cis"), entry(8, "s1", Some("x")))];
    let unknown = Command { sets: sets.into(), ..command("set-weather", "n1", json!({}), 8) };
    assert_eq!(core.take(unknown.clone()).unwrap(), []);
    assert_eq!(reported(&mut core), said(&[("n1", false), ("s1", false)]));
    let failure = core.state().results[0].result.result.clone();
    assert_eq!((failure.code, failure.message.as_str()), (outcome::UNKNOWN, "unknown command: set-weather"));
    assert_eq!(core.take(unknown).unwrap(), []);
    assert_eq!(reported(&mut core), said(&[("n1", false), ("s1", false)]));
}

#[test]
fn a_lane_that_the_agent_does_not_know_fails_and_the_others_are_taken() {
    let mut core = member();
    let mut with = set_group(6, "g6", &["web"], &[("web", entry(4, "c1", Some("w1")))]);
    with.sets.insert(Lane::item_of("weather", "web/rain"), entry(6, "s1", Some("x")));
    assert!(carry_out(&mut core, with, &[]));
    assert_eq!(reported(&mut core), said(&[("c1", true), ("g6", true), ("s1", false)]));
}

#[test]
fn malformed_commands_fail_and_change_nothing() {
    let mut core = member();
    let many: Vec<String> = (0..129).map(|n| format!("g{n}")).collect();
    let lists = [json!({}), json!({ "groups": ["a/b"] }), json!({ "groups": ["a", "a"] }), json!({ "groups": many })];
    for (version, args) in (10..).zip(lists) {
        let task = format!("g{version}");
        let faulty =
            Command { action: command("set-group", &task, args, 0).action, ..set_group(version, &task, &[], &[]) };
        assert!(!carry_out(&mut core, faulty, &[]));
        assert_eq!(reported(&mut core), said(&[(task.as_str(), false)]));
    }
    let mut faulty = set_config("web", 20, "c20", "w");
    faulty.sets.get_mut(&Lane::config("web")).unwrap().digest = Some("../../etc/passwd".into());
    assert!(!carry_out(&mut core, faulty, &[]));
    assert_eq!(reported(&mut core), said(&[("c20", false)]));
    assert_eq!(core.take(command("set-group", "not a task id", json!({}), 1)).unwrap(), []);
    assert_eq!((in_force(&core).len(), reported(&mut core).len()), (2, 0));
    // What failed for its form was no state: the next good one starts from the last good.
    assert!(carry_out(&mut core, set_config("eu", 21, "c21", "e21"), &[]));
    assert_eq!(reported(&mut core), said(&[("c21", true)]));
}

#[test]
fn a_lane_without_a_task_is_taken_and_nobody_is_told() {
    let mut core = agent();
    let mut first = set_group(1, "enrolment", &["default"], &[("default", entry(1, "c1", Some("d")))]);
    first.sets.get_mut(&Lane::of(Lane::GROUPS)).unwrap().order = Stamp::default();
    assert!(carry_out(&mut core, first.clone(), &[]));
    assert_eq!((in_force(&core).len(), reported(&mut core)), (1, said(&[("c1", true)])));
    assert!(!carry_out(&mut core, first, &[]));
    assert_eq!(reported(&mut core), said(&[("c1", true)]));
}

#[test]
fn a_higher_epoch_forgets_the_versions_and_keeps_the_edge_ids() {
    let tape = Tape::default();
    let mut core = tape.start(&[]);
    assert!(carry_out(&mut core, set_group(9, "g9", &["web"], &[("web", entry(9, "c9", Some("w")))]), &[]));
    core.take(command("run", "e1", json!({}), 5)).unwrap();
    let before = core.state().in_force.clone();
    assert!(core.heard(&HandOver { epoch: Some(1), ..HandOver::default() }).unwrap(), "it syncs at once");
    assert!(!core.heard(&HandOver { epoch: Some(1), ..HandOver::default() }).unwrap());
    assert!(!core.heard(&HandOver { epoch: Some(0), ..HandOver::default() }).unwrap());
    assert!(core.state().lanes.is_empty() && core.state().edge("e1").is_some());
    assert_eq!(core.state().in_force, before, "what it runs with stays until the state of now comes");
    // The restored record counts from where the backup was.
    assert!(carry_out(&mut core, set_group(3, "g3", &["eu"], &[]), &[]));
    assert_eq!(tape.start(&[]).state().groups, ["eu"]);
}

#[test]
fn a_state_that_was_overtaken_while_it_was_put_in_force_is_not_recorded() {
    let mut core = member();
    let Some(Step::Set(older)) = core.take(set_config("web", 6, "c6", "w6")).unwrap().pop() else { panic!("newer") };
    assert!(carry_out(&mut core, set_config("web", 7, "c7", "w7"), &[]));
    core.set(older, Ok(())).unwrap();
    assert_eq!(core.state().in_force.digest("web"), Some(digest(b"w7").as_str()));
}

#[test]
fn contents_that_are_lost_are_asked_for_again() {
    let mut core = member();
    core.forget().unwrap();
    assert!(core.hello(&About::default(), BTreeMap::new()).lanes.is_empty() && in_force(&core).is_empty());
    let contents = [("web", entry(4, "c1", Some("w1"))), ("eu", entry(5, "c2", Some("e1")))];
    assert!(carry_out(&mut core, set_group(5, "g1", &["web", "eu"], &contents), &[]));
    assert_eq!(in_force(&core).len(), 2);
}

fn set_policy(lane: &str, version: u64, task: &str, content: Option<&str>) -> Command {
    let name = if content.is_some() { "set-sca-policy" } else { "remove-sca-policy" };
    let sets = [(Lane::item_of(Lane::SCA, lane), entry(version, task, content))].into();
    Command { sets, ..command(name, task, json!({}), version) }
}

/// The other contents in force: lane and digest.
fn contents(core: &Core<Tape>) -> Vec<(String, String)> {
    core.state().in_force.contents.iter().map(|(lane, digest)| (lane.to_string(), digest.clone())).collect()
}

#[test]
fn another_lane_is_put_in_force_by_itself_and_the_last_good_one_stays() {
    let mut core = member();
    assert!(carry_out(&mut core, set_policy("web/cis", 6, "s1", Some("p1")), &[]));
    assert!(carry_out(&mut core, set_policy("web/cis", 7, "s2", Some("bad")), &["bad"]));
    assert_eq!(reported(&mut core), said(&[("s1", true), ("s2", false)]));
    assert_eq!(contents(&core), [("sca=web=2fcis".to_owned(), digest(b"p1"))]);
    // The groups' configurations do not touch it.
    assert!(carry_out(&mut core, set_config("eu", 8, "c8", "e8"), &[]));
    assert_eq!(contents(&core).len(), 1);
    assert!(carry_out(&mut core, set_policy("web/cis", 9, "s3", None), &[]));
    assert_eq!((contents(&core), reported(&mut core)), (vec![], said(&[("c8", true), ("s3", true)])));
}

#[test]
fn a_lane_of_a_group_comes_and_goes_with_the_group() {
    let mut core = member();
    assert_eq!(core.take(set_policy("db/cis", 6, "s1", Some("p1"))).unwrap(), [Step::Sync], "it is in no such group");
    let mut joins = set_group(7, "g7", &["db"], &[]);
    joins.sets.insert(Lane::item_of(Lane::SCA, "db/cis"), entry(7, "s1", Some("p1")));
    assert!(carry_out(&mut core, joins, &[]));
    assert_eq!(reported(&mut core), said(&[("g7", true), ("s1", true)]));
    assert!(carry_out(&mut core, set_group(8, "g8", &["web"], &[]), &[]));
    assert!(contents(&core).is_empty() && core.state().lanes.len() == 1, "{:?}", core.state());
}

#[test]
fn what_takes_its_time_is_overtaken_by_what_is_newer() {
    let mut core = member();
    let Some(Step::Lane(older)) = core.take(set_policy("web/cis", 6, "s1", Some("p1"))).unwrap().pop() else {
        panic!("newer")
    };
    core.started(&older).unwrap();
    assert_eq!(core.report(Which::New).unwrap().results[0].status, ReportStatus::InProgress);
    assert!(carry_out(&mut core, set_policy("web/cis", 7, "s2", Some("p2")), &[]));
    core.done(older, Ok(json!({ "late": true }))).unwrap();
    assert_eq!(contents(&core), [("sca=web=2fcis".to_owned(), digest(b"p2"))]);
}

#[test]
fn contents_of_a_group_that_it_left_go_when_a_later_state_is_good() {
    let mut core = member();
    assert!(carry_out(&mut core, set_policy("web/cis", 6, "s1", Some("p1")), &[]));
    // The list fails, and the state before it stays in force, with the policy.
    assert!(carry_out(&mut core, set_group(7, "g2", &["eu"], &[("eu", entry(7, "c3", Some("bad")))]), &["bad"]));
    assert_eq!(contents(&core).len(), 1);
    // A configuration alone puts the new list in force.
    assert!(carry_out(&mut core, set_config("eu", 8, "c4", "e2"), &[]));
    assert_eq!((in_force(&core).len(), contents(&core).len()), (1, 0));
}

#[test]
fn contents_that_a_restored_server_does_not_know_go_with_its_list_of_groups() {
    let mut core = member();
    assert!(carry_out(&mut core, set_policy("web/cis", 6, "s1", Some("p1")), &[]));
    assert!(core.heard(&HandOver { epoch: Some(1), ..HandOver::default() }).unwrap());
    let mut list = set_group(2, "g1", &["web", "eu"], &[]);
    list.sets.values_mut().for_each(|entry| entry.version.epoch = 1);
    assert!(carry_out(&mut core, list, &[]));
    assert_eq!((in_force(&core).len(), contents(&core).len()), (2, 0));
}
