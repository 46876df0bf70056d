//! One rule: what to look at, and what must be there.

mod command;
mod variables;

pub(crate) use self::variables::Variables;
use crate::content::Content;
use crate::pattern::Dialect;

/// Why a rule cannot be used.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It says nothing that could be looked at: the policy is refused.
    Malformed(String),
    /// An expression in it does not compile, or its command cannot be split: its check is not applicable.
    Uncompilable(String),
}

/// A malformed rule.
pub(crate) fn malformed<T>(why: impl Into<String>) -> Result<T, Fault> {
    Err(Fault::Malformed(why.into()))
}

#[derive(Debug, Clone)]
pub(crate) struct Rule {
    pub(crate) negated: bool,
    pub(crate) probe: Probe,
}

/// What a rule looks at. Of several paths one has to do.
#[derive(Debug, Clone)]
pub(crate) enum Probe {
    /// `f:`
    Files { paths: Vec<String>, content: Option<Content> },
    /// `d:`, with `names` the files in them and below, at any depth.
    Directories { paths: Vec<String>, names: Option<Content>, content: Option<Content> },
    /// `p:`, on each process's names.
    Processes(Content),
    /// `c:`, a program and its arguments.
    Command { words: Vec<String>, content: Option<Content> },
    /// `r:`, on Windows.
    Registry,
}

const ARROW: &str = " -> ";

impl Rule {
    /// Reads a rule and puts the values of variables in.
    pub(crate) fn parse(text: &str, dialect: Dialect, variables: &Variables) -> Result<Self, Fault> {
        let text = variables.put_into(text)?;
        let (negated, text) = match text.strip_prefix("not ").or_else(|| text.strip_prefix("NOT ")) {
            Some(rest) => (true, rest.trim_start()),
            None => (false, text.trim_start()),
        };
        let (negated, text) = match text.strip_prefix('!') {
            Some(_) if negated => return malformed("it is negated twice"),
            Some(rest) => (true, rest),
            None => (negated, text),
        };
        let Some((kind, rest)) = text.split_once(':') else { return malformed(TYPES) };
        let (target, content) = match rest.split_once(ARROW) {
            Some((target, content)) => (target, Some(content)),
            None => (rest, None),
        };
        let read = |content: Option<&str>| content.map(|text| Content::parse(text, dialect)).transpose();
        let probe = match kind {
            "f" => Probe::Files { paths: paths(target)?, content: read(content)? },
            "d" => {
                let (names, content) = match content.and_then(|content| content.split_once(ARROW)) {
                    Some((names, content)) => (Some(names), Some(content)),
                    None => (content, None),
                };
                Probe::Directories { paths: paths(target)?, names: read(names)?, content: read(content)? }
            }
            "p" if content.is_some() => return malformed("processes have no content: nothing may follow with '->'"),
            "p" => Probe::Processes(Content::parse(target, dialect)?),
            "c" => Probe::Command { words: command::words(target)?, content: read(content)? },
            "r" => Probe::Registry,
            _ => return malformed(TYPES),
        };
        Ok(Self { negated, probe })
    }
}

const TYPES: &str = "a rule begins with 'f:', 'd:', 'p:', 'c:' or 'r:', after 'not' or '!' when it is negated";

/// The paths of a list with commas.
fn paths(target: &str) -> Result<Vec<String>, Fault> {
    if target.contains("->") {
        return malformed("'->' needs a space on each side");
    }
    let paths: Vec<_> = target.split(',').map(str::trim).filter(|path| !path.is_empty()).map(str::to_owned).collect();
    if paths.is_empty() {
        return malformed("the path is missing");
    }
    paths.iter().try_for_each(|path| variables::all_defined(path))?;
    Ok(paths)
}
