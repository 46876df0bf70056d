//! Where an answer may go. A reply subject is chosen by whoever asks: it is input like any other.

/// Why nothing is published to this reply subject of a request; none when it is an inbox of the one who asks, an
/// agent's id or a newcomer's nkey: `_INBOX.<asker>.`.
pub fn fault(reply: &str, asker: &str) -> Option<&'static str> {
    if reply.len() > 256 {
        return Some("a reply subject has at most 256 bytes");
    }
    let own = reply.strip_prefix("_INBOX.").and_then(|rest| rest.strip_prefix(asker)?.strip_prefix('.'));
    let Some(rest) = own else {
        return Some("an answer goes to an inbox of the one who asks and nowhere else");
    };
    let plain =
        |token: &str| !token.is_empty() && token.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    (!rest.split('.').all(plain)).then_some("that is not the subject of an inbox")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_goes_to_the_askers_inbox_and_nowhere_else() {
        for good in ["_INBOX.007.x", "_INBOX.007.Yx7.1", "_INBOX.007.a-b_c.9"] {
            assert_eq!(fault(good, "007"), None, "{good}");
        }
        let long = format!("_INBOX.007.{}", "x".repeat(300));
        for bad in [
            "",
            "_INBOX",
            "_INBOX.",
            "_INBOX.007",
            "_INBOX.007.",
            "_INBOX.0071.x",
            "_INBOX.008.x",
            "_INBOX.x",
            "_INBOX.007..x",
            "_INBOX.007.x.",
            "_INBOX.007.*",
            "_INBOX.007.x.>",
            "_INBOX.007.a b",
            "_INBOX.007.\u{e9}",
            "_inbox.007.x",
            "x._INBOX.007.y",
            "agent.007.command",
            "agent.007.result",
            "$JS.API.STREAM.PURGE.TASKS",
            "enrol.UX",
            "tasks.agent-name",
            &long,
        ] {
            assert!(fault(bad, "007").is_some(), "{bad}");
        }
    }
}
