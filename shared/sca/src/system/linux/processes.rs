//! The names of processes, from `/proc`.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::beginning;

/// So many processes are looked at.
const MAX_PROCESSES: usize = 65_536;

/// So much of a command line is read, in bytes.
const MAX_COMMAND_LINE: u64 = 4096;

/// Each name once. That of a kernel's thread is without brackets.
pub(super) fn names() -> Result<Vec<String>, String> {
    let proc = Path::new("/proc");
    // Process 1 is always there. If it is not seen, those of other users are hidden.
    if !proc.join("1").exists() {
        return Err("/proc does not show the processes of other users".into());
    }
    let mut names = BTreeSet::new();
    let mut processes = 0;
    for entry in fs::read_dir(proc).map_err(|error| format!("/proc: {error}"))? {
        let path = entry.map_err(|error| format!("/proc: {error}"))?.path();
        let is_process = path.file_name().is_some_and(|name| name.as_encoded_bytes().iter().all(u8::is_ascii_digit));
        if !is_process {
            continue;
        }
        processes += 1;
        if processes > MAX_PROCESSES {
            return Err(format!("there are more than {MAX_PROCESSES} processes"));
        }
        names.extend(names_of(&path)?);
    }
    Ok(names.into_iter().collect())
}

/// What it calls itself (at most 15 bytes), and the path and the file name of its program, for which the first word of its
/// command line stands in where the path may not be seen.
fn names_of(process: &Path) -> Result<Vec<String>, String> {
    let own = match fs::read(process.join("comm")) {
        Ok(name) => String::from_utf8_lossy(&name).trim_end().to_owned(),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            return Err("/proc hides the processes of other users".into());
        }
        // It has ended meanwhile.
        Err(_) => return Ok(Vec::new()),
    };
    let mut names = vec![own];
    if let Some(program) = program(process) {
        names.extend(program.file_name().map(|name| name.to_string_lossy().into_owned()));
        names.push(program.to_string_lossy().into_owned());
    }
    Ok(names)
}

fn program(process: &Path) -> Option<PathBuf> {
    if let Ok(program) = fs::read_link(process.join("exe")) {
        let text = program.to_str().and_then(|text| text.strip_suffix(" (deleted)")).map(PathBuf::from);
        return Some(text.unwrap_or(program));
    }
    let line = beginning(File::open(process.join("cmdline")).ok()?, MAX_COMMAND_LINE).ok()?.bytes;
    let word = line.split(|byte| *byte == 0).next().filter(|word| !word.is_empty())?;
    Some(PathBuf::from(String::from_utf8_lossy(word).into_owned()))
}
