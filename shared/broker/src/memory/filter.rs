//! Subjects and filters: `*` stands for one token, `>` at the end for one or more.

/// Whether a filter covers a subject.
pub fn covers(filter: &str, subject: &str) -> bool {
    let (mut wanted, mut tokens) = (filter.split('.'), subject.split('.'));
    loop {
        match (wanted.next(), tokens.next()) {
            (Some(">"), Some(_)) | (None, None) => return true,
            (Some("*"), Some(_)) => {}
            (Some(want), Some(token)) if want == token => {}
            _ => return false,
        }
    }
}

/// What every subject that the filter covers begins with.
pub fn prefix(filter: &str) -> &str {
    let wild = |(at, token): (usize, char)| matches!(token, '*' | '>').then_some(at);
    filter.char_indices().find_map(wild).map_or(filter, |at| &filter[..at])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_cover_as_the_server_says() {
        assert!(covers("a.*.c", "a.b.c") && covers("a.>", "a.b.c") && covers("a", "a") && covers(">", "a.b"));
        assert!(!covers("a.*", "a.b.c") && !covers("a.>", "a") && !covers("a.b", "a") && !covers("a", "a.b"));
        assert_eq!((prefix("a.b.*"), prefix("a.>"), prefix("a.b")), ("a.b.", "a.", "a.b"));
    }
}
