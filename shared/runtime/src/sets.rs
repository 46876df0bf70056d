//! Sets of numbers that lie in containers.

use muster_broker::{Fault, Txn};
use muster_core::numbers::Numbers;

/// Adds numbers to a set that lies in containers.
///
/// # Errors
/// [`Fault::Unavailable`]; [`Fault::Refused`] when what is stored is no set.
pub async fn extend(txn: &mut Txn, set: &str, added: &Numbers) -> Result<(), Fault> {
    for (container, part) in added.split() {
        let key = format!("{set}.{container}");
        txn.load([key.clone()]).await?;
        let mut numbers = txn
            .bytes(&key)
            .map_or(Ok(Numbers::new()), |body| Numbers::decode(body))
            .map_err(|why| Fault::Refused(format!("{key}: {why}")))?;
        numbers.union_with(&part);
        txn.put(&key, numbers.encode());
    }
    Ok(())
}
