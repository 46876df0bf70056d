//! rpm's database, through its own program: its form differs from release to release.

use std::io::{ErrorKind, Read};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use muster_core::problem::Problem;

use crate::package::{Package, Source};
use crate::version::Format;

/// The largest answer, in bytes.
const MAX_ANSWER: u64 = 64 * 1024 * 1024;
/// A line for each package.
const QUERY: &str = "%{NAME}\t%|EPOCH?{%{EPOCH}:}:{}|%{VERSION}-%{RELEASE}\t%{ARCH}\t%{SOURCERPM}\n";

/// The installed packages; none when rpm is not here.
///
/// # Errors
/// When rpm fails, takes longer than `timeout`, or answers something else.
pub fn list(program: &Path, timeout: Duration) -> Result<Option<Vec<Package>>, Problem> {
    let mut command = Command::new(program);
    command.args(["-qa", "--qf", QUERY]).env_clear().env("LC_ALL", "C.UTF-8").env("PATH", "/usr/bin:/bin");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let child = match command.spawn() {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        child => child.map_err(|error| fails(&error))?,
    };
    let answer = answer(child, timeout)?;
    parse(&String::from_utf8_lossy(&answer)).map(Some)
}

/// What a program writes until it ends well.
fn answer(mut child: Child, timeout: Duration) -> Result<Vec<u8>, Problem> {
    let deadline = Instant::now() + timeout;
    let Some(output) = child.stdout.take() else { return Err(fails(&"it has no output")) };
    let (tell, told) = sync_channel(1);
    // The thread ends with the output, at the latest when the program is killed; nobody waits for it.
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let read = output.take(MAX_ANSWER + 1).read_to_end(&mut bytes).map(|_| bytes);
        _ = tell.send(read);
    });
    let answer = match told.recv_timeout(timeout) {
        Ok(Ok(bytes)) if bytes.len() as u64 <= MAX_ANSWER => Ok(bytes),
        Ok(Ok(_)) => Err(fails(&format_args!("its answer has more than {MAX_ANSWER} bytes"))),
        Ok(Err(error)) => Err(fails(&error)),
        Err(RecvTimeoutError::Timeout) => Err(fails(&format_args!("no answer within {} s", timeout.as_secs_f32()))),
        Err(RecvTimeoutError::Disconnected) => Err(fails(&"its output is lost")),
    };
    let ended = if answer.is_ok() { wait(&mut child, deadline) } else { None };
    if ended.is_none() {
        _ = child.kill();
        _ = child.wait();
    }
    match (answer?, ended) {
        (answer, Some(status)) if status.success() => Ok(answer),
        (_, Some(status)) => Err(fails(&status)),
        (_, None) => Err(fails(&"it has answered and does not end")),
    }
}

/// Who has closed its output ends at once, as a rule.
fn wait(child: &mut Child, deadline: Instant) -> Option<ExitStatus> {
    loop {
        match child.try_wait() {
            Ok(None) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(5)),
            ended => return ended.ok().flatten(),
        }
    }
}

fn fails(why: &dyn std::fmt::Display) -> Problem {
    Problem::new("rpm-fails", "", format!("rpm -qa: {why}"))
}

/// The packages of rpm's answer.
///
/// # Errors
/// When a line has not the four parts that were asked for.
pub fn parse(answer: &str) -> Result<Vec<Package>, Problem> {
    let lines = answer.lines().zip(1_u32..).filter(|(line, _)| !line.is_empty());
    let packages = lines.map(|(line, number)| {
        let mut parts = line.split('\t');
        match (parts.next(), parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(name), Some(version), Some(arch), Some(source), None) if !name.is_empty() && !version.is_empty() => {
                Ok(Package {
                    name: name.to_owned(),
                    version: version.to_owned(),
                    arch: arch.to_owned(),
                    source: self::source(source),
                    format: Format::Rpm,
                })
            }
            _ => Err(Problem::new("rpm-answer", "", format!("not a package: {line:.80}")).line(number)),
        }
    });
    // The keys that signatures are checked with are kept as packages.
    Ok(packages.collect::<Result<Vec<_>, _>>()?.into_iter().filter(|package| package.name != "gpg-pubkey").collect())
}

/// `openssh-8.7p1-38.el9.src.rpm`: a name, a version, a release. The file name does not tell the epoch.
fn source(file: &str) -> Option<Source> {
    let stem = file.strip_suffix(".src.rpm").or_else(|| file.strip_suffix(".nosrc.rpm"))?;
    let name = stem.rsplitn(3, '-').nth(2)?;
    Some(Source { name: name.to_owned(), version: None })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn packages_and_keys() {
        let answer = "openssh-server\t8.7p1-38.el9\tx86_64\topenssh-8.7p1-38.el9.src.rpm\n\
            gpg-pubkey\tfd431d51-4ae0493b\t(none)\t(none)\n\
            bind-libs\t32:9.16.23-18.el9\tx86_64\tbind-9.16.23-18.el9.src.rpm\n";
        let packages = parse(answer).unwrap();
        let names: Vec<_> = packages.iter().map(|package| (package.name.as_str(), package.version.as_str())).collect();
        assert_eq!(names, [("openssh-server", "8.7p1-38.el9"), ("bind-libs", "32:9.16.23-18.el9")]);
        assert_eq!(packages[0].source, Some(Source { name: "openssh".into(), version: None }));
        let problem = parse("a\t1-1\tnoarch\t(none)\n\nerror: cannot open\n").unwrap_err();
        assert_eq!((problem.code.as_str(), problem.line), ("rpm-answer", Some(3)));
    }
}
