//! The products that a CVE record speaks of, container by container.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::affected::Affected;
use crate::severity::Severity;

/// The longest name of a container, in bytes.
const MAX_CONTAINER: usize = 64;

/// What one container of a CVE record says of one product.
#[derive(Debug, Clone, PartialEq)]
pub struct Product {
    /// How bad it is: by the container's own metrics, or else by those of the record's author.
    pub severity: Severity,
    /// Its entries, each for other platforms.
    pub affected: Vec<Affected>,
}

/// What a CVE record says.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Products {
    /// By container and product. The name of a container is its provider's `x_subShortName` (`redhat_9`, `suse_server_15`), or else
    /// `shortName` (`debian`).
    pub by_name: BTreeMap<(String, String), Product>,
    /// What cannot be read so far as to have a place in the index: entries and containers without a name, lists that are none.
    pub unreadable: u64,
}

/// The products of a CVE record. A rejected one speaks of none.
#[must_use]
pub fn products(payload: &Value) -> Products {
    let mut products = Products::default();
    if payload.pointer("/cveMetadata/state").and_then(Value::as_str) == Some("REJECTED") {
        return products;
    }
    let author = payload.pointer("/containers/cna");
    let author_severity = author.map_or(Severity::Unknown, severity);
    let (others, lost) = list(payload.pointer("/containers/adp"));
    products.unreadable += lost;
    for container in author.into_iter().chain(others) {
        products.add(container, author_severity);
    }
    products
}

impl Products {
    fn add(&mut self, container: &Value, author_severity: Severity) {
        let (entries, lost) = list(container.get("affected"));
        self.unreadable += lost;
        let Some(name) = name(container) else {
            self.unreadable += entries.len() as u64;
            return;
        };
        let severity = match severity(container) {
            Severity::Unknown => author_severity,
            own => own,
        };
        for entry in entries {
            let Some(affected) = Affected::parse(entry) else {
                self.unreadable += 1;
                continue;
            };
            let key = (name.to_owned(), affected.product.clone());
            let product = self.by_name.entry(key).or_insert_with(|| Product { severity, affected: Vec::new() });
            product.affected.push(affected);
        }
    }
}

/// The values of a list that may be missing, and 1 when it is something else.
fn list(value: Option<&Value>) -> (&[Value], u64) {
    match value {
        None => (&[], 0),
        Some(Value::Array(values)) => (values, 0),
        Some(_) => (&[], 1),
    }
}

fn severity(container: &Value) -> Severity {
    container.get("metrics").map_or(Severity::Unknown, Severity::of_metrics)
}

fn name(container: &Value) -> Option<&str> {
    let provider = container.get("providerMetadata")?;
    let name = |member| provider.get(member).and_then(Value::as_str).filter(|name| !name.is_empty());
    name("x_subShortName").or_else(|| name("shortName")).filter(|name| name.len() <= MAX_CONTAINER)
}
