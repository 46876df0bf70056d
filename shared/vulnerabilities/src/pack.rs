//! How an inventory travels: JSON (`schemas/inventory.json`) as a zlib stream (RFC 1950), so that the packages of any system fit
//! into one message.

use std::io::{Read as _, Write as _};

use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;
use muster_core::findings::MAX_INVENTORY;
use muster_core::problem::Problem;

use crate::inventory::Inventory;

/// The largest inventory, in bytes of JSON.
const MAX_JSON: u64 = 32 * 1024 * 1024;

impl Inventory {
    /// Packs it.
    ///
    /// # Errors
    /// When it is too large.
    pub fn pack(&self) -> Result<Vec<u8>, Problem> {
        let unpackable = |why: String| Problem::new("internal", "", why);
        let json = serde_json::to_vec(self).map_err(|error| unpackable(error.to_string()))?;
        let mut packer = ZlibEncoder::new(Vec::new(), Compression::default());
        let packed = packer.write_all(&json).and_then(|()| packer.finish()).map_err(|e| unpackable(e.to_string()))?;
        if json.len() as u64 > MAX_JSON || packed.len() > MAX_INVENTORY {
            let message = format!(
                "{} bytes, {} packed; an inventory has at most {MAX_JSON}, {MAX_INVENTORY} packed",
                json.len(),
                packed.len()
            );
            return Err(Problem::new("too-large", "", message));
        }
        Ok(packed)
    }

    /// Unpacks one; whatever the bytes are, no more than 32 MiB come of them.
    ///
    /// # Errors
    /// When they are none, or too large.
    pub fn unpack(packed: &[u8]) -> Result<Self, Problem> {
        let mut json = Vec::new();
        let unpacked = ZlibDecoder::new(packed).take(MAX_JSON + 1).read_to_end(&mut json);
        unpacked.map_err(|error| Problem::new("schema", "", format!("no packed inventory: {error}")))?;
        if packed.len() > MAX_INVENTORY || json.len() as u64 > MAX_JSON {
            return Err(Problem::new("too-large", "", format!("an inventory has at most {MAX_JSON} bytes")));
        }
        serde_json::from_slice(&json).map_err(|error| Problem::new("schema", "", error.to_string()))
    }
}
