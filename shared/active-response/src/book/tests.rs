#![allow(clippy::unwrap_used)]
use proptest::prelude::*;

use super::*;

const HOUR: Duration = Duration::from_secs(3600);

fn new<'a>(order: &'a str, keys: Option<&str>) -> New<'a> {
    let keys = keys.map(|key| vec![key.to_owned()]);
    New { order, response: "block", keys, lasts: Some(HOUR), repeated_offenders: &[] }
}

fn at(minutes: i64) -> Instant {
    Instant(minutes * 60_000)
}

impl Book {
    fn make(&mut self, changes: impl IntoIterator<Item = Change>) {
        changes.into_iter().for_each(|change| self.apply(change));
    }

    fn start(&mut self, new: &New<'_>, now: Instant) -> Option<Instant> {
        match self.begin(new, now).unwrap() {
            Begin::Run(changes) => {
                self.make(changes);
                None
            }
            Begin::InForce(until, changes) => {
                self.make(changes);
                Some(until)
            }
        }
    }

    fn question(&mut self, new: &New<'_>, key: &str, now: Instant) -> Answer {
        let (answer, _, changes) = self.ask(new, &[key.to_owned()], now);
        self.make(changes);
        answer
    }
}

#[test]
fn an_undo_is_known_from_the_beginning_and_due_after_the_end() {
    let mut book = Book::default();
    book.start(&new("a", None), at(0));
    assert_eq!(book.entry("a").unwrap().due, Some(at(60)));
    assert_eq!((book.next_due(), book.due(at(90)).len()), (None, 0), "it runs");
    book.make(book.ended("a", true));
    assert_eq!((book.next_due(), book.due(at(59)).len()), (Some(at(60)), 0));
    assert_eq!(book.due(at(60)), ["a"]);
    book.make(book.undone("a", true, at(60)).map(|(_, change)| change));
    assert_eq!(book, Book::default());
}

#[test]
fn what_is_not_undone_is_forgotten_at_its_end() {
    let mut book = Book::default();
    let stateless = New { lasts: None, ..new("a", Some("k")) };
    book.start(&stateless, at(0));
    assert_eq!(book.question(&stateless, "k", at(0)), Answer::Continue);
    book.make(book.ended("a", true));
    assert_eq!(book, Book::default());
}

#[test]
fn the_same_keys_abort_and_last_longer() {
    let mut book = Book::default();
    book.start(&new("a", None), at(0));
    assert_eq!(book.question(&new("a", None), "k", at(0)), Answer::Continue);
    book.make(book.ended("a", true));
    book.start(&new("b", None), at(10));
    assert_eq!(book.question(&new("b", None), "k", at(10)), Answer::Abort);
    book.make(book.ended("b", true));
    assert_eq!((book.entries.len(), book.next_due()), (1, Some(at(70))));
    book.start(&new("c", None), at(20));
    assert_eq!(book.question(&new("c", None), "other", at(20)), Answer::Continue);
    let shorter = New { lasts: Some(HOUR / 60), ..new("d", None) };
    book.start(&shorter, at(20));
    assert_eq!(book.question(&shorter, "k", at(20)), Answer::Abort);
    assert_eq!(book.next_due(), Some(at(70)), "never cut short");
    let foreign = New { response: "lock", ..new("e", None) };
    book.start(&foreign, at(20));
    assert_eq!(book.question(&foreign, "k", at(20)), Answer::Continue);
}

#[test]
fn configured_keys_need_no_program() {
    let mut book = Book::default();
    assert_eq!(book.start(&new("a", Some("k")), at(0)), None);
    assert_eq!(book.question(&new("a", Some("k")), "k", at(0)), Answer::Continue);
    book.make(book.ended("a", true));
    assert_eq!(book.start(&new("b", Some("k")), at(10)), Some(at(70)));
    assert_eq!(book.entries.len(), 1);
}

#[test]
fn what_failed_is_undone_but_not_in_force() {
    let mut book = Book::default();
    book.start(&new("a", Some("k")), at(0));
    book.make(book.ended("a", false));
    assert_eq!(book.next_due(), Some(at(60)));
    assert_eq!(book.start(&new("b", Some("k")), at(10)), None, "it is tried again");
    assert!(book.entry("a").is_none(), "and undone once, later");
    book.make(book.ended("b", true));
    assert_eq!(book.next_due(), Some(at(70)));
}

#[test]
fn an_undo_that_fails_is_tried_again_and_given_up() {
    let mut book = Book::default();
    book.start(&new("a", Some("k")), at(0));
    book.make(book.ended("a", true));
    let mut now = at(60);
    let mut pauses = Vec::new();
    while let Some((again, change)) = book.undone("a", false, now) {
        book.make([change]);
        assert!(book.entries.values().all(|entry| entry.phase == Phase::Failed), "in force no more");
        let Some(again) = again else { break };
        pauses.push(again.since(now).as_secs() / 60);
        now = again;
        assert_eq!(book.brought_back(now), []);
    }
    assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60]);
    assert_eq!(book, Book::default());
}

