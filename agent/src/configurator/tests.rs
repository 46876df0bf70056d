#![allow(clippy::unwrap_used)]
//! On a real directory, with the real modules.

use std::path::Path;

use super::*;
use crate::disk::DiskLedger;
use crate::rules::{Change, Durability, Ledger as _};

const WEB: &str = "logcollector:\n  enabled: true\n  localfiles: []\n";
const EU: &str = "sca: {enabled: false}\n";
const BAD: &str = "logcollector: [what\n";

fn state(configurations: &[(&str, &str)]) -> InForce {
    let of = |(group, body): &(&str, &str)| ((*group).to_owned(), digest(body.as_bytes()));
    InForce {
        groups: configurations.iter().map(|(group, _)| (*group).to_owned()).collect(),
        configurations: configurations.iter().map(of).collect(),
        contents: Vec::new(),
    }
}

fn start(path: &Path) -> Configurator {
    let configurator = Configurator::start(Root::open(path).unwrap()).unwrap();
    for body in [WEB, EU, BAD] {
        assert!(configurator.contents.put(&digest(body.as_bytes()), body).unwrap());
    }
    configurator
}

fn files(path: &Path) -> Vec<String> {
    let files = fs::read_dir(path.join("groups")).unwrap();
    let mut names: Vec<String> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn what_is_in_force_is_on_disk_and_what_was_left_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let mut configurator = start(directory.path());
    configurator.put(&state(&[("web.1", WEB), ("eu", EU)]), &InForce::default()).await.unwrap();
    assert_eq!(files(directory.path()), ["eu.yml", "web=2e1.yml"]);
    assert_eq!(fs::read_to_string(directory.path().join("groups/web=2e1.yml")).unwrap(), WEB);
    let merged = parse(&fs::read_to_string(directory.path().join("agent.yml")).unwrap()).unwrap();
    assert_eq!(merged, Configuration::merge(&[parse(WEB).unwrap(), parse(EU).unwrap()]));
    let before = configurator.digests();
    assert_eq!(before[&Lane::config("eu")], digest(EU.as_bytes()));

    configurator.put(&state(&[("web.1", WEB)]), &InForce::default()).await.unwrap();
    assert_eq!(files(directory.path()), ["web=2e1.yml"]);
    let after = configurator.digests();
    assert!(!after.contains_key(&Lane::config("eu")));
    assert_ne!(after[&Lane::of("config")], before[&Lane::of("config")], "the modules run with something else");
    configurator.stop().await;
}

#[tokio::test]
async fn a_bad_configuration_changes_nothing_and_says_where_it_is_bad() {
    let directory = tempfile::tempdir().unwrap();
    let mut configurator = start(directory.path());
    let good = state(&[("web", WEB)]);
    configurator.put(&good, &InForce::default()).await.unwrap();
    let (digests, text) = (configurator.digests(), fs::read_to_string(directory.path().join("agent.yml")).unwrap());
    let refused = configurator.put(&state(&[("web", WEB), ("eu", BAD)]), &good).await.unwrap_err();
    assert_eq!(refused.code, NOT_APPLIED);
    assert!(refused.message.starts_with("group eu: ") && refused.message.contains("line"), "{}", refused.message);
    assert_eq!(configurator.digests(), digests);
    assert_eq!(fs::read_to_string(directory.path().join("agent.yml")).unwrap(), text);
    assert_eq!(files(directory.path()), ["web.yml"]);
    configurator.stop().await;
}

#[tokio::test]
async fn killed_between_the_files_and_the_ledger_it_starts_with_the_ledger() {
    let directory = tempfile::tempdir().unwrap();
    let mut configurator = start(directory.path());
    let (old, new) = (state(&[("web", WEB)]), state(&[("web", EU), ("eu", EU)]));
    let (mut ledger, _) = DiskLedger::open(&directory.path().join("ledger.redb")).unwrap();
    ledger.write(&[Change::InForce(old.clone())], Durability::Now).unwrap();
    configurator.put(&new, &old).await.unwrap();
    // The process ends here: the new files are there, and the ledger does not know of them.
    configurator.stop().await;
    drop(ledger);

    let (_, remembered) = DiskLedger::open(&directory.path().join("ledger.redb")).unwrap();
    let mut configurator = Configurator::start(Root::open(directory.path()).unwrap()).unwrap();
    configurator.restore(&remembered.in_force).await.unwrap();
    assert_eq!(files(directory.path()), ["web.yml"]);
    assert_eq!(fs::read_to_string(directory.path().join("groups/web.yml")).unwrap(), WEB);
    assert_eq!(configurator.digests()[&Lane::config("web")], digest(WEB.as_bytes()));
    configurator.follow(&remembered);
    assert_eq!(fs::read_dir(directory.path().join("content/groups")).unwrap().count(), 1);
    configurator.stop().await;
}

#[tokio::test]
async fn killed_while_a_content_was_written_it_asks_for_it_again() {
    let directory = tempfile::tempdir().unwrap();
    let configurator = start(directory.path());
    let of = digest(WEB.as_bytes());
    let path = directory.path().join(format!("content/groups/{of}.yml"));
    fs::write(&path, &WEB[..9]).unwrap();
    assert_eq!(configurator.contents().get(&of), None);
    assert!(!configurator.contents().put(&of, EU).unwrap(), "a body is what its digest says");
    configurator.stop().await;
    let mut configurator = Configurator::start(Root::open(directory.path()).unwrap()).unwrap();
    let why = configurator.restore(&state(&[("web", WEB)])).await.unwrap_err();
    assert!(why.contains(&of) && configurator.digests().is_empty());
    configurator.stop().await;
}
