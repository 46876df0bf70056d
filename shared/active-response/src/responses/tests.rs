#![allow(clippy::unwrap_used)]
use serde_json::json;

use super::*;
use crate::report::Exit;
use crate::testing::{Home, response};

/// Speaks as the programs of 4.x do, and logs what it does.
const BLOCK: &str = r#"
read -r order
ip=$(printf '%s' "$order" | sed -n 's/.*"srcip":"\([^"]*\)".*/\1/p')
case "$order" in
*'"command":"add"'*)
    echo '{"version":1,"origin":{"name":"block","module":"active-response"},"command":"check_keys","parameters":{"keys":["'"$ip"'"]}}'
    read -r answer
    case "$answer" in
    *'"command":"continue"'*) echo "add $ip" >> log ;;
    *'"command":"abort"'*) echo "abort $ip" >> log ;;
    *) echo "no answer" >> log; exit 1 ;;
    esac ;;
*'"command":"delete"'*) echo "delete $ip" >> log ;;
esac"#;

const T0: Instant = Instant(1_800_000_000_000);

fn after(seconds: u64) -> Instant {
    T0.plus(Duration::from_secs(seconds))
}

fn alert(ip: &str) -> Alert {
    Alert::new(json!({"data": {"srcip": ip}, "rule": {"id": "5710"}})).unwrap()
}

fn order(id: &str) -> Order<'_> {
    Order { id, timeout: Duration::from_secs(60), repeated_offenders: &[] }
}

fn open(home: &Home) -> Responses {
    Responses::open(home.path(), "web-1", T0).unwrap().with_grace(Duration::from_millis(300))
}

fn block(home: &Home) -> Response {
    home.script("block", BLOCK);
    response("block", "stateful", "stateful_timeout: 60\nneeds: [data.srcip]")
}

#[tokio::test]
async fn done_and_undone() {
    let home = Home::new();
    let (block, responses) = (block(&home), open(&home));
    let report = responses.execute(&order("t:1"), &block, &alert("10.0.0.1"), T0).await;
    assert!(report.is_success() && report.ending == Ending::Done, "{report:?}");
    assert_eq!(report.run.as_ref().unwrap().exit, Exit::Code(0));
    let due = responses.next_due().unwrap();
    assert!(due >= after(60) && report.undo_at == Some(due));
    assert_eq!(responses.due(after(59)).await, []);
    assert_eq!(home.read("log"), "add 10.0.0.1\n");
    let undone = responses.due(due).await;
    assert_eq!((undone.len(), undone[0].left, undone[0].order.as_str()), (1, Left::Nothing, "t:1"));
    assert_eq!(home.read("log"), "add 10.0.0.1\ndelete 10.0.0.1\n");
    assert_eq!((responses.next_due(), responses.due(after(9999)).await.len()), (None, 0));
}

#[tokio::test]
async fn the_same_keys_are_aborted_and_last_longer() {
    let home = Home::new();
    let (block, responses) = (block(&home), open(&home));
    responses.execute(&order("t:1"), &block, &alert("10.0.0.1"), T0).await;
    let report = responses.execute(&order("u:1"), &block, &alert("10.0.0.1"), after(30)).await;
    assert_eq!(report.ending, Ending::InForce);
    assert!(report.is_success() && report.undo_at >= Some(after(90)));
    assert_eq!(report.outcome().data["ending"], "in-force");
    responses.execute(&order("v:1"), &block, &alert("10.0.0.2"), after(30)).await;
    assert_eq!(responses.due(after(89)).await, []);
    assert_eq!(responses.due(after(100)).await.len(), 2);
    let log = home.read("log");
    assert!(log.starts_with("add 10.0.0.1\nabort 10.0.0.1\nadd 10.0.0.2\n"), "{log}");
    let report = responses.execute(&order("w:1"), &block, &alert("10.0.0.1"), after(200)).await;
    assert_eq!(report.ending, Ending::Done, "in force no more");
}

#[tokio::test]
async fn at_the_same_time_one_acts_and_the_other_is_aborted() {
    let home = Home::new();
    let (block, responses) = (block(&home), open(&home));
    let alert = alert("10.0.0.1");
    let (a, b) = (order("a:1"), order("b:1"));
    let (one, other) =
        tokio::join!(responses.execute(&a, &block, &alert, T0), responses.execute(&b, &block, &alert, T0));
    assert_eq!((one.ending, other.ending), (Ending::Done, Ending::InForce));
    assert_eq!(home.read("log"), "add 10.0.0.1\nabort 10.0.0.1\n");
}

