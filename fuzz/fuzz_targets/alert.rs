//! Any text as an alert: it is answered, what is taken comes back when it is written, and a response can be checked
//! against it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use muster_active_response::{Alert, Response};

const RESPONSE: &str = "{name: x, executable: x, type: stateful, location: local, needs: [a, a.b.0], keys: [data.srcip]}";

fuzz_target!(|text: &str| {
    if let Ok(alert) = Alert::parse(text) {
        let written = serde_json::to_string(&alert).expect("it can be written");
        assert_eq!(Alert::parse(&written).as_ref(), Ok(&alert));
        let response = Response::parse(RESPONSE).expect("a response");
        let missing = ["a", "a.b.0", "data.srcip"].iter().filter(|path| alert.field(path).is_none()).count();
        assert_eq!(response.check(&alert).err().map_or(0, |problems| problems.len()), missing);
        let _agent = alert.agent_id();
    }
});
