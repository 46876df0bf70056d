//! The function's cases.

#[test]
fn cases() -> anyhow::Result<()> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
    muster_runtime::cases::run::<active_response_configuration::ActiveResponseConfiguration>(&folder).map(|_| ())
}