#[tokio::test]
async fn configured_keys_spare_the_program() {
    let home = Home::new();
    home.script("quiet", "read -r order; echo x >> log");
    let quiet = response("quiet", "stateful", "keys: [data.srcip]");
    let responses = open(&home);
    assert_eq!(responses.execute(&order("a:1"), &quiet, &alert("10.0.0.1"), T0).await.ending, Ending::Done);
    let report = responses.execute(&order("b:1"), &quiet, &alert("10.0.0.1"), T0).await;
    assert_eq!((report.ending, report.run), (Ending::InForce, None));
    assert_eq!(home.read("log"), "x\n");
}

#[tokio::test]
async fn what_cannot_be_run_is_refused_and_leaves_nothing() {
    let home = Home::new();
    let (block, responses) = (block(&home), open(&home));
    home.file("lost", "#!/no/such/interpreter\n");
    home.file("plain", "echo no shell for me >> log\n");
    let empty = Alert::new(json!({"data": {}})).unwrap();
    let disabled = response("block", "stateful", "enabled: false");
    for (response, alert, code) in [
        (&block, &empty, "missing-field"),
        (&disabled, &alert("10.0.0.1"), "disabled"),
        (&response("missing", "stateful", ""), &empty, "not-found"),
        (&response("lost", "stateful", ""), &empty, "not-executable"),
        (&response("plain", "stateless", ""), &empty, "not-executable"),
    ] {
        let report = responses.execute(&order("t:1"), response, alert, T0).await;
        let outcome = report.outcome();
        assert_eq!((outcome.data["ending"].as_str(), report.run, report.undo_at), (Some(code), None, None));
        assert!(outcome.code != 0 && !outcome.message.is_empty() && !report.ending.eq(&Ending::Done));
    }
    assert_eq!((responses.next_due(), home.read("log").as_str()), (None, ""));
    let missing = responses.execute(&order("t:1"), &block, &empty, T0).await.outcome();
    assert!(missing.message.contains("'data.srcip'"), "{}", missing.message);
}

#[tokio::test]
async fn what_failed_is_reported_and_undone() {
    let home = Home::new();
    home.script(
        "half",
        "read -r order; case $order in *'\"add\"'*) echo oops >&2; exit 3;; *) echo undone >> log;; esac",
    );
    let responses = open(&home);
    let report = responses.execute(&order("t:1"), &response("half", "stateful", ""), &alert("10.0.0.1"), T0).await;
    assert_eq!(report.ending, Ending::Failed(Fault::Exit(3)));
    assert_eq!((report.run.unwrap().output.as_str(), report.undo_at.is_some()), ("oops\n", true));
    assert_eq!(responses.due(after(200)).await.len(), 1);
    assert_eq!(home.read("log"), "undone\n");
}

#[tokio::test]
async fn a_timeout_is_a_failure_that_is_undone() {
    let home = Home::new();
    home.script("slow", "read -r order; case $order in *'\"add\"'*) sleep 1000;; *) echo undone >> log;; esac");
    let responses = open(&home);
    let order = Order { timeout: Duration::from_millis(10), ..order("t:1") };
    let report = responses.execute(&order, &response("slow", "stateful", ""), &alert("10.0.0.1"), T0).await;
    assert_eq!(report.ending, Ending::Failed(Fault::Timeout(Duration::from_secs(1))), "a second is the least");
    assert_eq!(responses.due(after(200)).await.len(), 1);
    assert_eq!(home.read("log"), "undone\n");
}

#[tokio::test]
async fn a_wrong_question_is_aborted_and_a_failure() {
    let home = Home::new();
    let ask =
        "read -r order; echo '{\"command\":\"check_keys\",\"parameters\":{}}'; read -r answer; echo \"$answer\" >> log";
    home.script("wrong", ask);
    let responses = open(&home);
    let report = responses.execute(&order("t:1"), &response("wrong", "stateful", ""), &alert("10.0.0.1"), T0).await;
    assert!(matches!(report.ending, Ending::Failed(Fault::Protocol(_))), "{report:?}");
    assert_eq!((report.undo_at, responses.next_due()), (None, None));
    assert!(home.read("log").contains("\"abort\""));
}

