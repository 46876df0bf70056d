//! Where an answer may go. A reply subject is chosen by whoever asks: it is input like any other.

/// Why nothing is published to this reply subject of a request; none when it is an inbox.
///
/// Agents share one user of their account until they have identities of their own; then it must be the asking agent's
/// own inbox, `_INBOX.<agent>.`.
pub fn fault(reply: &str) -> Option<&'static str> {
    if reply.len() > 256 {
        return Some("a reply subject has at most 256 bytes");
    }
    let Some(rest) = reply.strip_prefix("_INBOX.") else {
        return Some("an answer goes to an inbox and nowhere else");
    };
    let plain =
        |token: &str| !token.is_empty() && token.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    (!rest.split('.').all(plain)).then_some("that is not the subject of an inbox")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_goes_to_an_inbox_and_nowhere_else() {
        for good in ["_INBOX.x", "_INBOX.Yx7.1", "_INBOX.007.a-b_c.9"] {
            assert_eq!(fault(good), None, "{good}");
        }
        let long = format!("_INBOX.{}", "x".repeat(300));
        for bad in [
            "",
            "_INBOX",
            "_INBOX.",
            "_INBOX..x",
            "_INBOX.x.",
            "_INBOX.*",
            "_INBOX.x.>",
            "_INBOX.a b",
            "_INBOX.\u{e9}",
            "_inbox.x",
            "x._INBOX.y",
            "agent.007.command",
            "agent.007.result",
            "$JS.API.STREAM.PURGE.TASKS",
            "enrol.UX",
            "tasks.agent-name",
            &long,
        ] {
            assert!(fault(bad).is_some(), "{bad}");
        }
    }
}
