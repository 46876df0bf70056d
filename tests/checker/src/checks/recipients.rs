//! Each recipient was decided once, and each fact about it has a cause.

use std::collections::BTreeMap;

use roaring::RoaringBitmap;
use serde_json::Value;

use crate::numbers::{of_document, some};
use crate::status::{STATUSES, partition};
use crate::world::{Index, Reports, Task, Violation, World};

/// The parts of a page, all reasons together.
#[derive(Default)]
struct Paged {
    commanded: RoaringBitmap,
    skipped: RoaringBitmap,
    gone: RoaringBitmap,
    superseded: RoaringBitmap,
}

impl Paged {
    fn of(page: &Value) -> Self {
        let set = |key: &str| of_document(&page[key]).unwrap_or_default();
        let sets = |key: &str| {
            let all = page[key].as_object().into_iter().flatten();
            all.fold(RoaringBitmap::new(), |all, (_, set)| all | of_document(set).unwrap_or_default())
        };
        Self {
            commanded: set("commanded"),
            skipped: sets("skipped"),
            gone: set("gone"),
            superseded: sets("superseded"),
        }
    }

    fn all(&self) -> RoaringBitmap {
        &self.commanded | &self.skipped | &self.gone | &self.superseded
    }

    fn sum(&self) -> u64 {
        [&self.commanded, &self.skipped, &self.gone, &self.superseded].iter().map(|set| set.len()).sum()
    }

    fn add(&mut self, other: &Self) {
        self.commanded |= &other.commanded;
        self.skipped |= &other.skipped;
        self.gone |= &other.gone;
        self.superseded |= &other.superseded;
    }
}

pub(super) fn check(world: &World, id: &str, task: &Task) -> Vec<Violation> {
    let mut found = Vec::new();
    if task.decision() != "plan" {
        return found;
    }
    let mut is = |rule, seen: String| found.push(Violation::new(rule, id, seen));
    let Some(head) = &task.head else {
        is("recipients-missing", "it is planned, and its recipients were never decided".into());
        return found;
    };
    if head["decision"] == "recipients" && head["count"] != task.recipients.len() {
        is("recipients-missing", format!("{} were frozen, {} are there", head["count"], task.recipients.len()));
    }
    targeted(world, task, &mut is);
    let paged = pages(task, &mut is);
    facts(world.reports.get(id).unwrap_or(&Reports::default()), task, &paged, &mut is);
    found
}

