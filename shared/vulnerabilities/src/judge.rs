//! Whether a version is affected: the algorithm of the CVE JSON 5 schema (its documentation of `versions`), with the order of a
//! package manager.

use std::cmp::Ordering;

use crate::affected::{End, Range, Status, Versions};
use crate::version::{Format, Version};

/// What is known of one version of one package and one CVE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It has the vulnerability.
    Affected {
        /// The first version that does not, when there is one.
        fixed: Option<String>,
    },
    /// It does not have it.
    Unaffected,
    /// It cannot be judged.
    Undetermined(Doubt),
}

/// Why a version cannot be judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doubt {
    /// The feed says that it does not know.
    Unknown,
    /// The feed's statement cannot be read: its form, or a version that is none of this package manager.
    Unreadable,
    /// The feed says both, affected and unaffected.
    Contradiction,
}

/// Judges an installed version by what the feed says of its package.
#[must_use]
pub fn judge(versions: &Versions, format: Format, installed: &Version<'_>) -> Verdict {
    let Versions::Known { default, ranges } = versions else { return Verdict::Undetermined(Doubt::Unreadable) };
    let status = match status(*default, ranges, format, installed) {
        Ok(status) => status,
        Err(doubt) => return Verdict::Undetermined(doubt),
    };
    match status {
        Status::Affected => Verdict::Affected { fixed: fixed(*default, ranges, format, installed) },
        Status::Unaffected => Verdict::Unaffected,
        Status::Unknown => Verdict::Undetermined(Doubt::Unknown),
    }
}

/// What several entries of one record together say: affected by one is affected, until the last of them ends.
#[must_use]
pub fn together(format: Format, verdicts: impl IntoIterator<Item = Verdict>) -> Verdict {
    verdicts.into_iter().fold(Verdict::Unaffected, |all, one| match (all, one) {
        (Verdict::Affected { fixed: left }, Verdict::Affected { fixed: right }) => {
            Verdict::Affected { fixed: left.zip(right).and_then(|(left, right)| later(format, left, right)) }
        }
        (affected @ Verdict::Affected { .. }, _) | (_, affected @ Verdict::Affected { .. }) => affected,
        (doubt @ Verdict::Undetermined(_), _) | (_, doubt @ Verdict::Undetermined(_)) => doubt,
        (Verdict::Unaffected, Verdict::Unaffected) => Verdict::Unaffected,
    })
}

fn later(format: Format, left: String, right: String) -> Option<String> {
    let order = format.version(&left)?.order(&format.version(&right)?)?;
    Some(if order == Ordering::Less { right } else { left })
}

/// The status of one version: that of the ranges that hold it, or the default.
fn status(default: Status, ranges: &[Range], format: Format, version: &Version<'_>) -> Result<Status, Doubt> {
    let mut found = None;
    for range in ranges {
        if holds(range, format, version).ok_or(Doubt::Unreadable)? {
            match found {
                Some(before) if before != range.status => return Err(Doubt::Contradiction),
                _ => found = Some(range.status),
            }
        }
    }
    Ok(found.unwrap_or(default))
}

/// The first version at or above an affected one that is unaffected: from the end of each range that holds it to the next.
fn fixed(default: Status, ranges: &[Range], format: Format, installed: &Version<'_>) -> Option<String> {
    let mut end = next_end(ranges, format, installed)?;
    // Each step leaves a range for good.
    for _ in 0..ranges.len() {
        let version = format.version(end)?;
        match status(default, ranges, format, &version).ok()? {
            Status::Unaffected => return Some(end.to_owned()),
            Status::Affected => end = next_end(ranges, format, &version)?,
            Status::Unknown => return None,
        }
    }
    None
}

/// The highest end among the affected ranges that hold a version; none when one of them does not say where the next begins.
fn next_end<'a>(ranges: &'a [Range], format: Format, version: &Version<'_>) -> Option<&'a str> {
    let mut highest: Option<(&str, Version<'_>)> = None;
    for range in ranges.iter().filter(|range| range.status == Status::Affected) {
        if !holds(range, format, version)? {
            continue;
        }
        let End::Before(end) = &range.end else { return None };
        let version = format.version(end)?;
        if highest.as_ref().is_none_or(|(_, highest)| version.order(highest) == Some(Ordering::Greater)) {
            highest = Some((end, version));
        }
    }
    highest.map(|(end, _)| end)
}

/// Whether a range holds a version; none when the range is not one of this package manager's versions.
fn holds(range: &Range, format: Format, version: &Version<'_>) -> Option<bool> {
    let above = range.first == "0" || version.order(&format.version(&range.first)?)? != Ordering::Less;
    let below = match &range.end {
        End::Single => return Some(version.order(&format.version(&range.first)?)? == Ordering::Equal),
        End::Open => true,
        End::Before(end) => version.order(&format.version(end)?)? == Ordering::Less,
        End::UpTo(end) => version.order(&format.version(end)?)? != Ordering::Greater,
    };
    Some(above && below)
}