#[tokio::test]
async fn an_order_that_is_known_is_refused() {
    let home = Home::new();
    let (block, responses) = (block(&home), open(&home));
    responses.execute(&order("t:1"), &block, &alert("10.0.0.1"), T0).await;
    let again = responses.execute(&order("t:1"), &block, &alert("10.0.0.2"), T0).await;
    assert_eq!(again.ending, Ending::Failed(Fault::Known));
    assert_eq!(home.read("log"), "add 10.0.0.1\n");
}

#[tokio::test]
async fn undos_outlive_the_agent() {
    let home = Home::new();
    let (block, responses) = (block(&home), open(&home));
    responses.execute(&order("a:1"), &block, &alert("10.0.0.1"), T0).await;
    responses.execute(&order("b:1"), &block, &alert("10.0.0.2"), after(100)).await;
    let due = responses.next_due();
    assert!(matches!(Responses::open(home.path(), "web-1", T0), Err(OpenError::Locked(_))));
    drop(responses);
    let responses = open(&home);
    assert_eq!(responses.next_due(), due);
    let report = responses.execute(&order("c:1"), &block, &alert("10.0.0.2"), after(110)).await;
    assert_eq!(report.ending, Ending::InForce, "in force still");
    assert_eq!(responses.due(after(110)).await.len(), 1, "what is overdue");
    assert_eq!(responses.due(after(300)).await.len(), 1);
    assert_eq!(home.read("log"), "add 10.0.0.1\nadd 10.0.0.2\nabort 10.0.0.2\ndelete 10.0.0.1\ndelete 10.0.0.2\n");
}

#[tokio::test]
async fn an_undo_that_fails_is_tried_again() {
    let home = Home::new();
    let (block, responses) = (block(&home), open(&home));
    responses.execute(&order("t:1"), &block, &alert("10.0.0.1"), T0).await;
    std::fs::remove_file(home.path().join("active-response/bin/block")).unwrap();
    let undone = responses.due(after(70)).await;
    let Left::Again(again) = undone[0].left else { panic!("{undone:?}") };
    assert!(matches!(undone[0].fault, Some(Fault::NotFound(_))));
    assert!(again >= after(130) && responses.due(after(100)).await.is_empty());
    home.script("block", BLOCK);
    assert_eq!(responses.due(again).await[0].left, Left::Nothing);
    assert_eq!(home.read("log"), "add 10.0.0.1\ndelete 10.0.0.1\n");
}

#[tokio::test]
async fn calls_that_overlap_undo_once() {
    let home = Home::new();
    let (block, responses) = (block(&home), open(&home));
    responses.execute(&order("t:1"), &block, &alert("10.0.0.1"), T0).await;
    let (one, other) = tokio::join!(responses.due(after(70)), responses.due(after(70)));
    assert_eq!(one.len() + other.len(), 1);
}

#[tokio::test]
async fn dropped_it_counts_as_failed() {
    let home = Home::new();
    home.script("slow", "echo $$ > pid; read -r order; case $order in *'\"add\"'*) sleep 1000;; esac");
    let responses = open(&home);
    let (slow, alert, order) = (response("slow", "stateful", ""), alert("10.0.0.1"), order("t:1"));
    tokio::select! {
        report = responses.execute(&order, &slow, &alert, T0) => panic!("{report:?}"),
        () = crate::testing::eventually("it runs", || !home.read("pid").is_empty()) => {}
    }
    assert!(responses.next_due().is_some());
    let pid = home.read("pid");
    crate::testing::eventually("it is killed", || !crate::testing::lives(&pid)).await;
    assert_eq!(responses.due(after(500)).await[0].left, Left::Nothing);
}

#[tokio::test]
async fn a_corrupt_store_is_moved_aside() {
    let home = Home::new();
    std::fs::write(home.path().join("active-response/undo.redb"), "no store at all. ".repeat(500)).unwrap();
    assert_eq!(open(&home).next_due(), None);
    assert_eq!(std::fs::read_dir(home.path().join("active-response")).unwrap().count(), 3);
}

#[tokio::test]
async fn executions_can_be_spawned() {
    let home = Home::new();
    let (block, responses) = (block(&home), std::sync::Arc::new(open(&home)));
    let shared = std::sync::Arc::clone(&responses);
    let spawned = tokio::spawn(async move { shared.execute(&order("t:1"), &block, &alert("10.0.0.1"), T0).await });
    assert!(spawned.await.unwrap().is_success());
    let undone = tokio::spawn(async move { responses.due(after(70)).await });
    assert_eq!(undone.await.unwrap().len(), 1);
}