#[test]
fn repeated_offenders_are_held_longer() {
    let mut book = Book::default();
    let mut lasted = Vec::new();
    for (n, order) in ["a", "b", "c", "d"].into_iter().enumerate() {
        let now = at(i64::try_from(n).unwrap() * 1000);
        let new = New { repeated_offenders: &[120, 240], ..new(order, None) };
        book.start(&new, now);
        assert_eq!(book.question(&new, "k", now), Answer::Continue);
        book.make(book.ended(order, true));
        lasted.push(book.next_due().unwrap().since(now).as_secs() / 60);
        book.make(book.undone(order, true, now).map(|(_, change)| change));
    }
    assert_eq!(lasted, [60, 120, 240, 240]);
}

#[test]
fn offenders_are_bounded() {
    let mut book = Book::default();
    for n in 0..MAX_OFFENDERS + 10 {
        let (_, changes) = book.offends("block", &[n.to_string()], HOUR, &[1], Instant(n as i64));
        book.make(changes);
    }
    assert_eq!(book.offenders.len(), MAX_OFFENDERS);
    assert!(book.offenders.values().all(|offender| offender.seen >= Instant(10)));
}

#[test]
fn a_clock_that_was_set_back_holds_nothing_for_ever() {
    let mut book = Book::default();
    book.start(&new("a", None), at(1_000_000));
    book.make(book.ended("a", true));
    book.make(book.brought_back(at(0)));
    assert_eq!(book.next_due(), Some(at(60)));
    assert_eq!(book.brought_back(at(0)), []);
}

#[test]
fn there_is_room_for_so_many() {
    let mut book = Book::default();
    for n in 0..MAX_STANDING {
        book.start(&new(&n.to_string(), None), at(0));
    }
    assert_eq!(book.begin(&new("x", None), at(0)), Err(Fault::TooMany(MAX_STANDING)));
    assert_eq!(book.begin(&new("7", None), at(0)), Err(Fault::Known));
}

#[derive(Debug, Clone)]
enum Step {
    Begin(u8, Option<u8>),
    Ask(u8, u8),
    Ended(u8, bool),
    Undo(bool),
    Wait(u16),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..6u8, prop::option::of(0..2u8)).prop_map(|(order, key)| Step::Begin(order, key)),
        (0..6u8, 0..2u8).prop_map(|(order, key)| Step::Ask(order, key)),
        (0..6u8, any::<bool>()).prop_map(|(order, success)| Step::Ended(order, success)),
        any::<bool>().prop_map(Step::Undo),
        (0..90u16).prop_map(Step::Wait),
    ]
}

proptest! {
    /// Whatever comes, as the shell lets it come (one program of a response at a time).
    #[test]
    fn nothing_is_forgotten_and_nothing_is_in_force_twice(steps in prop::collection::vec(step(), 0..60)) {
        let mut book = Book::default();
        let mut now = at(0);
        let mut runs: Option<(u8, bool)> = None;
        for step in steps {
            match step {
                Step::Begin(order, key) if runs.is_none() => {
                    let (order_id, key) = (order.to_string(), key.map(|key| key.to_string()));
                    let new = new(&order_id, key.as_deref());
                    if let Ok(begun) = book.begin(&new, now) {
                        match begun {
                            Begin::Run(changes) => { book.make(changes); runs = Some((order, false)); }
                            Begin::InForce(until, changes) => {
                                book.make(changes);
                                prop_assert!(until >= now.plus(HOUR));
                            }
                        }
                    }
                }
                Step::Ask(order, key) if runs == Some((order, false)) => {
                    let order_id = order.to_string();
                    let answer = book.question(&new(&order_id, None), &key.to_string(), now);
                    // A question is asked once.
                    runs = Some((order, true));
                    prop_assert_eq!(answer == Answer::Abort, book.entry(&order_id).is_some_and(|e| e.due.is_none()));
                }
                Step::Ended(order, success) if runs.is_some_and(|(o, _)| o == order) => {
                    book.make(book.ended(&order.to_string(), success));
                    runs = None;
                }
                Step::Undo(success) if runs.is_none() => {
                    for order in book.due(now) {
                        book.make(book.undone(&order, success, now).map(|(_, change)| change));
                    }
                }
                Step::Wait(minutes) => now = now.plus(Duration::from_secs(u64::from(minutes) * 60)),
                _ => {}
            }
            prop_assert_eq!(book.brought_back(now), vec![]);
            let mut standing = Vec::new();
            for (order, entry) in book.entries() {
                prop_assert!(entry.due.is_some() || runs.is_some_and(|(o, _)| o.to_string() == *order));
                if entry.phase == Phase::Standing && entry.keys.is_some() {
                    prop_assert!(!standing.contains(&&entry.keys), "in force twice");
                    standing.push(&entry.keys);
                }
            }
        }
    }
}
