//! Why the broker did not do what it was asked.

/// Why the broker did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// An expected revision is not the newest any more: read again and decide again.
    #[error("the state has changed meanwhile")]
    Conflict,
    /// An insert-once subject holds a message.
    #[error("it exists already")]
    Exists,
    /// The stream takes no more: nothing was stored.
    #[error("the stream is full: {0}")]
    Full(String),
    /// A message or batch breaks a limit or rule of the stream; repeating it cannot help.
    #[error("refused by the stream: {0}")]
    Refused(String),
    /// No answer, or none that says what happened.
    #[error("the broker is not available: {0}")]
    Unavailable(String),
}

impl Fault {
    /// Its kind in one word, for telemetry.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Conflict => "conflict",
            Self::Exists => "exists",
            Self::Full(_) => "full",
            Self::Refused(_) => "refused",
            Self::Unavailable(_) => "unavailable",
        }
    }
}
