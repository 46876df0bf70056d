//! What can be said of a rule: that it holds, that it does not, or that it could not be found out.

use std::ops::Not;

/// The truth of a rule, or of a part of one, in Kleene's logic: what is not known stays so, unless the rest decides alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It holds.
    Holds,
    /// It does not hold.
    Fails,
    /// It could not be found out, and why.
    Unknown(String),
}

impl Verdict {
    /// What decides a disjunction alone is `Holds`; the first reason stays.
    pub(crate) fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Holds, _) | (_, Self::Holds) => Self::Holds,
            (Self::Unknown(why), _) | (_, Self::Unknown(why)) => Self::Unknown(why),
            (Self::Fails, Self::Fails) => Self::Fails,
        }
    }

    /// Whether one holds. Looks at no more of them than it needs.
    pub(crate) fn any(verdicts: impl IntoIterator<Item = Self>) -> Self {
        let mut found = Self::Fails;
        for verdict in verdicts {
            found = found.or(verdict);
            if found == Self::Holds {
                break;
            }
        }
        found
    }

    /// Whether all hold. Looks at no more of them than it needs.
    pub(crate) fn all(verdicts: impl IntoIterator<Item = Self>) -> Self {
        !Self::any(verdicts.into_iter().map(Self::not))
    }
}

impl From<bool> for Verdict {
    fn from(holds: bool) -> Self {
        if holds { Self::Holds } else { Self::Fails }
    }
}

impl Not for Verdict {
    type Output = Self;

    fn not(self) -> Self {
        match self {
            Self::Holds => Self::Fails,
            Self::Fails => Self::Holds,
            Self::Unknown(why) => Self::Unknown(why),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Verdict::{Fails, Holds};
    use super::*;

    #[test]
    fn the_unknown_decides_nothing_and_hides_nothing() {
        let unknown = || Verdict::Unknown("a".into());
        let other = || Verdict::Unknown("b".into());
        assert_eq!(Verdict::any([unknown(), Holds]), Holds);
        assert_eq!(Verdict::any([Fails, unknown(), other()]), unknown());
        assert_eq!(Verdict::any([]), Fails);
        assert_eq!(Verdict::all([unknown(), Fails]), Fails);
        assert_eq!(Verdict::all([Holds, unknown(), other()]), unknown());
        assert_eq!(Verdict::all([]), Holds);
        assert_eq!(!unknown(), unknown());
    }

    #[test]
    fn no_more_is_looked_at_than_needed() {
        let mut seen = 0;
        let verdicts = [Fails, Holds, Fails].into_iter().inspect(|_| seen += 1);
        assert_eq!(Verdict::any(verdicts), Holds);
        assert_eq!(seen, 2);
    }
}
