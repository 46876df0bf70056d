//! Locations with wildcards: `*` for any characters and `?` for one, inside a component of a path. Neither stands for
//! the dot at the beginning of a name.

use std::path::{Path, PathBuf};

/// Whether `path` is at `location`.
pub(super) fn matches(location: &str, path: &str) -> bool {
    if location.starts_with('/') != path.starts_with('/') {
        return false;
    }
    let (mut patterns, mut names) = (components(location), components(path));
    loop {
        match (patterns.next(), names.next()) {
            (None, None) => return true,
            (Some(pattern), Some(name)) if name_matches(pattern, name) => {}
            _ => return false,
        }
    }
}

/// The paths at `location` in alphabetical order, at most `limit`: the location itself when it has no wildcard,
/// whether or not it exists; else what is there. Directories that cannot be read have nothing in them.
pub(super) fn expand(location: &str, limit: usize) -> Vec<String> {
    if !has_wildcard(location) {
        return vec![location.to_owned()];
    }
    let mut found = vec![if location.starts_with('/') { "/".to_owned() } else { String::new() }];
    for component in components(location) {
        let mut deeper = Vec::new();
        for parent in &found {
            if has_wildcard(component) {
                let names = names_in(parent).into_iter().filter(|name| name_matches(component, name));
                deeper.extend(names.map(|name| join(parent, &name)));
            } else {
                deeper.push(join(parent, component));
            }
        }
        deeper.truncate(limit);
        found = deeper;
    }
    found
}

fn components(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|component| !component.is_empty())
}

fn has_wildcard(text: &str) -> bool {
    text.contains(['*', '?'])
}

fn join(parent: &str, name: &str) -> String {
    if parent.is_empty() || parent.ends_with('/') { format!("{parent}{name}") } else { format!("{parent}/{name}") }
}

/// The names in a directory that are UTF-8, sorted.
fn names_in(directory: &str) -> Vec<String> {
    let directory = if directory.is_empty() { Path::new(".") } else { Path::new(directory) };
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}

/// The paths of all entries in the directory of `path`.
pub(super) fn siblings(path: &str) -> Vec<PathBuf> {
    let directory = Path::new(path).parent().unwrap_or(Path::new(""));
    names_in(&directory.to_string_lossy()).into_iter().map(|name| directory.join(name)).collect()
}

fn name_matches(pattern: &str, name: &str) -> bool {
    if name.starts_with('.') && !pattern.starts_with('.') {
        return false;
    }
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n) = (0, 0);
    // Where the last star is, and up to where it reaches: on a mismatch it takes one character more.
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(c) if *c == '?' || *c == name[n] => (p, n) = (p + 1, n + 1),
            _ => match star {
                Some((at, reach)) => {
                    star = Some((at, reach + 1));
                    (p, n) = (at + 1, reach + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn wildcards_stay_inside_a_component() {
        for (location, path, matched) in [
            ("/var/log/a.log", "/var/log/a.log", true),
            ("/var/log/*.log", "/var/log/a.log", true),
            ("/var/log/*.log", "/var/log/.log", false),
            ("/var/log/*.log", "/var/log/sub/a.log", false),
            ("/var/*/a?c*e", "/var/log/abcdde", true),
            ("/var/log/*a*b", "/var/log/xaxaxb", true),
            ("/var/log/*a*b", "/var/log/xaxaxbc", false),
            ("/var/log/??", "/var/log/a", false),
            ("/var/log/.*", "/var/log/.hidden", true),
            ("/var/log/é*", "/var/log/éa", true),
            ("/var//log/*", "/var/log/a", true),
            ("var/log/*", "/var/log/a", false),
        ] {
            assert_eq!(matches(location, path), matched, "{location} {path}");
        }
    }

    #[test]
    fn what_is_there() {
        let root = tempfile::tempdir().unwrap();
        for name in ["one/a.log", "one/b.log", "one/c.txt", "two/a.log", "two/.x.log"] {
            let path = root.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        let at = |name: &str| root.path().join(name).to_str().unwrap().to_owned();
        assert_eq!(expand(&at("*/*.log"), 100), [at("one/a.log"), at("one/b.log"), at("two/a.log")]);
        assert_eq!(expand(&at("*/*.log"), 2).len(), 2);
        assert_eq!(expand(&at("no.log"), 100), [at("no.log")]);
        assert!(expand(&at("no/*.log"), 100).is_empty());
        for location in ["*/*.log", "*//*.log", "./one/*", "two/?.log"] {
            let found = expand(&at(location), 100);
            assert!(
                !found.is_empty() && found.iter().all(|path| matches(&at(location), path)),
                "{location}: {found:?}"
            );
        }
    }
}
