#![allow(clippy::unwrap_used)]
use std::path::PathBuf;

use super::*;
use crate::testing::{Home, eventually, lives};

const LONG: Duration = Duration::from_secs(60);

/// Runs a script that is told `line`, with an answerer that answers `answer`.
struct Case {
    home: Home,
    path: PathBuf,
    arguments: Vec<String>,
    line: String,
    timeout: Duration,
}

impl Case {
    fn new(body: &str) -> Self {
        let home = Home::new();
        let path = home.script("x", body);
        Self { home, path, arguments: Vec::new(), line: "{}\n".into(), timeout: LONG }
    }

    fn mark(&self) -> String {
        format!("test {}", self.home.path().display())
    }

    async fn run(&self, answerer: Option<Answerer<'_>>) -> Run {
        let mark = self.mark();
        let program = Program { path: &self.path, arguments: &self.arguments, home: self.home.path(), mark: &mark };
        let limits = Limits { timeout: self.timeout, grace: Duration::from_millis(300) };
        run(&program, self.line.clone(), limits, answerer).await.unwrap()
    }
}

#[tokio::test]
async fn arguments_are_a_list_and_no_shell_sees_them() {
    let mut case = Case::new("echo \"$#\"; for a in \"$@\"; do echo \"[$a]\"; done");
    let arguments = ["a b", "; touch evil", "$(touch evil)", "`touch evil`", "", "*", "-n", "é\n\""];
    case.arguments = arguments.map(str::to_owned).into();
    let run = case.run(None).await;
    let listed: String = arguments.iter().map(|a| format!("[{a}]\n")).collect();
    assert_eq!(run.output, format!("8\n{listed}"));
    assert!(!case.home.path().join("evil").exists());
}

#[tokio::test]
async fn it_gets_its_line_and_a_clean_place() {
    let mut case = Case::new(
        "read -r line; echo \"$line\"; pwd; tr '\\0' '\\n' < /proc/$$/environ; ls -l /proc/$$/fd >&2; \
         echo \"ids: $(cut -d' ' -f 1,5 /proc/$$/stat)\"",
    );
    let secret = std::fs::File::create(case.home.path().join("secret")).unwrap();
    case.line = "{\"a\":\"b c\"}\n".into();
    let run = case.run(None).await;
    drop(secret);
    let mark = case.mark();
    let home = std::fs::canonicalize(case.home.path()).unwrap();
    let begins = format!("{{\"a\":\"b c\"}}\n{}\n", home.display());
    assert!(run.output.starts_with(&begins), "{}", run.output);
    let wanted = format!("MUSTER_ACTIVE_RESPONSE={mark}\nPATH=/usr/local/sbin:");
    let environment = &run.output[begins.len()..];
    assert!(environment.starts_with(&wanted), "{environment}");
    assert!(!run.output.contains("CARGO") && !run.output.contains("HOME="), "{}", run.output);
    assert!(!run.output.contains("secret"), "{}", run.output);
    let ids = environment.lines().find_map(|line| line.strip_prefix("ids: ")).unwrap();
    let (process, group) = ids.split_once(' ').unwrap();
    assert_eq!(process, group, "it leads its group");
}

#[tokio::test]
async fn a_program_that_takes_too_long_is_killed_with_all_its_children() {
    let mut case = Case::new(
        "trap '' TERM
         (trap '' TERM; while :; do sleep 1; done) & echo $! > child
         setsid sh -c \"trap '' TERM; echo \\$\\$ > escaped; while :; do sleep 1; done\" &
         env -i /bin/sh -c \"trap '' TERM; echo \\$\\$ > bare; while :; do /bin/sleep 1; done\" &
         echo $$ > leader; echo begun
         while :; do sleep 1; done",
    );
    case.timeout = Duration::from_secs(3);
    let run = case.run(None).await;
    assert_eq!((run.exit, run.output.as_str()), (Exit::Timeout(case.timeout), "begun\n"));
    // One is found by its group alone, one by its mark alone.
    for who in ["leader", "child", "bare", "escaped"] {
        let pid = case.home.read(who);
        assert!(!pid.is_empty(), "{who} did not start");
        eventually(who, || !lives(&pid)).await;
    }
}

#[tokio::test]
async fn one_that_obeys_the_first_signal_may_still_speak() {
    let mut case =
        Case::new("exec 2>/dev/null; trap 'echo bye; exit 0' TERM; echo begun; while :; do sleep 0.05; done");
    case.timeout = Duration::from_secs(2);
    let run = case.run(None).await;
    assert_eq!((run.exit, run.output.as_str()), (Exit::Timeout(case.timeout), "begun\nbye\n"));
}

#[tokio::test]
async fn output_is_bounded_and_counted() {
    let run = Case::new("head -c 10000000 /dev/zero | tr '\\0' x; head -c 1000000 /dev/zero >&2").run(None).await;
    assert_eq!((run.exit, run.output_bytes, run.truncated), (Exit::Code(0), 11_000_000, true));
    assert_eq!(run.output.len(), 4096);
    let mut answerer = |_: Question| String::new();
    let run = Case::new("head -c 10000000 /dev/zero | tr '\\0' x").run(Some(&mut answerer)).await;
    assert_eq!((run.exit, run.output_bytes, run.truncated), (Exit::Code(0), 10_000_000, true));
}

