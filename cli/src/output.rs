//! Data on stdout: tables for people, JSON for programs.

use std::io::Write as _;

use clap::ValueEnum;
use serde_json::Value;

/// How data is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Output {
    /// Aligned columns
    #[default]
    Table,
    /// JSON; one object a line where there may be several
    Json,
}

/// Writes lines to stdout.
///
/// # Errors
/// The error of stdout as it is, so that a broken pipe is known as one.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    if !text.ends_with('\n') {
        out.write_all(b"\n")?;
    }
    Ok(out.flush()?)
}

/// Says a line to whoever looks at stderr; that nobody does is no error.
pub(crate) fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{}", plain(text));
}

/// Writes a document for programs.
pub(crate) fn print_json(value: &Value) -> anyhow::Result<()> {
    print(&format!("{value:#}"))
}

/// A text without control characters, which could move a terminal's cursor: names come from outside.
pub(crate) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect()
}

/// A text of many lines, such as a configuration, as people can read it.
pub(crate) fn document(text: &str) -> String {
    text.lines().map(|line| plain(&line.replace('\t', "    ")) + "\n").collect()
}

/// A text as one cell of a table: on one line, a dash for nothing.
fn cell(text: &str) -> String {
    let text = plain(text).replace('\n', " ");
    if text.is_empty() { "-".to_owned() } else { text }
}

/// A table with aligned columns, two spaces between them, and its head.
pub(crate) fn table<const N: usize>(head: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let rows = rows.into_iter().map(|row| row.map(|text| cell(&text)));
    let rows: Vec<[String; N]> = std::iter::once(head.map(str::to_uppercase)).chain(rows).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..N).map(width).collect();
    let line = |row: &[String; N]| {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(text, width)| format!("{text:width$}")).collect();
        format!("{}\n", cells.join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

/// Fields of one thing, a line each, without those that are empty.
pub(crate) fn fields<'a>(fields: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let fields: Vec<_> = fields.into_iter().filter(|(_, value)| !value.is_empty()).collect();
    let width = fields.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    fields.iter().map(|(name, value)| format!("{name:width$}  {}\n", cell(value))).collect()
}

/// A JSON value as a cell: a text as it is, lists with commas, nothing for null.
pub(crate) fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

/// The first twelve digits of a digest: enough to tell two apart.
pub(crate) fn short(digest: &str) -> String {
    digest.chars().take(12).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["001".to_owned(), "é\u{1b}[2J\nx".to_owned()], ["1234".to_owned(), String::new()]];
        assert_eq!(table(["id", "name"], rows), "ID    NAME\n001   é\u{fffd}[2J x\n1234  -\n");
    }

    #[test]
    fn empty_fields_are_left_out() {
        let written = fields([("id", "7".to_owned()), ("message", String::new()), ("state", "running".to_owned())]);
        assert_eq!(written, "id     7\nstate  running\n");
    }
}
