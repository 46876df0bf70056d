//! Measures how long a ruleset takes to load and how many events a second one thread judges by it:
//! `cargo run --release -p muster-sigma --example throughput [rules]`.
//!
//! The rules are made up in the proportions of the public ones: mostly parts and ends of paths and command lines, some
//! with filters, dashes, expressions, wildcards, networks, keywords.

use std::time::Instant;

use muster_sigma::{Engine, Event};
use serde_json::{Map, Value, json};

fn detection(n: usize) -> Value {
    let program = format!("\\tool{n}.exe");
    match n % 10 {
        0 => {
            json!({ "s": { "Image|endswith": [program, "\\cmd.exe"], "CommandLine|contains|all": [format!("-arg{n}"), "http"] },
                     "f": { "ParentImage|startswith": "C:\\Program Files\\" }, "condition": "s and not f" })
        }
        1 => json!({ "s": { "CommandLine|contains|windash": format!(" -option{n}") }, "condition": "s" }),
        2 => {
            json!({ "s": { "CommandLine|re|i": format!("(?:iex|invoke)-[a-z]{{3,{}}}\\s+tool{n}", 5 + n % 7) }, "condition": "s" })
        }
        3 => json!({ "s": { "TargetFilename": format!("*\\temp\\*payload{n}?.dll") }, "condition": "s" }),
        4 => json!({ "s": { "DestinationIp|cidr": format!("10.{}.0.0/16", n % 256) }, "f": { "User": ["root", null] },
                     "condition": "s and not f" }),
        5 if n % 50 == 5 => json!({ "k": [format!("exploit {n}"), format!("dropper{n}")], "condition": "k" }),
        6 => json!({ "s": { "CommandLine|base64offset|contains": format!("DownloadString{n}") }, "condition": "s" }),
        7 => json!({ "s": { "EventID": 4000 + n }, "g": { "LogonType": [3, 10] }, "condition": "all of them" }),
        _ => json!({ "a": { "Image|endswith": program }, "b": { "OriginalFileName": format!("TOOL{n}.EXE") },
                     "c": { "CommandLine|contains": [format!("tool{n} "), "--dump", "sekurlsa"] },
                     "f_known": { "Hashes|contains": format!("SHA256={n:064x}") },
                     "condition": "(1 of a* or b) and c and not 1 of f_*" }),
    }
}

fn event(n: usize) -> Value {
    json!({
        "EventID": 1, "Channel": "Microsoft-Windows-Sysmon/Operational", "Computer": format!("host-{}", n % 500),
        "UtcTime": "2024-05-01 10:20:30.123", "ProcessId": 4000 + n, "Image": format!("C:\\Windows\\System32\\tool{}.exe", n % 3000),
        "OriginalFileName": format!("tool{}.exe", n % 3000), "CommandLine": format!("tool{} --dump C:\\Users\\u{n}\\x.bin -option{}", n % 3000, n % 2000),
        "User": "CORP\\alice", "IntegrityLevel": "High", "Hashes": format!("SHA256={:064X}", n.wrapping_mul(0x9e37)),
        "ParentImage": "C:\\Windows\\explorer.exe", "ParentCommandLine": "C:\\Windows\\explorer.exe /factory",
        "DestinationIp": format!("10.{}.3.4", n % 256), "logsource": { "product": "windows" },
        "data": { "rule": { "groups": ["sysmon", "process"], "level": 3 }, "note": "a".repeat(200) }
    })
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let count: usize = std::env::args().nth(1).map_or(Ok(1_000), |text| text.parse())?;
    let rule = |n| {
        json!({ "title": format!("Rule {n}"), "id": format!("{n:08}-0000-4000-8000-000000000000"), "level": "high",
                           "logsource": { "product": "windows" }, "detection": detection(n) })
    };
    let files: Map<String, Value> = (0..count).map(|n| (format!("{n}.yml"), rule(n).to_string().into())).collect();
    let body = json!(files).to_string();

    let engine = Engine::default();
    let start = Instant::now();
    let loaded = engine.replace(1, body.as_bytes()).map_err(|problems| format!("{problems:#?}"))?;
    println!("{} rules, {} KiB: loaded in {:?}", loaded.rules, body.len() / 1024, start.elapsed());

    let texts: Vec<_> = (0..20_000).map(|n| event(n).to_string()).collect();
    let bytes = texts.iter().map(String::len).sum::<usize>() / texts.len();
    let start = Instant::now();
    let mut found = 0;
    for text in &texts {
        found += engine.judge(&Event::parse(text.as_bytes()).map_err(|problem| problem.to_string())?).matches.len();
    }
    let took = start.elapsed();
    let rate = texts.len() as f64 / took.as_secs_f64();
    println!("{} events of {bytes} bytes, {found} matches: {rate:.0} events/s on one thread", texts.len());

    let large = json!({ "CommandLine": "invoke-abcdef tool tool ".repeat(2_700), "Image": "\\cmd.exe" });
    let large = Event::new(large).map_err(|problem| problem.to_string())?;
    let start = Instant::now();
    for _ in 0..20 {
        engine.judge(&large);
    }
    println!("an event of the largest size: {:?}", start.elapsed() / 20);
    Ok(())
}