/// Targets that say whom without looking at anything that changes.
fn targeted(world: &World, task: &Task, is: &mut impl FnMut(&'static str, String)) {
    if task.head.as_ref().is_none_or(|head| head["decision"] != "recipients") || !task.body["retry"].is_null() {
        return;
    }
    let index = world.index_of(task);
    let number = |id: &Value| id.as_str().and_then(|id| id.parse::<u32>().ok());
    let target = &task.body["target"];
    let (least, most) = match target["type"].as_str() {
        Some("agent") => {
            let ids = target["id"].as_array().cloned().unwrap_or_else(|| vec![target["id"].clone()]);
            let ids: RoaringBitmap = ids.iter().filter_map(number).collect();
            (ids.clone(), ids)
        }
        // Who was deleted may have been so before or after.
        Some("all") => (&index.enrolled - &index.gone, index.enrolled.clone()),
        _ => return,
    };
    if !least.is_subset(&task.recipients) {
        is(
            "recipients-missing",
            format!("the target names {} that are no recipients", some(&(least - &task.recipients))),
        );
    }
    if !task.recipients.is_subset(&most) {
        is("recipients-strange", format!("the target does not name {}", some(&(&task.recipients - most))));
    }
}

/// Pages follow each other, decide each recipient once, and end with the last or with the stop.
fn pages(task: &Task, is: &mut impl FnMut(&'static str, String)) -> Paged {
    let (mut all, mut decided, mut upto) = (Paged::default(), RoaringBitmap::new(), None);
    let (mut last, mut stopped) = (false, task.head.as_ref().is_some_and(|head| head["decision"] == "stop"));
    for (expected, (n, page)) in (0..).zip(&task.pages) {
        if *n != expected || last || stopped {
            is("pages", format!("page {n} stands where page {expected} or none was due"));
        }
        if page["decision"] == "stop" {
            stopped = true;
            continue;
        }
        let paged = Paged::of(page);
        let these = paged.all();
        if paged.sum() != these.len() || !decided.is_disjoint(&these) {
            is("decided-twice", format!("page {n}: {}", some(&(&decided & &these))));
        }
        if these.min().is_some_and(|first| upto.is_some_and(|upto| first <= upto)) {
            is("pages", format!("page {n} goes back behind the page before it"));
        }
        upto = page["upto"].as_u64().and_then(|n| u32::try_from(n).ok()).or(upto);
        if these.max().is_some_and(|max| Some(max) > upto) {
            is("pages", format!("page {n} decides behind its own end"));
        }
        last = page["last"] == true;
        decided |= &these;
        all.add(&paged);
    }
    if !decided.is_subset(&task.recipients) {
        is("recipients-strange", format!("decided: {}", some(&(&decided - &task.recipients))));
    }
    let missing = &task.recipients - &decided;
    if !stopped && (!last || !missing.is_empty()) {
        is("recipients-missing", format!("no page has decided {}", some(&missing)));
    }
    if let Some(upto) = upto.filter(|_| stopped && !missing.is_empty())
        && missing.min().is_some_and(|first| first <= upto)
    {
        is("recipients-missing", format!("the stop came behind {upto}, and no page has decided {}", some(&missing)));
    }
    all
}

/// Each stored fact has a cause, and each cause its fact.
fn facts(reports: &Reports, task: &Task, paged: &Paged, is: &mut impl FnMut(&'static str, String)) {
    let mine = |set: &RoaringBitmap| set & &task.recipients;
    for mark in task.marks() {
        if !STATUSES.contains(&mark) && !["decided", "started"].contains(&mark) {
            is("fact-strange", format!("a set '{mark}'"));
        }
    }
    let exact = [
        ("success", mine(&reports.success)),
        ("failure", mine(&reports.failure)),
        ("started", mine(&reports.started)),
        ("skipped", paged.skipped.clone()),
    ];
    for (status, cause) in exact {
        let set = mine(&task.set(status));
        if set != cause {
            let (more, less) = (&set - &cause, &cause - &set);
            is("fact", format!("{status}: {} have it without a cause, {} lack it", some(&more), some(&less)));
        }
    }
    let parts = partition(task);
    let open =
        parts.get("pending").cloned().unwrap_or_default() | parts.get("in_progress").cloned().unwrap_or_default();
    let told = reports.superseded.values().fold(RoaringBitmap::new(), |all, set| all | set);
    let undecided = &task.recipients - paged.all();
    let cancelled = match &task.stop {
        Some(_) if task.is_edge() => task.recipients.clone(),
        Some(_) => undecided.clone(),
        None => RoaringBitmap::new(),
    };
    let inferred = [
        ("superseded", mine(&told) | &paged.superseded),
        ("gone", mine(&reports.gone) | &paged.gone),
        ("cancelled", cancelled),
        ("timeout", mine(&reports.started)),
    ];
    for (status, cause) in inferred {
        let strange = mine(&task.set(status)) - &cause;
        if !strange.is_empty() {
            is("fact", format!("{status}: {} have it without a cause", some(&strange)));
        }
        let left = &cause & &open;
        if !left.is_empty() && ["superseded", "gone"].contains(&status) {
            is("fact", format!("{status}: {} lack it and have no end", some(&left)));
        }
    }
    if task.stop.is_some() && !reports.stopped {
        is("stop-untold", "it was stopped, and that was never told".into());
    }
}

/// Whom a stopped task has not decided: their records stay as they were, whatever its plan has changed already. None for
/// a task that was not stopped; everybody when it was stopped before it had recipients.
pub(super) fn left_out(index: &Index, task: &Task) -> Option<RoaringBitmap> {
    task.stop.as_ref()?;
    if task.head.as_ref().is_none_or(|head| head["decision"] == "stop") {
        return Some(index.enrolled.clone());
    }
    Some(task.pages.values().fold(task.recipients.clone(), |left, page| left - Paged::of(page).all()))
}

/// What a page took from earlier tasks, those were told: that they are superseded, or that the agent is gone.
pub(super) fn told(world: &World) -> Vec<Violation> {
    let mut wanted: BTreeMap<(&str, &str), RoaringBitmap> = BTreeMap::new();
    for (id, task) in &world.tasks {
        for (earlier, numbers) in
            task.pages.values().flat_map(|page| page["replaced"].as_object().into_iter().flatten())
        {
            *wanted.entry((earlier, id)).or_default() |= of_document(numbers).unwrap_or_default();
        }
    }
    let known = wanted.into_iter().filter(|((earlier, _), _)| world.tasks.contains_key(*earlier));
    let missing = known.filter_map(|((earlier, by), numbers)| {
        let reports = world.reports.get(earlier).cloned().unwrap_or_default();
        let untold = numbers - reports.gone - reports.superseded.get(by).cloned().unwrap_or_default();
        let seen = || format!("{by} took its place for {}, and it was not told", some(&untold));
        (!untold.is_empty()).then(|| Violation::new("superseded-untold", earlier, seen()))
    });
    missing.collect()
}
