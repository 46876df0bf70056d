//! Whether a rule holds on a system.

use std::cell::OnceCell;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::Options;
use crate::content::Content;
use crate::rule::{Probe, Rule};
use crate::system::{Kind, System, Text, Trouble};
use crate::verdict::Verdict;

/// So many files and directories below one directory are looked at.
const MAX_WALKED: usize = 20_000;

/// So long lines of one text are matched.
const MAX_MATCHING: Duration = Duration::from_secs(5);

const OUT_OF_TIME: &str = "the time for the scan is over";

/// The rules of one scan.
pub(crate) struct Evaluation<'s, S> {
    system: &'s S,
    options: Options,
    started: Duration,
    /// Listed once.
    processes: OnceCell<Result<Text, String>>,
}

impl<'s, S: System> Evaluation<'s, S> {
    pub(crate) fn new(system: &'s S, options: Options) -> Self {
        Self { system, options, started: system.elapsed(), processes: OnceCell::new() }
    }

    pub(crate) fn rule(&self, rule: &Rule) -> Verdict {
        if self.expired() {
            return Verdict::Unknown(OUT_OF_TIME.into());
        }
        let holds = match &rule.probe {
            Probe::Files { paths, content } => each(paths, |path| self.file(path, content.as_ref())),
            Probe::Directories { paths, names, content } => {
                each(paths, |path| self.directory(path, names.as_ref(), content.as_ref()))
            }
            Probe::Processes(content) => self.process(content),
            Probe::Command { words, content } => self.command(words, content.as_ref()),
            Probe::Registry => Verdict::Unknown("this system has no registry".into()),
        };
        if rule.negated { !holds } else { holds }
    }

    fn expired(&self) -> bool {
        self.system.elapsed().saturating_sub(self.started) >= self.options.time
    }

    fn matches(&self, content: &Content, text: &Text) -> Verdict {
        let started = self.system.elapsed();
        content.in_text(text, &|| {
            let now = self.system.elapsed();
            if now.saturating_sub(self.started) >= self.options.time {
                Some(OUT_OF_TIME)
            } else {
                (now.saturating_sub(started) >= MAX_MATCHING).then_some("matching its lines takes too long")
            }
        })
    }

    fn file(&self, path: &Path, content: Option<&Content>) -> Verdict {
        match content {
            None => self.is(path, Kind::File, "it is no regular file"),
            Some(content) => match self.system.read(path) {
                Ok(text) => self.matches(content, &text).about(path),
                Err(trouble) => unknown(path, trouble),
            },
        }
    }

    fn is(&self, path: &Path, kind: Kind, otherwise: &str) -> Verdict {
        match self.system.kind(path) {
            Ok(found) if found == kind => Verdict::Holds,
            Ok(_) => unknown(path, otherwise),
            Err(Trouble::Missing) => Verdict::Fails,
            Err(trouble) => unknown(path, trouble),
        }
    }

    fn directory(&self, path: &Path, names: Option<&Content>, content: Option<&Content>) -> Verdict {
        match names {
            None => self.is(path, Kind::Directory, "it is no directory"),
            Some(names) => self.below(path, names, content),
        }
    }

    /// Whether there is a file of this name and content in a directory or below.
    fn below(&self, directory: &Path, names: &Content, content: Option<&Content>) -> Verdict {
        let mut found = Verdict::Fails;
        let mut walked = 0;
        let mut directories = vec![directory.to_owned()];
        while let Some(directory) = directories.pop() {
            let entries = match self.system.list(&directory) {
                Ok(entries) => entries,
                Err(trouble) => {
                    found = found.or(unknown(&directory, trouble));
                    continue;
                }
            };
            for entry in entries {
                walked += 1;
                if walked > MAX_WALKED || self.expired() {
                    let why = if walked > MAX_WALKED { "more lies below it than is looked at" } else { OUT_OF_TIME };
                    return found.or(unknown(&directory, why));
                }
                let path = directory.join(&entry.name);
                if entry.directory {
                    directories.push(path);
                    continue;
                }
                let named = names.in_line(entry.name.as_encoded_bytes()).about(&path);
                found = found.or(match named {
                    Verdict::Holds => self.file(&path, content),
                    named => named,
                });
                if found == Verdict::Holds {
                    return found;
                }
            }
        }
        found
    }

    fn process(&self, content: &Content) -> Verdict {
        let listed = self.processes.get_or_init(|| {
            let bytes = self.system.processes()?.join("\n").into_bytes();
            Ok(Text { bytes, whole: true })
        });
        match listed {
            Ok(names) => self.matches(content, names),
            Err(why) => Verdict::Unknown(why.clone()),
        }
    }

    /// Without content it holds when the command ran to its end.
    fn command(&self, words: &[String], content: Option<&Content>) -> Verdict {
        if !self.options.commands {
            return Verdict::Unknown("commands are not allowed on this agent".into());
        }
        let verdict = match (self.system.run(words), content) {
            (Ok(_), None) => Verdict::Holds,
            (Ok(text), Some(content)) => self.matches(content, &text),
            (Err(why), _) => Verdict::Unknown(why),
        };
        verdict.about(words.first().map_or(Path::new(""), Path::new))
    }
}

/// Whether it holds for one of the paths.
fn each(paths: &[String], holds: impl Fn(&Path) -> Verdict) -> Verdict {
    Verdict::any(paths.iter().map(PathBuf::from).map(|path| {
        if path.is_absolute() { holds(&path) } else { unknown(&path, "it is no absolute path of this system") }
    }))
}

fn unknown(path: &Path, why: impl std::fmt::Display) -> Verdict {
    Verdict::Unknown(why.to_string()).about(path)
}

impl Verdict {
    /// With what a reason is about before it.
    fn about(self, path: &Path) -> Self {
        match self {
            Self::Unknown(why) => Self::Unknown(format!("{}: {why}", path.display())),
            decided => decided,
        }
    }
}
