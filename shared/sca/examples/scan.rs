//! Runs a policy on this machine and prints the report, with what it took to standard error:
//! `cargo run --release -p muster-sca --example scan -- policy.yml [commands]`.

#[cfg(target_os = "linux")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    use std::time::Instant;

    use muster_sca::{Linux, Options, Policy, scan};

    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("the path of a policy is missing")?;
    let commands = arguments.next().is_some_and(|argument| argument == "commands");
    let text = std::fs::read_to_string(path)?;
    let begun = Instant::now();
    let policy = match Policy::parse(&text) {
        Ok(policy) => policy,
        Err(problems) => {
            problems.iter().for_each(|problem| eprintln!("{problem}"));
            return Err("the policy is refused".into());
        }
    };
    eprintln!("read in {:?}", begun.elapsed());
    let begun = Instant::now();
    let report = scan(&policy, &Linux::default(), Options { commands, ..Options::default() });
    eprintln!("run in {:?}", begun.elapsed());
    println!("{}", serde_json::to_string_pretty(&report)?);
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn main() {}
