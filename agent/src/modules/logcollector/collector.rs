//! The module without its task: rounds over files, each a transaction.
//!
//! A round reads from the positions of the state, writes the lines behind the confirmed length of the spool, and then
//! replaces the state, which holds the new positions and the new length together. Killed before that, the next start
//! cuts the spool to the confirmed length and reads the same lines again.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use muster_core::configuration::Logcollector;

use super::follow::{self, From};
use super::spool::{self, Spool};
use super::state::{FileId, Position, State};
use super::{Error, Loaded, pattern};

/// The most files followed at a time: each is kept open.
const MAX_FILES: usize = 512;

/// About how much is written to the spool in one round.
const MAX_BATCH: usize = 4 * 1024 * 1024;

/// How many rounds an apply or a stop waits for writers that are faster than it.
const MAX_DRAIN: usize = 64;

/// How long a rotated file must be quiet before it is finished: its writer may not have opened the new one yet.
const GRACE: Duration = Duration::from_secs(5);

/// The module's files and what it knows of those it follows.
pub(super) struct Collector {
    state_path: PathBuf,
    state: State,
    spool: Spool,
    settings: Option<Logcollector>,
    /// The paths of the locations, whether or not there is a file.
    paths: Vec<String>,
    expanded: Instant,
    open: HashMap<FileId, File>,
    /// Since when files that are no longer at their path are quiet.
    quiet: HashMap<FileId, Instant>,
    grace: Duration,
    /// With which file the next round begins, so that none waits for ever behind busy ones.
    turn: usize,
    fault: Option<String>,
}

impl Collector {
    /// Opens what is below `root`, cuts off the spool what was not confirmed, and opens the files of the state again.
    pub(super) fn open(root: &Path) -> Result<Self, Error> {
        let (spool_path, state_path) = (spool::path(root), root.join("logcollector.json"));
        let directory = spool_path.parent().unwrap_or(root);
        std::fs::create_dir_all(directory).map_err(Error::file(directory))?;
        let spool = Spool::open(spool_path)?;
        let length = spool.length()?;
        let known = State::load(&state_path).map_err(Error::file(&state_path))?;
        let mut state = known.unwrap_or_else(|| State { spool_length: length, ..State::default() });
        if length < state.spool_length {
            tracing::warn!(length, expected = state.spool_length, "the spool is shorter than what was written to it");
            state.spool_length = length;
        }
        spool.truncate(state.spool_length)?;
        let mut open = HashMap::new();
        state.files.retain(|position| match follow::reopen(position) {
            Some(file) => open.insert(position.id, file).is_none(),
            None => {
                tracing::warn!(path = position.path, "the file is gone or was rewritten while the agent was away");
                false
            }
        });
        state.save(&state_path).map_err(Error::file(&state_path))?;
        Ok(Self {
            state_path,
            state,
            spool,
            settings: None,
            paths: Vec::new(),
            expanded: Instant::now(),
            open,
            quiet: HashMap::new(),
            grace: GRACE,
            turn: 0,
            fault: None,
        })
    }

    /// Follows what `settings` name from now on; see [`super::LogCollector::apply`].
    pub(super) fn apply(&mut self, settings: Logcollector) -> Result<Loaded, Error> {
        self.drain();
        let locations = if settings.enabled { settings.localfiles.clone() } else { Vec::new() };
        // What a known location and a new one both name is not new.
        let (known, new): (Vec<_>, Vec<_>) = locations.iter().partition(|name| self.state.locations.contains(name));
        let (known, new) = (expand(known), expand(new));
        let paths: Vec<String> = known.iter().chain(&new).cloned().collect();

        let mut next = State { locations, ..self.state.clone() };
        Present::at(&paths).rename(&mut next.files);
        next.files.retain(|file| next.locations.iter().any(|location| pattern::matches(location, &file.path)));
        add(&mut next.files, &mut self.open, &Present::at(&known), From::Beginning);
        add(&mut next.files, &mut self.open, &Present::at(&new), From::End);
        self.commit(&[], next)?;
        (self.paths, self.expanded) = (paths, Instant::now());
        let loaded = Loaded {
            enabled: settings.enabled,
            localfiles: self.state.locations.clone(),
            read_interval: milliseconds(settings.read_interval),
            reload_interval: milliseconds(settings.reload_interval),
            files: self.state.files.iter().map(|file| file.path.clone()).collect(),
        };
        self.settings = Some(settings);
        Ok(loaded)
    }

    /// Reads until nothing more is there, as far as writers let it end.
    pub(super) fn drain(&mut self) {
        for _ in 0..MAX_DRAIN {
            if self.round() != Some(Duration::ZERO) {
                return;
            }
        }
    }