#[tokio::test]
async fn what_it_says_last_is_heard() {
    for _ in 0..20 {
        let run = Case::new("printf a; printf b >&2; printf c").run(None).await;
        let mut bytes = run.output.into_bytes();
        bytes.sort_unstable();
        assert_eq!((bytes.as_slice(), run.truncated), (b"abc".as_slice(), false));
    }
}

#[tokio::test]
async fn a_program_need_not_listen() {
    for (body, output) in
        [("echo done", "done\n"), ("exec 0<&-; echo done; sleep 0.2", "done\n"), ("read -r x; echo $x", "")]
    {
        let mut case = Case::new(body);
        // More than a pipe holds.
        case.line = format!("{}\n", " ".repeat(1 << 20));
        let run = case.run(None).await;
        assert_eq!((run.exit, run.output.trim()), (Exit::Code(0), output.trim()), "{body}");
    }
}

#[tokio::test]
async fn exit_codes_and_signals() {
    for (body, exit) in [
        ("exit 0", Exit::Code(0)),
        ("exit 3", Exit::Code(3)),
        ("exit 255", Exit::Code(255)),
        ("kill -9 $$", Exit::Signal(9)),
        ("kill -15 $$", Exit::Signal(15)),
    ] {
        assert_eq!(Case::new(body).run(None).await.exit, exit, "{body}");
    }
}

#[tokio::test]
async fn what_a_program_leaves_running_holds_nobody_and_stays() {
    let case = Case::new("sleep 1000 & echo $! > left; echo done");
    let run = case.run(None).await;
    assert_eq!((run.exit, run.output.as_str()), (Exit::Code(0), "done\n"));
    let left = case.home.read("left");
    assert!(lives(&left));
    let marks = vec![case.mark()];
    assert_eq!(tokio::task::spawn_blocking(move || leftovers::end(&marks)).await.unwrap(), 1);
    eventually("the child is gone", || !lives(&left)).await;
}

#[tokio::test]
async fn a_child_that_writes_for_ever_holds_nobody() {
    let case = Case::new("yes & echo $! > left; sleep 0.3");
    let run = case.run(None).await;
    assert_eq!(run.exit, Exit::Code(0));
    let left = case.home.read("left");
    eventually("nobody reads it any more", || !lives(&left)).await;
}

#[tokio::test]
async fn dropped_it_is_killed() {
    let case = Case::new("echo $$ > leader; sleep 1000 & echo $! > child; wait");
    let begun = eventually("it runs", || !case.home.read("child").is_empty());
    tokio::select! {
        _ = case.run(None) => panic!("it must not end"),
        () = begun => {}
    }
    for who in ["leader", "child"] {
        let pid = case.home.read(who);
        eventually(who, || !lives(&pid)).await;
    }
}

const ASK: &str = "read -r order
    echo first
    echo '{\"version\":1,\"origin\":{\"name\":\"x\",\"module\":\"active-response\"},\"command\":\"check_keys\",\"parameters\":{\"keys\":[\"10.0.0.1\"]}}'
    read -r answer
    echo \"$order $answer\"";

#[tokio::test]
async fn a_question_is_answered() {
    let mut asked = Vec::new();
    let mut answerer = |question: Question| {
        asked.push(question);
        "answer\n".to_owned()
    };
    let run = Case::new(ASK).run(Some(&mut answerer)).await;
    assert_eq!((run.exit, run.output.as_str()), (Exit::Code(0), "first\n{} answer\n"));
    assert_eq!(asked, [Ok(vec!["10.0.0.1".to_owned()])]);
}

#[tokio::test]
async fn who_gets_no_answer_finds_the_end_of_its_input() {
    let run = Case::new(ASK).run(None).await;
    assert_eq!(run.exit, Exit::Code(0));
    assert!(run.output.contains("check_keys") && run.output.ends_with("{} \n"), "{}", run.output);
}

#[tokio::test]
async fn one_that_asks_and_does_not_wait_was_heard() {
    let mut asked = 0;
    let mut answerer = |_: Question| {
        asked += 1;
        "answer\n".to_owned()
    };
    let body = "echo '{\"command\":\"check_keys\",\"parameters\":{\"keys\":[]}}'";
    assert_eq!(Case::new(body).run(Some(&mut answerer)).await.exit, Exit::Code(0));
    assert_eq!(asked, 1);
}

#[tokio::test]
async fn what_cannot_be_started_is_an_error() {
    let case = Case::new("");
    let path = case.home.file("y", "#!/no/such/interpreter\n");
    let program = Program { path: &path, arguments: &[], home: case.home.path(), mark: "m" };
    let limits = Limits { timeout: LONG, grace: LONG };
    assert!(run(&program, String::new(), limits, None).await.is_err());
}
