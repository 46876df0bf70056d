//! A task's progress on stderr: a bar that is drawn over itself on a terminal, a line for each change elsewhere.

use std::io::{IsTerminal as _, Write as _};

use muster_core::summary::Summary;

use crate::commands::summary::{line, parts};
use crate::output::{plain, say};

/// How many cells the bar has.
const CELLS: usize = 24;
/// On a narrower terminal there are lines: a bar that wraps is not drawn over itself.
const NARROWEST: usize = 60;

/// Shows how a task comes on.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// Whether a bar stands on the terminal's line.
    drawn: bool,
}

impl Progress {
    /// Whether it is a bar: stderr is a terminal that is wide enough and can go back to the start of a line.
    pub(crate) fn is_bar() -> bool {
        width().is_some()
    }

    /// Shows a task as it stands.
    pub(crate) fn show(&mut self, summary: &Summary) {
        match width() {
            None => say(&line(summary)),
            Some(width) => {
                // To the line's start; what stood there is erased.
                let _ = write!(std::io::stderr(), "\r\x1b[K{}", bar(summary, width));
                let _ = std::io::stderr().flush();
                self.drawn = true;
            }
        }
    }
}

/// What was drawn last stays, and what follows stands below it.
impl Drop for Progress {
    fn drop(&mut self) {
        if self.drawn {
            say("");
        }
    }
}

/// How many columns the terminal has, if a bar can be drawn there.
fn width() -> Option<usize> {
    let stderr = std::io::stderr();
    if !stderr.is_terminal() || std::env::var("TERM").is_ok_and(|term| term == "dumb") {
        return None;
    }
    let size = rustix::termios::tcgetwinsize(&stderr).ok()?;
    // A terminal that does not know its size says 0; 80 columns are what they have had since there are terminals.
    let columns = if size.ws_col == 0 { 80 } else { usize::from(size.ws_col) };
    (columns >= NARROWEST).then_some(columns)
}

/// A line of at most `width - 1` columns.
fn bar(summary: &Summary, width: usize) -> String {
    let [state, done, counts] = parts(summary);
    let filled = match summary.recipients {
        Some(0) => CELLS,
        Some(all) => usize::try_from(summary.counts.ended() * CELLS as u64 / all).unwrap_or(CELLS).min(CELLS),
        None => 0,
    };
    let cells = format!("{}{}", "#".repeat(filled), ".".repeat(CELLS - filled));
    let text = format!("{state:<10} [{cells}] {done:>11}  {counts}");
    plain(text.trim_end()).chars().take(width - 1).collect()
}

#[cfg(test)]
mod tests {
    use muster_core::status::{Counts, State};

    use super::*;
    use crate::commands::summary::tests::summary;

    #[test]
    fn a_bar_is_filled_as_far_as_the_task_is() {
        let counts = Counts { success: 2, failure: 1, pending: 1, ..Counts::default() };
        let running = Summary { state: State::Running, recipients: Some(4), counts, ..summary() };
        assert_eq!(
            bar(&running, 100),
            "running    [##################......]         3/4  success 2, failure 1, pending 1"
        );
        assert_eq!(bar(&running, 60).chars().count(), 59);
        let nobody = Summary { recipients: Some(0), counts: Counts::default(), ..running.clone() };
        assert!(bar(&nobody, 80).contains("[########################]"));
        let unknown = Summary { recipients: None, counts: Counts::default(), ..running };
        assert!(bar(&unknown, 80).contains("[........................]"));
    }
}
