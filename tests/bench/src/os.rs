//! What the operating system counts of a process: proc(5), Linux.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};

/// Linux counts the time of processes in hundredths of a second, whatever its own clock does.
const TICK: Duration = Duration::from_millis(10);

/// The processor time that a process has used, in all its threads, user and system.
///
/// # Errors
/// When there is no such process.
pub fn cpu(pid: u32) -> Result<Duration> {
    let path = format!("/proc/{pid}/stat");
    let text = std::fs::read_to_string(&path).with_context(|| path.clone())?;
    // The name, in brackets, may hold anything; behind it come the fields from the third on.
    let fields: Vec<&str> = text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |field: usize| fields.get(field).and_then(|text| text.parse::<u32>().ok());
    let (user, system) = ticks(11).zip(ticks(12)).with_context(|| path)?;
    Ok(TICK * (user + system))
}

/// The most memory that a process has had in use, in bytes (`VmHWM`).
///
/// # Errors
/// When there is no such process.
pub fn peak_memory(pid: u32) -> Result<u64> {
    let path = format!("/proc/{pid}/status");
    let text = std::fs::read_to_string(&path).with_context(|| path.clone())?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).with_context(|| path.clone())?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().with_context(|| path)?;
    Ok(kib * 1024)
}

/// The bytes of all files under a directory. What vanishes meanwhile counts nothing.
pub fn disk(directory: &Path) -> u64 {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let size = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => disk(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    };
    entries.map(size).sum()
}

/// How busy the machine is: the load average of the last minute.
///
/// # Errors
/// When it cannot be read.
pub fn load() -> Result<f64> {
    let text = std::fs::read_to_string("/proc/loadavg")?;
    Ok(text.split_whitespace().next().unwrap_or_default().parse()?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn this_process_is_counted() {
        let before = cpu(std::process::id()).unwrap();
        let mut sum = 0_u64;
        while cpu(std::process::id()).unwrap() == before {
            sum = (0..100_000).fold(sum, |sum, n| std::hint::black_box(sum ^ n));
        }
        assert!(peak_memory(std::process::id()).unwrap() > 1 << 20);
        assert!(cpu(u32::MAX).is_err() && peak_memory(u32::MAX).is_err());
        assert!(load().unwrap() >= 0.0);
    }
}
