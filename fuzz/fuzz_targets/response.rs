//! Any text as the body of an active response: it is answered, and what is taken comes back when it is written.
#![no_main]

use libfuzzer_sys::fuzz_target;
use muster_active_response::Response;

fuzz_target!(|text: &str| {
    if let Ok(response) = Response::parse(text) {
        let written = serde_json::to_string(&response).expect("it can be written");
        assert_eq!(Response::parse(&written).as_ref(), Ok(&response));
    }
});
