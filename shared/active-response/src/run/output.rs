//! What a program writes: bounded, and searched for its question.

use crate::message::{MAX_QUESTION, question};

/// How much of the output is kept, in bytes.
const KEPT: usize = 4 * 1024;

/// The keys that a program asked for, or what is wrong with its question.
pub(crate) type Question = Result<Vec<String>, &'static str>;

/// The beginning of an output.
#[derive(Debug, Default)]
pub(super) struct Kept {
    head: Vec<u8>,
    total: u64,
}

impl Kept {
    pub(super) fn take(&mut self, bytes: &[u8]) {
        let room = KEPT - self.head.len();
        self.head.extend_from_slice(&bytes[..bytes.len().min(room)]);
        self.total = self.total.saturating_add(bytes.len() as u64);
    }

    /// The text, the length of the whole in bytes, and whether the text is not the whole.
    pub(super) fn into_text(self) -> (String, u64, bool) {
        let truncated = self.total > self.head.len() as u64;
        (String::from_utf8_lossy(&self.head).into_owned(), self.total, truncated)
    }
}

/// Looks in standard output for the first line that asks `check_keys`; all else is output.
#[derive(Debug)]
pub(super) enum Listener {
    /// No question is expected, or it was asked.
    Deaf,
    /// The line that has begun; `skip` when it is too long for a question.
    Line { begun: Vec<u8>, skip: bool },
}

impl Listener {
    pub(super) fn new(expects_question: bool) -> Self {
        if expects_question { Self::Line { begun: Vec::new(), skip: false } } else { Self::Deaf }
    }

    /// Takes in what was read. At most one question is ever returned.
    pub(super) fn hear(&mut self, mut bytes: &[u8], kept: &mut Kept) -> Option<Question> {
        while let Self::Line { begun, skip } = self {
            let Some(end) = bytes.iter().position(|b| *b == b'\n') else {
                if *skip || begun.len() + bytes.len() > MAX_QUESTION {
                    kept.take(&std::mem::take(begun));
                    kept.take(bytes);
                    *skip = true;
                } else {
                    begun.extend_from_slice(bytes);
                }
                return None;
            };
            let (line, rest) = bytes.split_at(end + 1);
            let mut whole = std::mem::take(begun);
            let asked = (!*skip && whole.len() + line.len() <= MAX_QUESTION).then(|| {
                whole.extend_from_slice(line);
                question(&whole)
            });
            (*skip, bytes) = (false, rest);
            match asked {
                Some(Some(asked)) => {
                    *self = Self::Deaf;
                    kept.take(bytes);
                    return Some(asked);
                }
                Some(None) => kept.take(&whole),
                None => {
                    kept.take(&whole);
                    kept.take(line);
                }
            }
        }
        kept.take(bytes);
        None
    }

    /// The output has ended: what has begun is output too, unless it is a question without its line's end.
    pub(super) fn end(&mut self, kept: &mut Kept) -> Option<Question> {
        let Self::Line { begun, .. } = std::mem::replace(self, Self::Deaf) else { return None };
        let asked = question(&begun);
        if asked.is_none() {
            kept.take(&begun);
        }
        asked
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ASKS: &str = "{\"command\":\"check_keys\",\"parameters\":{\"keys\":[\"k\"]}}\n";

    fn heard(text: &[u8], chunk: usize, expects: bool) -> (Vec<Question>, String, u64) {
        let (mut listener, mut kept) = (Listener::new(expects), Kept::default());
        let mut asked: Vec<_> = text.chunks(chunk).filter_map(|bytes| listener.hear(bytes, &mut kept)).collect();
        asked.extend(listener.end(&mut kept));
        let (text, total, _) = kept.into_text();
        (asked, text, total)
    }

    #[test]
    fn the_first_question_is_found_and_the_rest_is_output() {
        let text = format!("begin\n{ASKS}{ASKS}end");
        for chunk in [1, 7, 1000] {
            let (asked, output, _) = heard(text.as_bytes(), chunk, true);
            assert_eq!(asked, [Ok(vec!["k".to_owned()])]);
            assert_eq!(output, format!("begin\n{ASKS}end"));
        }
        assert_eq!(heard(text.as_bytes(), 5, false).1, text);
        assert_eq!(heard(ASKS.trim_end().as_bytes(), 5, true).0.len(), 1);
    }

    #[test]
    fn a_line_without_end_takes_no_room() {
        let text = format!("{}\n{ASKS}", "x".repeat(1 << 20));
        for chunk in [4096, 1 << 21] {
            let (asked, output, total) = heard(text.as_bytes(), chunk, true);
            assert_eq!((asked.len(), output.len(), total), (1, KEPT, (1 << 20) + 1));
        }
    }

    proptest! {
        #[test]
        fn nothing_is_lost(text in "[a{\\n]{0,60}", chunk in 1usize..9, expects in any::<bool>()) {
            let (asked, output, total) = heard(text.as_bytes(), chunk, expects);
            prop_assert_eq!(asked.len(), 0);
            prop_assert_eq!(total, text.len() as u64);
            prop_assert_eq!(output, text);
        }
    }
}
