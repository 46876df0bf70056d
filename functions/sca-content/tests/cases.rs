//! The function's cases.

#[test]
fn cases() -> anyhow::Result<()> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
    muster_runtime::cases::run::<sca_content::ScaContent>(&folder).map(|_| ())
}
