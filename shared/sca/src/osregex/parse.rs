//! The text of an expression to its steps.

use std::iter::Peekable;
use std::str::Bytes;

use super::{Class, MAX_BYTES, OsRegex, Sequence, Step};

pub(super) fn pattern(text: &str) -> Result<OsRegex, String> {
    if text.len() > MAX_BYTES {
        return Err(format!("the expression has {} bytes; at most {MAX_BYTES} are allowed", text.len()));
    }
    let mut bytes = text.bytes().peekable();
    let mut alternatives = Vec::new();
    loop {
        let (sequence, more) = sequence(&mut bytes)?;
        // One without anything to match never matches.
        alternatives.extend((!sequence.steps.is_empty()).then_some(sequence));
        if !more {
            return Ok(OsRegex { alternatives });
        }
    }
}

/// The steps up to a `|`, and whether there was one.
fn sequence(bytes: &mut Peekable<Bytes<'_>>) -> Result<(Sequence, bool), String> {
    let from_start = bytes.next_if_eq(&b'^').is_some();
    let (mut steps, mut opened, mut group) = (Vec::new(), None, None);
    let (mut to_end, mut more) = (false, false);
    while let Some(byte) = bytes.next() {
        let class = match byte {
            b'\\' => escaped(bytes.next())?,
            b'|' => {
                more = true;
                break;
            }
            b'$' if matches!(bytes.peek(), None | Some(b'|')) => {
                to_end = true;
                continue;
            }
            b'(' if opened.is_some() => return Err("parentheses may not be nested".into()),
            b'(' => {
                opened = Some(steps.len());
                continue;
            }
            b')' => {
                let start = opened.take().ok_or("a ')' without its '('")?;
                group.get_or_insert((start, steps.len()));
                continue;
            }
            byte => Class::Byte(byte.to_ascii_lowercase()),
        };
        let step = |repeated| Step { class, repeated };
        let repetition = if byte == b'\\' { bytes.next_if(|next| matches!(next, b'+' | b'*')) } else { None };
        match repetition {
            None => steps.push(step(false)),
            Some(b'+') => steps.extend([step(false), step(true)]),
            Some(_) => steps.push(step(true)),
        }
    }
    if opened.is_some() {
        return Err(if more { "parentheses may not hold alternatives" } else { "a '(' without its ')'" }.into());
    }
    let group = group.unwrap_or((0, steps.len()));
    Ok((Sequence { steps, from_start, to_end, group }, more))
}

fn escaped(byte: Option<u8>) -> Result<Class, String> {
    Ok(match byte {
        Some(b'd') => Class::Digit,
        Some(b'D') => Class::NoDigit,
        Some(b'w') => Class::Word,
        Some(b'W') => Class::NoWord,
        Some(b's') => Class::Space,
        Some(b'S') => Class::NoSpace,
        Some(b'p') => Class::Punctuation,
        Some(b'.') => Class::Any,
        Some(b't') => Class::Byte(b'\t'),
        Some(byte @ (b'(' | b')' | b'\\' | b'$' | b'|' | b'<')) => Class::Byte(byte),
        Some(byte) => return Err(format!("'\\{}' is not known to OSRegex", byte.escape_ascii())),
        None => return Err("it ends in a '\\'".into()),
    })
}
