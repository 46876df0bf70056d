//! Where a nats-server is that is new enough.

use std::path::{Path, PathBuf};

use anyhow::bail;
use tokio::process::Command;

/// The oldest that will do: batches and schedules as they are used here.
const OLDEST: (u32, u32) = (2, 15);

/// A nats-server of at least version 2.15: the one that was fetched into `.tools/bin`, the one beside this program,
/// or the one on PATH.
///
/// # Errors
/// When there is none; it says how to get one.
pub(super) async fn find() -> anyhow::Result<PathBuf> {
    let mut old = String::new();
    for candidate in candidates().into_iter().filter(|path| path.is_file()) {
        match version(&candidate).await {
            Some(found) if found >= OLDEST => return Ok(candidate),
            Some((major, minor)) => old += &format!(" {} is {major}.{minor}.", candidate.display()),
            None => old += &format!(" {} cannot be run.", candidate.display()),
        }
    }
    let (major, minor) = OLDEST;
    bail!(
        "there is no nats-server {major}.{minor} or newer in .tools/bin, beside this program or on PATH.{old} \
         Fetch it: deploy/get-nats-server or make up; or use a server that runs already: muster up --no-server"
    )
}

fn candidates() -> Vec<PathBuf> {
    let beside = std::env::current_exe().ok().and_then(|exe| exe.parent().map(Path::to_owned));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = [PathBuf::from(".tools/bin")].into_iter().chain(beside).chain(std::env::split_paths(&path));
    folders.map(|folder| folder.join("nats-server")).collect()
}

async fn version(server: &Path) -> Option<(u32, u32)> {
    let output = Command::new(server).arg("--version").output().await.ok()?;
    parse(std::str::from_utf8(&output.stdout).ok()?)
}

/// Major and minor of a line such as `nats-server: v2.15.1`.
fn parse(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.trim().strip_prefix("nats-server: v")?.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        assert_eq!(parse("nats-server: v2.15.1\n"), Some((2, 15)));
        assert_eq!(parse("nats-server: v2.100.0-RC.1"), Some((2, 100)));
        assert!(parse("nats-server: v2.9.25").is_some_and(|old| old < OLDEST));
        assert_eq!(parse("something else"), None);
    }
}
