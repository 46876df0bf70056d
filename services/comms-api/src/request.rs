//! What can be asked, and by whom: both are in the subject, which the server enforces.

use muster_core::findings::Finding;
use muster_core::names::unescape;

/// A request of an agent, or of somebody who wants to become one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// `enrol.<nkey>`.
    Enrol {
        /// The public key.
        nkey: String,
    },
    /// Anything on `agent.<id>.>`.
    Agent {
        /// Who asks.
        id: String,
        /// What.
        asks: Asks,
    },
}

/// What an agent asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asks {
    /// `hello`.
    Hello,
    /// `sync`.
    Sync,
    /// `result`.
    Result,
    /// `config.<group>`, the group in its escaped form.
    Config(String),
    /// `content.<digest>`.
    Content(String),
    /// `packages`: to be matched with the vulnerabilities that the server nodes know.
    Packages,
    /// `findings.<what>`: it asks nothing, and reports what a module has found.
    Findings(Finding),
    /// `package`.
    Package,
}

/// The subjects on which a gateway answers.
pub const SUBJECTS: [&str; 9] = [
    "enrol.*",
    "agent.*.hello",
    "agent.*.sync",
    "agent.*.result",
    "agent.*.config.*",
    "agent.*.content.*",
    "agent.*.findings.*",
    "agent.*.package",
    "agent.*.packages",
];

impl Request {
    /// Who asks: an agent's id or a newcomer's nkey.
    pub fn asker(&self) -> &str {
        match self {
            Self::Enrol { nkey } => nkey,
            Self::Agent { id, .. } => id,
        }
    }

    /// The request that this subject stands for; none when it stands for none.
    pub fn of(subject: &str) -> Option<Self> {
        let tokens: Vec<&str> = subject.split('.').collect();
        let (id, asks) = match tokens[..] {
            ["enrol", nkey] => return Some(Self::Enrol { nkey: nkey.to_owned() }),
            ["agent", id, "hello"] => (id, Asks::Hello),
            ["agent", id, "sync"] => (id, Asks::Sync),
            ["agent", id, "result"] => (id, Asks::Result),
            ["agent", id, "package"] => (id, Asks::Package),
            ["agent", id, "config", group] => (id, Asks::Config(unescape(group)?)),
            ["agent", id, "content", digest] => (id, Asks::Content(digest.to_owned())),
            ["agent", id, "packages"] => (id, Asks::Packages),
            ["agent", id, "findings", what] => (id, Asks::Findings(what.parse().ok()?)),
            _ => return None,
        };
        Some(Self::Agent { id: id.to_owned(), asks })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_says_who_asks_for_what() {
        let agent = |asks| Some(Request::Agent { id: "007".into(), asks });
        assert_eq!(Request::of("agent.007.hello"), agent(Asks::Hello));
        assert_eq!(Request::of("agent.007.config.web=2eeu"), agent(Asks::Config("web.eu".into())));
        assert_eq!(Request::of("agent.007.config.web=zz"), None);
        assert_eq!(Request::of("agent.007.content.ab"), agent(Asks::Content("ab".into())));
        assert_eq!(Request::of("agent.007.packages"), agent(Asks::Packages));
        assert_eq!(Request::of("agent.007.findings.sca"), agent(Asks::Findings(Finding::Sca)));
        assert_eq!((Request::of("agent.007.findings.x"), Request::of("agent.007.findings")), (None, None));
        assert_eq!(Request::of("agent.007.package"), agent(Asks::Package));
        assert_eq!(Request::of("enrol.UX"), Some(Request::Enrol { nkey: "UX".into() }));
        assert_eq!((Request::of("agent.007.rx.g.1"), Request::of("agent.hello"), Request::of("")), (None, None, None));
    }
}
