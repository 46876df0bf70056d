//! Conditions: `selection and not 1 of filter_*`.

use muster_core::problem::Problem;
use rsigma_parser::{ConditionExpr, Quantifier, SelectorPattern, parse_condition};

/// Levels of parentheses in a condition. Beyond some thousand the parser would exhaust the stack.
const MAX_PARENTHESES: usize = 16;
/// How often a condition may say `not`, for the same reason.
const MAX_NOT: usize = 64;

/// Reads a condition over the detections with these names.
///
/// # Errors
/// `condition`: it cannot be read, or names or selects nothing that is there.
pub(crate) fn read(text: &str, names: &[&str]) -> Result<ConditionExpr, Problem> {
    let deep = text.bytes().fold((0_usize, 0), |(now, most), byte| match byte {
        b'(' => (now + 1, most.max(now + 1)),
        b')' => (now.saturating_sub(1), most),
        _ => (now, most),
    });
    if deep.1 > MAX_PARENTHESES || text.matches("not").count() > MAX_NOT {
        return fault(format!("more than {MAX_PARENTHESES} levels of parentheses or {MAX_NOT} times 'not'"));
    }
    let condition = parse_condition(text).map_err(|error| {
        let column = error.location().map_or_else(String::new, |at| format!("at line {} column {}: ", at.line, at.col));
        let error = error.to_string();
        let why = error.lines().last().unwrap_or_default().trim_start_matches([' ', '=']);
        Problem::new("condition", "", format!("{column}{why}"))
            .hint("A condition joins names, '1 of x*' and 'all of them' by 'and', 'or', 'not' (in small letters) and parentheses.")
    })?;
    check(&condition, names)?;
    Ok(condition)
}

fn check(condition: &ConditionExpr, names: &[&str]) -> Result<(), Problem> {
    match condition {
        ConditionExpr::And(parts) | ConditionExpr::Or(parts) => parts.iter().try_for_each(|part| check(part, names)),
        ConditionExpr::Not(part) => check(part, names),
        ConditionExpr::Identifier(name) if names.contains(&name.as_str()) => Ok(()),
        ConditionExpr::Identifier(name) => fault(format!("there is no detection '{name}'")),
        ConditionExpr::Selector { quantifier, pattern } => {
            // What the evaluator takes for a name with a literal star, and so never finds.
            if matches!(pattern, SelectorPattern::Pattern(text) if text.matches('*').count() > 1) {
                return fault(format!("'{pattern}' has more than one '*'"));
            }
            let selected = names.iter().filter(|name| pattern.matches_detection_name(name)).count() as u64;
            match quantifier {
                // "All of nothing" would hold for every event.
                _ if selected == 0 => fault(format!("no detection is selected by '{pattern}'")),
                Quantifier::Count(0) => fault("'0 of' holds for every event".into()),
                Quantifier::Count(count) if *count > selected => {
                    fault(format!("'{count} of {pattern}' never holds: only {selected} are selected"))
                }
                _ => Ok(()),
            }
        }
    }
}

fn fault<T>(message: String) -> Result<T, Problem> {
    Err(Problem::new("condition", "", message))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    const NAMES: [&str; 4] = ["selection", "filter_a", "filter_b", "_part"];

    #[test]
    fn what_stands_for_something_is_read() {
        for text in [
            "selection",
            "selection and not 1 of filter_*",
            "all of them",
            "any of filter*",
            "2 of filter_*",
            "not (selection or _part)\n  and filter_a",
            "1 of _*",
        ] {
            assert!(read(text, &NAMES).is_ok(), "{text}");
        }
    }

    #[test]
    fn what_does_not_is_refused() {
        for (text, message) in [
            ("selection and", "column 14"),
            ("selection AND filter_a", "column 11"),
            ("selection | count() > 5", "column 11"),
            ("(selection", "column 11"),
            ("selection)", "column 10"),
            ("ä", "column 1"),
            ("other", "no detection 'other'"),
            ("1 of other*", "no detection is selected"),
            ("not all of other*", "no detection is selected"),
            ("1 of f*er*", "more than one '*'"),
            ("0 of them", "every event"),
            ("4 of them", "only 3 are selected"),
        ] {
            let problem = read(text, &NAMES).unwrap_err();
            assert!(problem.message.contains(message), "{text}: {problem}");
            assert!(!problem.message.contains('\n'));
        }
    }

    #[test]
    fn depth_is_bounded_before_the_stack_is() {
        for text in ["(".repeat(60_000), "not ".repeat(15_000) + "selection", "not(".repeat(15_000)] {
            assert_eq!(read(&text, &NAMES).unwrap_err().code, "condition");
        }
        let nested = |levels: usize| format!("{}selection{}", "(".repeat(levels), ")".repeat(levels));
        assert!(read(&nested(MAX_PARENTHESES), &NAMES).is_ok());
        assert!(read(&nested(MAX_PARENTHESES + 1), &NAMES).is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_answered(text in "(selection|not|and|or|all|1|of|them|filter_\\*|[(]|[)]|[ -~é]){0,30}") {
            let _answer = read(&text, &NAMES);
        }
    }
}
