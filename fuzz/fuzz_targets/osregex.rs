//! Any text as an expression, tried on any bytes: it is answered, and what is captured is a part of them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use muster_sca::OsRegex;

fuzz_target!(|input: (&str, &[u8])| {
    let (pattern, text) = input;
    let Ok(regex) = OsRegex::parse(pattern) else { return };
    let captured = regex.capture(text);
    assert_eq!(regex.is_match(text), captured.is_some());
    if let Some(captured) = captured {
        assert!(captured.is_empty() || text.windows(captured.len()).any(|part| part == captured));
    }
});
