//! Describes a package and signs it with minisign, for tests and demonstrations: `sign KEY-FILE NAME VERSION PROGRAM`.
//! Prints the `package` of a task of type agent-package. The key file is made when it is not there, and the public key
//! beside it (`.pub`), where an agent can be given it as `package.pub`. Keep real keys in minisign, with a password.

use std::fs;
use std::io::Cursor;
use std::path::Path;

use anyhow::{Context as _, bail};
use minisign::{KeyPair, SecretKey, SecretKeyBox};
use muster_core::names::digest;
use muster_core::package::Package;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [key, name, version, program] = arguments.as_slice() else {
        bail!("sign KEY-FILE NAME VERSION PROGRAM");
    };
    let key = secret(Path::new(key))?;
    let bytes = fs::read(program).with_context(|| program.clone())?;
    let package = Package {
        name: name.clone(),
        version: version.clone(),
        os: std::env::consts::OS.into(),
        arch: std::env::consts::ARCH.into(),
        size: bytes.len() as u64,
        sha256: digest(&bytes),
        signature: minisign::sign(None, &key, Cursor::new(&bytes), Some(name), None)?.to_string(),
    };
    println!("{}", serde_json::to_string(&package)?);
    Ok(())
}

fn secret(file: &Path) -> anyhow::Result<SecretKey> {
    if !file.exists() {
        let pair = KeyPair::generate_unencrypted_keypair()?;
        fs::write(file, pair.sk.to_box(None)?.to_string())?;
        fs::write(file.with_extension("pub"), pair.pk.to_box()?.to_string())?;
    }
    Ok(SecretKeyBox::from_string(&fs::read_to_string(file)?)?.into_unencrypted_secret_key()?)
}
