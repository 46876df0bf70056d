//! A command line to a program and its arguments, without a shell, as Wazuh does it.

use super::variables::all_defined;
use super::{Fault, malformed};

/// Splits at spaces, not within double quotes; a `\` takes the next character as it is, also within quotes. Single quotes,
/// `|`, `*`, `$` and all else are ordinary characters.
pub(super) fn words(line: &str) -> Result<Vec<String>, Fault> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quoted = false;
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match character {
            ' ' if !quoted => words.extend(word.take()),
            '"' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            '\\' => word.get_or_insert_default().extend(characters.next()),
            '\0' => return malformed("a command may not hold the character 0"),
            character => word.get_or_insert_default().push(character),
        }
    }
    words.extend(word);
    match words.first() {
        // No fault of the policy: on Windows a command is not split, and a '\' before a '"' is one of a path.
        _ if quoted => Err(Fault::Uncompilable("a '\"' of the command is not closed".into())),
        None => malformed("the command is missing"),
        Some(program) if program.is_empty() => malformed("the command is missing"),
        Some(_) if words.iter().any(|word| word.starts_with("->")) => malformed("'->' needs a space on each side"),
        Some(program) => {
            all_defined(program)?;
            Ok(words)
        }
    }
}
