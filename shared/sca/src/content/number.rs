//! The comparison of a number that is found: `n:<expression> compare <operator> <number>`.

use crate::rule::{Fault, malformed};
use crate::verdict::Verdict;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Comparison {
    operator: Operator,
    number: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Less,
    LessOrEqual,
    Equal,
    NotEqual,
    GreaterOrEqual,
    Greater,
}

/// The longer ones first.
const OPERATORS: [(&str, Operator); 7] = [
    ("<=", Operator::LessOrEqual),
    (">=", Operator::GreaterOrEqual),
    ("==", Operator::Equal),
    ("!=", Operator::NotEqual),
    ("<", Operator::Less),
    (">", Operator::Greater),
    ("=", Operator::Equal),
];

impl Comparison {
    /// The expression before `compare`, and the comparison.
    pub(super) fn split(text: &str) -> Result<(&str, Self), Fault> {
        let Some((pattern, comparison)) = text.split_once(" compare ") else {
            return malformed("'n:' needs an expression, then ' compare ', an operator and a number");
        };
        let comparison = comparison.trim();
        let known = |(sign, operator): &(&str, Operator)| Some((comparison.strip_prefix(sign)?, *operator));
        let Some((number, operator)) = OPERATORS.iter().find_map(known) else {
            return malformed("'compare' needs one of '<', '<=', '==', '!=', '>=', '>'");
        };
        let number = number.trim();
        match number.parse() {
            Ok(number) => Ok((pattern, Self { operator, number })),
            Err(_) => {
                malformed(format!("'compare' needs a whole number after its operator, not '{}'", super::brief(number)))
            }
        }
    }

    /// Whether it holds for the number that a text begins with, as C's `strtol` reads it.
    pub(super) fn holds(self, text: &[u8]) -> Verdict {
        let Some(found) = leading_number(text) else {
            let text = String::from_utf8_lossy(text);
            return Verdict::Unknown(format!("'{}' is no number to compare", super::brief(&text)));
        };
        let Self { operator, number } = self;
        match operator {
            Operator::Less => found < number,
            Operator::LessOrEqual => found <= number,
            Operator::Equal => found == number,
            Operator::NotEqual => found != number,
            Operator::GreaterOrEqual => found >= number,
            Operator::Greater => found > number,
        }
        .into()
    }
}

fn leading_number(text: &[u8]) -> Option<i64> {
    let text = text.trim_ascii_start();
    let signs = usize::from(matches!(text.first(), Some(b'-' | b'+')));
    let digits = text.iter().skip(signs).take_while(|byte| byte.is_ascii_digit()).count();
    std::str::from_utf8(text.get(..signs + digits)?).ok()?.parse().ok()
}
