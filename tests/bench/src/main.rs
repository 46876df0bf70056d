//! `make bench`: measures, and writes the report.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::Parser;
use muster_bench::bench::{Scope, Single, bench};
use muster_bench::tasks::Kind;
use muster_bench::{document, plot};

/// As what is measured has it: the fleet and the raw operations are in this process.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Measures Muster and the limit of its broker.
#[derive(Debug, Parser)]
#[command(name = "muster-bench")]
struct Arguments {
    /// The numbers of agents
    #[arg(long, value_delimiter = ',', default_value = "1000,10000,100000")]
    agents: Vec<u32>,
    /// How often each rollout is measured
    #[arg(long, default_value_t = 3)]
    repeat: usize,
    /// Only this task type; may be given several times
    #[arg(long = "type", value_name = "TYPE")]
    kinds: Vec<String>,
    /// Leave out what is measured of single agents
    #[arg(long)]
    no_single: bool,
    /// Where the report is written
    #[arg(long, default_value = "target/bench")]
    out: PathBuf,
    /// Put the table and the plot into this folder's performance.md and performance.svg, too
    #[arg(long)]
    docs: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let named =
        |kind: &Kind| arguments.kinds.is_empty() || arguments.kinds.iter().any(|n| n == kind.task_type().name());
    let scope = Scope {
        agents: arguments.agents.clone(),
        kinds: Kind::ALL.into_iter().filter(named).collect(),
        repeat: arguments.repeat,
        single: (!arguments.no_single).then_some(Single { tasks: 200, per_second: 100, seconds: 20, newcomers: 5000 }),
    };
    let report = bench(&scope).await?;
    let out = &arguments.out;
    std::fs::create_dir_all(out).with_context(|| out.display().to_string())?;
    std::fs::write(out.join("report.json"), serde_json::to_string_pretty(&report)? + "\n")?;
    std::fs::write(out.join("report.md"), document::tables(&report))?;
    std::fs::write(out.join("report.svg"), plot::ratios(&report))?;
    if let Some(docs) = &arguments.docs {
        let page = docs.join("performance.md");
        let text = std::fs::read_to_string(&page).with_context(|| page.display().to_string())?;
        std::fs::write(&page, document::put(&text, &report)?)?;
        std::fs::write(docs.join("performance.svg"), plot::ratios(&report))?;
    }
    println!("{}", out.join("report.json").display());
    Ok(())
}
