#![allow(clippy::unwrap_used)]

use muster_core::configuration::parse;
use serde_json::json;

use super::*;

#[tokio::test]
async fn a_disabled_section_loses_its_content_and_only_that() {
    let root = tempfile::tempdir().unwrap();
    let write = |name: &str| {
        let path = root.path().join("content").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, "content").unwrap();
        path
    };
    let policy = write("sca/deep/cis.yml");
    let response = write("active-response/block.json");
    let mut modules = Modules::start(root.path()).unwrap();

    let applied = modules.apply(&parse("sca: {enabled: true}").unwrap()).await.unwrap();
    assert!(policy.exists() && response.exists());
    assert_eq!(applied.loaded["sca"], json!({"enabled": true, "interval": 3600, "scan_on_start": true}));

    let applied = modules.apply(&parse("sca: {enabled: false}").unwrap()).await.unwrap();
    assert!(!policy.exists() && response.exists());
    assert_eq!(applied.loaded["sca"]["enabled"], json!(false));

    modules.apply(&parse("active_response: {enabled: false}").unwrap()).await.unwrap();
    assert!(!response.exists());
    let again = modules.apply(&parse("active_response: {enabled: false}").unwrap()).await.unwrap();
    assert_eq!(again.loaded["active_response"], json!({"enabled": false}));
    modules.stop().await;
}

#[tokio::test]
async fn the_same_configuration_yields_the_same_whatever_files_there_are() {
    let root = tempfile::tempdir().unwrap();
    let log = root.path().join("a.log");
    let mut modules = Modules::start(root.path()).unwrap();
    let configuration = parse(&format!("logcollector: {{localfiles: ['{}']}}", log.display())).unwrap();
    let before = modules.apply(&configuration).await.unwrap();
    std::fs::write(&log, "a line\n").unwrap();
    assert_eq!(modules.apply(&configuration).await.unwrap(), before);
    assert_eq!(before.loaded["logcollector"]["localfiles"], json!([log.to_str().unwrap()]));
    modules.stop().await;
}
