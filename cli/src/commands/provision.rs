//! `muster provision`: streams, consumers and buckets as the files under `nats/` say.

use clap::Args;
use muster_broker::nats::{ConnectionSettings, connect};
use muster_broker::topology::{self, Difference, Report};
use serde_json::{Value, json};

use crate::exit::{Exit, failed};
use crate::output::{Output, print, print_json, say};

/// What is missing is made; what stands otherwise is shown.
#[derive(Debug, Args)]
pub(crate) struct Provision {
    /// Change what stands otherwise, as far as nothing stored can be lost by it
    #[arg(long)]
    apply: bool,
    /// How many servers hold each stream
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=5))]
    replicas: u8,
}

/// Ends with 0 when all is in place, 1 when something differs, 2 when it did not work.
pub(crate) async fn provision(output: Output, options: &Provision) -> anyhow::Result<Exit> {
    match provisioned(options).await {
        Err(error) => {
            failed(&error, output);
            Ok(Exit::NotDone)
        }
        Ok(report) => {
            match output {
                Output::Table => print(&report.to_string())?,
                Output::Json => print_json(&document(&report))?,
            }
            if report.is_in_place() {
                return Ok(Exit::Done);
            }
            if !options.apply && report.differences.iter().any(is_safe) {
                say("to change what can be changed without loss: muster provision --apply");
            }
            Ok(Exit::Failed)
        }
    }
}

async fn provisioned(options: &Provision) -> anyhow::Result<Report> {
    let client = connect(&ConnectionSettings::from_environment("muster provision")?).await?;
    Ok(topology::provision(&client, options.replicas.into(), options.apply).await?)
}

const fn is_safe(difference: &Difference) -> bool {
    matches!(difference, Difference::Field { safe: true, .. })
}

fn document(report: &Report) -> Value {
    let differences = report.differences.iter().map(|difference| match difference {
        Difference::Missing { asset } => json!({ "asset": asset, "missing": true }),
        Difference::Field { asset, field, stands, wanted, safe } => {
            json!({ "asset": asset, "field": field, "stands": stands, "wanted": wanted, "safe": safe })
        }
    });
    json!({
        "created": report.created,
        "updated": report.updated,
        "differences": differences.collect::<Vec<_>>(),
    })
}