    /// Reads each file once, and returns after which pause to come again; `None` before the first apply. What fails is
    /// logged, and tried again in the next round from where the state stands.
    pub(super) fn round(&mut self) -> Option<Duration> {
        let settings = self.settings.as_ref()?;
        let pause = settings.read_interval;
        if self.expanded.elapsed() >= settings.reload_interval {
            (self.paths, self.expanded) = (expand(&self.state.locations), Instant::now());
        }
        match self.read() {
            Ok(more) => {
                self.fault = None;
                Some(if more { Duration::ZERO } else { pause })
            }
            Err(error) => {
                let fault = Some(error.to_string());
                if self.fault != fault {
                    tracing::warn!(%error, "lines wait in their files until the spool can be written");
                    self.fault = fault;
                }
                Some(pause)
            }
        }
    }

    fn read(&mut self) -> Result<bool, Error> {
        let mut next = self.state.clone();
        let present = Present::at(&self.paths);
        present.rename(&mut next.files);
        add(&mut next.files, &mut self.open, &present, From::Beginning);
        let (mut lines, mut more) = (Vec::new(), false);
        let mut finished = HashSet::new();
        let count = next.files.len();
        for at in 0..count {
            if lines.len() >= MAX_BATCH {
                self.turn = (self.turn + at) % count;
                more = true;
                break;
            }
            let position = &mut next.files[(self.turn + at) % count];
            let Some(file) = self.open.get(&position.id) else { continue };
            let before = (position.clone(), lines.len());
            let is_read = follow::read(file, position, &mut lines).and_then(|read| {
                if read {
                    self.quiet.remove(&position.id);
                    more = true;
                } else if is_over(file, position, &present, &mut self.quiet, self.grace) {
                    follow::finish(file, position, &mut lines)?;
                    finished.insert(position.id);
                }
                Ok(())
            });
            if let Err(error) = is_read {
                tracing::warn!(path = before.0.path, %error, "the file cannot be read");
                lines.truncate(before.1);
                *position = before.0;
            }
        }
        next.files.retain(|position| !finished.contains(&position.id));
        self.commit(&lines, next)?;
        Ok(more)
    }

    /// Makes `next` the state, on disk and here, together with `lines` in the spool: both or none.
    fn commit(&mut self, lines: &[u8], mut next: State) -> Result<(), Error> {
        if next != self.state {
            let confirmed = self.state.spool_length;
            if !lines.is_empty() {
                next.spool_length = self.spool.write(confirmed, lines)?;
            }
            if let Err(error) = next.save(&self.state_path) {
                self.spool.truncate(confirmed)?;
                return Err(Error::file(&self.state_path)(error));
            }
            self.state = next;
        }
        let followed: HashSet<FileId> = self.state.files.iter().map(|position| position.id).collect();
        self.open.retain(|id, _| followed.contains(id));
        self.quiet.retain(|id, _| followed.contains(id));
        Ok(())
    }
}

/// The paths of locations, each once.
fn expand<'a>(locations: impl IntoIterator<Item = &'a String>) -> Vec<String> {
    let mut seen = HashSet::new();
    let paths = locations.into_iter().flat_map(|location| pattern::expand(location, MAX_FILES));
    paths.filter(|path| seen.insert(path.clone())).collect()
}

/// The regular files that are at paths at this moment.
struct Present {
    paths: BTreeMap<String, FileId>,
    ids: HashSet<FileId>,
}

impl Present {
    fn at(paths: &[String]) -> Self {
        let regular = |path: &String| std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file);
        let found = paths.iter().filter_map(|path| Some((path.clone(), FileId::of(&regular(path)?))));
        let paths: BTreeMap<_, _> = found.collect();
        Self { ids: paths.values().copied().collect(), paths }
    }

    /// Gives followed files that are no longer at their own path, but at another of these, the name they now have.
    fn rename(&self, files: &mut [Position]) {
        for position in files.iter_mut().filter(|position| self.ids.contains(&position.id)) {
            if self.paths.get(&position.path) != Some(&position.id)
                && let Some((path, _)) = self.paths.iter().find(|(_, id)| **id == position.id)
            {
                position.path.clone_from(path);
            }
        }
    }
}

/// Opens the present files that are not followed yet.
fn add(files: &mut Vec<Position>, open: &mut HashMap<FileId, File>, present: &Present, from: From) {
    let mut followed: HashSet<FileId> = files.iter().map(|position| position.id).collect();
    for (path, id) in &present.paths {
        if followed.contains(id) {
            continue;
        }
        if files.len() >= MAX_FILES {
            tracing::warn!(path, "not followed: at most {MAX_FILES} files are");
            return;
        }
        match follow::open(path, from) {
            Ok((file, position)) if followed.insert(position.id) => {
                open.insert(position.id, file);
                files.push(position);
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(path, %error, "the file cannot be followed"),
        }
    }
}

/// Whether a file that is at none of the paths has ended: another is in its place or it is deleted, and it has been
/// quiet for `grace`.
fn is_over(
    file: &File,
    position: &Position,
    present: &Present,
    quiet: &mut HashMap<FileId, Instant>,
    grace: Duration,
) -> bool {
    let is_replaced = present.paths.contains_key(&position.path);
    if present.ids.contains(&position.id) || !(is_replaced || follow::is_deleted(file)) {
        quiet.remove(&position.id);
        return false;
    }
    quiet.entry(position.id).or_insert_with(Instant::now).elapsed() >= grace
}

fn milliseconds(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
