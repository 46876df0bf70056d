//! Any text as a file of a ruleset: it is answered. What is loaded judges any event, which is what the text holds after a
//! line of '===', and in a ruleset with others says the same; what is refused names the file.
#![no_main]

use libfuzzer_sys::fuzz_target;
use muster_sigma::{Event, MAX_PROBLEMS, Ruleset};
use serde_json::json;

const OTHER: &str = "title: Other\nlogsource: {product: x}\ndetection: {s: {zzz|contains: zzz}, condition: s}\n";

fuzz_target!(|text: &str| {
    let (rule, event) = text.split_once("\n===\n").unwrap_or((text, r#"{"a":"x","b":[1,null],"c":{"d":true}}"#));
    match Ruleset::load(json!({ "a.yml": rule }).to_string().as_bytes()) {
        Err(problems) => {
            assert!((1..=MAX_PROBLEMS).contains(&problems.len()));
            assert!(problems.iter().all(|problem| problem.pointer == "/a.yml" || problem.pointer.is_empty()));
        }
        Ok(ruleset) => {
            let Ok(event) = Event::parse(event.as_bytes()) else { return };
            let with_other = json!({ "a.yml": rule, "b.yml": OTHER }).to_string();
            let with_other = Ruleset::load(with_other.as_bytes()).expect("it was loaded alone");
            let mut found = with_other.matches(&event);
            found.retain(|found| found.file == "a.yml");
            assert_eq!(ruleset.matches(&event), found);
        }
    }
});
