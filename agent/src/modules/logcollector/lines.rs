//! Complete lines in a buffer of a file.

/// The longest line, in bytes without its end; a longer one is cut.
pub(super) const MAX_LINE: usize = 64 * 1024;

/// One line of a file, without its end.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line<'a> {
    pub(super) bytes: &'a [u8],
    /// Whether it was longer than [`MAX_LINE`].
    pub(super) truncated: bool,
}

/// Hands each line of `buffer` to `emit` and returns how many bytes are done with: up to the end of the last complete
/// line, or all when a line is too long, which is cut and emitted at once. `skipping` says, before and after, that the
/// rest of such a line follows.
pub(super) fn split<'a>(buffer: &'a [u8], skipping: &mut bool, mut emit: impl FnMut(Line<'a>)) -> usize {
    let mut done = 0;
    while let Some(length) = buffer[done..].iter().position(|byte| *byte == b'\n') {
        if !std::mem::take(skipping) {
            emit(line(&buffer[done..done + length]));
        }
        done += length + 1;
    }
    let rest = &buffer[done..];
    if *skipping {
        return buffer.len();
    }
    // One byte more is allowed for, as it may be the '\r' of the line's end.
    if rest.len() > MAX_LINE + 1 {
        emit(line(rest));
        *skipping = true;
        return buffer.len();
    }
    done
}

/// The line in `bytes`, which has no `\n`.
pub(super) fn line(bytes: &[u8]) -> Line<'_> {
    let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
    Line { truncated: bytes.len() > MAX_LINE, bytes: &bytes[..bytes.len().min(MAX_LINE)] }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// All lines of `text` when at most `chunk` bytes are read at a time, and what is left over.
    fn all(text: &[u8], chunk: usize) -> (Vec<(Vec<u8>, bool)>, usize) {
        let (mut lines, mut offset, mut skipping, mut end) = (Vec::new(), 0, false, chunk);
        while offset < text.len() {
            let buffer = &text[offset..end.min(text.len())];
            let done = split(buffer, &mut skipping, |line| lines.push((line.bytes.to_vec(), line.truncated)));
            offset += done;
            if done == 0 && end >= text.len() {
                break;
            }
            // A line that is not complete in the chunk is read again with what was appended.
            end = if done == 0 { end + chunk } else { offset + chunk };
        }
        (lines, text.len() - offset)
    }

    #[test]
    fn complete_lines_only() {
        let (lines, left) = all(b"one\r\n\ntwo\nthr", 4096);
        assert_eq!(lines, [(b"one".to_vec(), false), (b"".to_vec(), false), (b"two".to_vec(), false)]);
        assert_eq!(left, 3);
    }

    #[test]
    fn a_long_line_is_cut_and_said_once() {
        for length in [MAX_LINE - 1, MAX_LINE, MAX_LINE + 1, MAX_LINE + 2, 5 * MAX_LINE] {
            for end in ["\n", "\r\n"] {
                let text = [&vec![b'x'; length], end.as_bytes(), b"next\n"].concat();
                let cut = vec![b'x'; length.min(MAX_LINE)];
                let expected = vec![(cut, length > MAX_LINE), (b"next".to_vec(), false)];
                for chunk in [4 * MAX_LINE, MAX_LINE + 7, 1000] {
                    assert_eq!(all(&text, chunk), (expected.clone(), 0), "{length} {end:?} {chunk}");
                }
            }
        }
    }

    #[test]
    fn a_carriage_return_is_an_end_only_before_the_end() {
        let text = [&vec![b'x'; MAX_LINE], b"\rmore\n".as_slice()].concat();
        for chunk in [MAX_LINE + 1, 4 * MAX_LINE] {
            assert_eq!(all(&text, chunk), (vec![(vec![b'x'; MAX_LINE], true)], 0), "{chunk}");
        }
    }

    proptest! {
        #[test]
        fn the_chunks_do_not_matter(text in "[a-c\r\n]{0,80}", chunk in 1usize..20) {
            prop_assert_eq!(all(text.as_bytes(), chunk), all(text.as_bytes(), 4096));
        }
    }
}
