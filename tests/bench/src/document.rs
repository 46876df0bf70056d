//! The report as tables of Markdown, and where they stand in a page.

use std::fmt::Write as _;

use anyhow::{Context as _, Result};

use crate::newcomers::Newcomers;
use crate::report::{Latencies, Report, Run};

/// What stands around the tables in a page.
const BEGIN: &str = "<!-- written by make bench: -->";
const END: &str = "<!-- until here -->";

/// The page with the plot and these tables in the place of the old ones.
///
/// # Errors
/// When the page has no place for them.
pub fn put(page: &str, report: &Report) -> Result<String> {
    let (before, rest) = page.split_once(BEGIN).with_context(|| format!("the page has no line {BEGIN}"))?;
    let (_, after) = rest.split_once(END).with_context(|| format!("the page has no line {END}"))?;
    let plot = "![How many times the limit a rollout takes](performance.svg)";
    Ok(format!("{before}{BEGIN}\n\n{plot}\n\n{}\n{END}{after}", tables(report)))
}

/// All tables.
pub fn tables(report: &Report) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = write_all(&mut out, report);
    out
}

fn write_all(out: &mut String, report: &Report) -> std::fmt::Result {
    let load = report.all().map(|run| run.load).fold(report.load, f64::max);
    writeln!(
        out,
        "Measured {}, {} repeats, medians; the load average of the machine was up to {load:.1} before a repeat.\n",
        report.at, report.repeat
    )?;
    writeln!(
        out,
        "| type | agents | to the final status | limit | ratio (least to most) | confirmed p50 / p99 | exact |\n\
         |---|---|---|---|---|---|---|"
    )?;
    for run in report.all() {
        let Run { kind, n, t_final_s, limit_s, ratio, confirmed_p50_s, confirmed_p99_s, spread, .. } = run;
        let (least, most, exact) = (spread.ratio.least, spread.ratio.most, if run.exact { "yes" } else { "**no**" });
        writeln!(
            out,
            "| {kind} | {n} | {t_final_s:.3} s | {limit_s:.3} s | {ratio:.2} ({least:.2} to {most:.2}) \
             | {confirmed_p50_s:.3} / {confirmed_p99_s:.3} s | {exact} |"
        )?;
    }
    writeln!(
        out,
        "\n| type | agents | CPU an agent: broker | all else | of which functions | gateway | collector \
         | fleet | of the limit: broker | client | disk an agent |\n|---|---|---|---|---|---|---|---|---|---|---|"
    )?;
    for run in report.all() {
        let cpu = |name: &str| run.cpu_us_per_agent.get(name).copied().unwrap_or_default();
        let (function, gateway) = (cpu(run.kind), cpu("comms-api"));
        let (collector, fleet) = (cpu("result-collector"), cpu("fleet"));
        writeln!(
            out,
            "| {} | {} | {:.1} µs | {:.1} µs | {function:.1} | {gateway:.1} | {collector:.1} | {fleet:.1} \
             | {:.1} µs | {:.1} µs | {:.0} B |",
            run.kind,
            run.n,
            run.cpu_us_per_agent_broker,
            run.cpu_us_per_agent_rest,
            run.limit_cpu_us_per_agent.broker,
            run.limit_cpu_us_per_agent.client,
            run.disk_bytes_per_agent
        )?;
    }
    writeln!(
        out,
        "\n| the limit's parts, seconds | agents | records read | written | commands stored | fetched | pushed | results stored | fetched |\n|---|---|---|---|---|---|---|---|---|"
    )?;
    for run in report.all() {
        let limit = &run.limit;
        writeln!(
            out,
            "| {} | {} | {:.3} | {:.3} | {:.3} | {:.3} | {:.3} | {:.3} | {:.3} |",
            run.kind,
            run.n,
            limit.records_read_s,
            limit.records_written_s,
            limit.commands_stored_s,
            limit.commands_fetched_s,
            limit.pushed_s,
            limit.results_stored_s,
            limit.results_fetched_s
        )?;
    }
    writeln!(
        out,
        "\n| agents | enrolled in | a minute | peak memory: broker | of all functions and services the largest |\n|---|---|---|---|---|"
    )?;
    for arrival in &report.enrolments {
        let memory = report.peak_memory_bytes.get(&arrival.agents);
        let broker = memory.and_then(|all| all.get("broker")).copied().unwrap_or_default();
        let others = memory.into_iter().flatten().filter(|(name, _)| !["broker", "fleet"].contains(&name.as_str()));
        let (name, largest) = others.max_by_key(|(_, bytes)| **bytes).map_or(("", 0), |(n, b)| (n.as_str(), *b));
        writeln!(
            out,
            "| {} | {:.1} s | {:.0} | {} MiB | {name}: {} MiB |",
            arrival.agents,
            arrival.enrolled_s,
            arrival.per_minute,
            broker >> 20,
            largest >> 20
        )?;
    }
    if let Some(Newcomers { agents, seconds, per_minute, cpu_us_per_agent }) = &report.newcomers {
        let cpu = |name: &str| cpu_us_per_agent.get(name).copied().unwrap_or_default();
        writeln!(
            out,
            "\n| agents over connections of their own | enrolled and greeted in | a minute | CPU an agent: broker | gateway | the agents |\n|---|---|---|---|---|---|\n\
             | {agents} | {seconds:.1} s | {per_minute:.0} | {:.0} µs | {:.0} µs | {:.0} µs |",
            cpu("broker"),
            cpu("comms-api"),
            cpu("fleet")
        )?;
    }
    if let Some(Latencies { idle, beside_rollout, sustained }) = &report.latency {
        writeln!(out, "\n| a task to one agent, submit to start | tasks | p50 | p99 | most |\n|---|---|---|---|---|")?;
        let steady = |s: &crate::latency::Sustained| {
            let (rate, seconds, backlog) = (s.per_second, s.seconds, s.backlog);
            format!("{} a second of {} for {seconds} s (backlog at the end {backlog})", rate, s.kind)
        };
        let rows = [("system at rest".to_owned(), idle), ("beside a rollout to all".to_owned(), beside_rollout)];
        for (name, l) in rows.into_iter().chain(sustained.iter().map(|s| (steady(s), &s.start))) {
            writeln!(out, "| {name} | {} | {:.1} ms | {:.1} ms | {:.1} ms |", l.tasks, l.p50_ms, l.p99_ms, l.most_ms)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_tables_take_the_place_of_the_old_ones() {
        let page = format!("before\n{BEGIN}\nold\n{END}\nafter\n");
        let new = put(&page, &Report::default()).unwrap();
        assert!(new.starts_with("before\n") && new.ends_with("\nafter\n") && !new.contains("old"), "{new}");
        assert_eq!(put(&new, &Report::default()).unwrap(), new);
        assert!(put("no place", &Report::default()).is_err());
    }
}
