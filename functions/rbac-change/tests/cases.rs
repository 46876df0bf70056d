//! The function's cases.

#[test]
fn cases() -> anyhow::Result<()> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
    muster_runtime::cases::run::<rbac_change::RbacChange>(&folder).map(|_| ())
}
