//! What a group of requests adds up to, and what one event adds to it.
//!
//! A request belongs to one group for good, given by its snapshot and by when its conversation ended; whatever happens to it later
//! (an answer days after, a correction, an exclusion) is a delta to that same group. So a group is at any time what its rows are.

use std::collections::BTreeMap;

use super::interval::real;
use crate::domain::event::{COMMENTED, EventKind, HELD_BACK, WAITED};
use crate::domain::rating::Grade;
use crate::domain::request::State;

/// Upper bounds, in seconds, of the bins in which answer times are counted for the median. A last bin is open.
pub const TIMES: [i64; 21] = [
    5, 10, 15, 20, 30, 45, 60, 90, 120, 180, 300, 600, 900, 1_800, 3_600, 7_200, 14_400, 28_800,
    86_400, 172_800, 259_200,
];
/// Bins of answer times.
pub const BINS: usize = TIMES.len() + 1;
/// All grades in the order in which they are counted.
pub const GRADES: [Grade; 4] = [Grade::Channel, Grade::Tap, Grade::Auto, Grade::Suspect];
/// How many numbers a group is, in the order of [`Counts::numbers`].
pub const NUMBERS: usize = 9 + 1 + 5 + 4 + 3 + BINS;

/// One event, as far as it is counted.
#[derive(Debug, Clone)]
pub struct Happened<'a> {
    /// What kind of change.
    pub kind: EventKind,
    /// The states entered, as bits of [`State::bit`], and what may stand beside them.
    pub entered: i64,
    /// Why it was not asked; empty if it was.
    pub reason: &'a str,
    /// The score after it; 0 if none.
    pub score: i64,
    /// For a correction, the score that it took the place of; 0 or less if it moves nothing.
    pub before: i64,
    /// Milliseconds to the first answer.
    pub elapsed_ms: i64,
    /// The grade of the rating that it is about.
    pub grade: Option<Grade>,
}

/// What a group of requests adds up to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests that entered each state, in the order of [`State::ALL`].
    pub states: [i64; 9],
    /// Requests that were scheduled, waited, and were then suppressed: they are in both of these states.
    pub suppressed_later: i64,
    /// Ratings that count now, by score from 1 to 5.
    pub scores: [i64; 5],
    /// The same ratings by grade, in the order of [`GRADES`].
    pub grades: [i64; 4],
    /// Ratings that were excluded and not restored.
    pub excluded: i64,
    /// Requests that have no rating, only answers that no person is known to have given; kept, not counted.
    pub suspect: i64,
    /// Answers that have words.
    pub comments: i64,
    /// First answers by the time they took, in the bins of [`TIMES`].
    pub times: [i64; BINS],
    /// Requests not made, by reason.
    pub reasons: BTreeMap<String, i64>,
}

impl Counts {
    /// What one event adds.
    pub fn of(event: &Happened<'_>) -> Self {
        let mut counts = Self::default();
        for (at, state) in State::ALL.into_iter().enumerate() {
            counts.states[at] = i64::from(event.entered & state.bit() != 0);
        }
        if event.entered & State::Suppressed.bit() != 0 {
            counts.reasons.insert(event.reason.to_owned(), 1);
            counts.suppressed_later = i64::from(event.entered & WAITED != 0);
        }
        let held_back = i64::from(event.entered & HELD_BACK != 0);
        counts.comments = i64::from(event.entered & COMMENTED != 0);
        match event.kind {
            EventKind::RatingCreated => {
                counts.stand(event, 1);
                counts.times[bin(event.elapsed_ms)] = 1;
                counts.suspect = -held_back;
            }
            EventKind::RatingChanged if place(event.before).is_some() => {
                counts.score(event.before, -1);
                counts.score(event.score, 1);
            }
            EventKind::RatingExcluded if place(event.score).is_some() => {
                counts.stand(event, -1);
                counts.excluded = 1;
            }
            // One that names no score is about an answer that was not counted before: it became a rating of its own.
            EventKind::RatingRestored if place(event.score).is_some() => {
                counts.stand(event, 1);
                counts.excluded = -1;
            }
            EventKind::RatingAuto | EventKind::RatingSuspect => counts.suspect = held_back,
            // Written out, so that a new kind is thought about.
            EventKind::RatingChanged
            | EventKind::RatingExcluded
            | EventKind::RatingRestored
            | EventKind::RequestScheduled
            | EventKind::RequestSuppressed
            | EventKind::RequestSent
            | EventKind::RequestDelivered
            | EventKind::RequestReached
            | EventKind::RequestExpired
            | EventKind::RequestFailed
            | EventKind::RequestCancelled
            | EventKind::RatingCommented
            | EventKind::RatingLow
            | EventKind::FollowUpTaken
            | EventKind::FollowUpTold
            | EventKind::FollowUpClosed
            | EventKind::ContactOptedOut
            | EventKind::ContactOptedIn
            | EventKind::ReplyUnrecognized
            | EventKind::DeliveryLost => {}
        }
        counts
    }

    /// A rating counts from now on, or counts no more.
    fn stand(&mut self, event: &Happened<'_>, sign: i64) {
        self.score(event.score, sign);
        let grade = GRADES.iter().position(|grade| Some(*grade) == event.grade);
        if let Some(at) = grade {
            self.grades[at] += sign;
        }
    }

    fn score(&mut self, score: i64, sign: i64) {
        if let Some(at) = place(score) {
            self.scores[at] += sign;
        }
    }

    /// Adds another group's numbers to this one's.
    pub fn add(&mut self, other: &Self) {
        let mut numbers = self.numbers();
        for (mine, theirs) in numbers.iter_mut().zip(other.numbers()) {
            *mine += theirs;
        }
        let mut reasons = std::mem::take(&mut self.reasons);
        for (reason, count) in &other.reasons {
            *reasons.entry(reason.clone()).or_default() += count;
        }
        *self = Self {
            reasons,
            ..Self::from_numbers(&numbers)
        };
    }

    /// As many times the same.
    #[must_use]
    pub fn repeated(mut self, n: i64) -> Self {
        let numbers = self.numbers().map(|number| number * n);
        let mut reasons = std::mem::take(&mut self.reasons);
        for count in reasons.values_mut() {
            *count *= n;
        }
        Self {
            reasons,
            ..Self::from_numbers(&numbers)
        }
    }

    /// Whether nothing is counted here.
    pub fn is_empty(&self) -> bool {
        self.numbers().iter().all(|number| *number == 0) && self.reasons.values().all(|n| *n == 0)
    }

    /// Every number but the reasons, in the order in which the store keeps them.
    pub fn numbers(&self) -> [i64; NUMBERS] {
        let mut numbers = [0; NUMBERS];
        let all = self
            .states
            .iter()
            .chain([&self.suppressed_later])
            .chain(&self.scores)
            .chain(&self.grades)
            .chain([&self.excluded, &self.suspect, &self.comments])
            .chain(&self.times);
        for (to, from) in numbers.iter_mut().zip(all) {
            *to = *from;
        }
        numbers
    }

    /// The same the other way round.
    pub fn from_numbers(numbers: &[i64; NUMBERS]) -> Self {
        let mut all = numbers.iter().copied();
        let mut next = || all.next().unwrap_or_default();
        Self {
            states: std::array::from_fn(|_| next()),
            suppressed_later: next(),
            scores: std::array::from_fn(|_| next()),
            grades: std::array::from_fn(|_| next()),
            excluded: next(),
            suspect: next(),
            comments: next(),
            times: std::array::from_fn(|_| next()),
            reasons: BTreeMap::new(),
        }
    }

    /// Requests that entered `state`.
    pub fn entered(&self, state: State) -> i64 {
        let at = State::ALL.into_iter().position(|known| known == state);
        at.map_or(0, |at| self.states[at])
    }

    /// Conversations that are asked about: it was decided to, and that stood when the ask was due.
    pub fn requested(&self) -> i64 {
        self.entered(State::Scheduled) - self.suppressed_later
    }

    /// Conversations that the desk told of: asked about, or not. As many as there are requests.
    pub fn triggers(&self) -> i64 {
        self.requested() + self.entered(State::Suppressed)
    }

    /// Ratings that count.
    pub fn n(&self) -> i64 {
        self.scores.iter().sum()
    }

    /// Ratings of 4 and 5.
    pub fn satisfied(&self) -> i64 {
        self.scores[3] + self.scores[4]
    }

    /// Ratings of 1 and 2.
    pub fn dissatisfied(&self) -> i64 {
        self.scores[0] + self.scores[1]
    }

    /// Customers who were asked and have not answered.
    pub fn silent(&self) -> i64 {
        (self.entered(State::Sent) - self.entered(State::Answered)).max(0)
    }

    /// The median of the answer times in seconds, with the bounds of the bin that it lies in: the true median of what was counted is
    /// between them. Inside the bin times are taken as evenly spread. `None` without answers.
    pub fn median(&self) -> Option<Median> {
        let n: i64 = self.times.iter().sum();
        if n <= 0 {
            return None;
        }
        let mut below = 0;
        for (at, count) in self.times.iter().enumerate() {
            if 2 * (below + count) >= n && *count > 0 {
                let from = at.checked_sub(1).map_or(0, |before| TIMES[before]);
                let to = TIMES.get(at).copied();
                let part = (real(n) / 2.0 - real(below)) / real(*count);
                let width = real(to.unwrap_or(from) - from);
                return Some(Median {
                    value: real(from) + width * part.clamp(0.0, 1.0),
                    from,
                    to,
                });
            }
            below += count;
        }
        None
    }
}

/// A median out of bins.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Median {
    /// Where it is if times are evenly spread inside the bin.
    pub value: f64,
    /// It is at least this.
    pub from: i64,
    /// It is at most this; `None` in the open bin, which begins after three days.
    pub to: Option<i64>,
}

/// The bin in which a time falls.
pub fn bin(elapsed_ms: i64) -> usize {
    TIMES
        .iter()
        .position(|bound| elapsed_ms <= bound * 1000)
        .unwrap_or(TIMES.len())
}

/// The place of a score among the five.
fn place(score: i64) -> Option<usize> {
    usize::try_from(score - 1).ok().filter(|at| *at < 5)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: EventKind, score: i64) -> Happened<'static> {
        Happened {
            kind,
            entered: 0,
            reason: "",
            score,
            before: 0,
            elapsed_ms: 0,
            grade: Some(Grade::Tap),
        }
    }

    fn sum(events: &[Happened<'_>]) -> Counts {
        let mut all = Counts::default();
        for event in events {
            all.add(&Counts::of(event));
        }
        all
    }

    #[test]
    fn what_is_excluded_and_restored_is_as_if_nothing_had_been() {
        let created = Happened {
            entered: State::Sent.bit() | State::Answered.bit() | COMMENTED,
            elapsed_ms: 42_000,
            ..event(EventKind::RatingCreated, 2)
        };
        let changed = Happened {
            before: 2,
            ..event(EventKind::RatingChanged, 5)
        };
        let excluded = event(EventKind::RatingExcluded, 5);
        let restored = event(EventKind::RatingRestored, 5);
        let corrected = sum(&[created.clone(), changed.clone()]);
        assert_eq!((corrected.scores, corrected.n()), ([0, 0, 0, 0, 1], 1));
        assert_eq!((corrected.grades[1], corrected.comments), (1, 1));
        let out = sum(&[created.clone(), changed.clone(), excluded.clone()]);
        assert_eq!((out.n(), out.excluded, out.grades[1]), (0, 1, 0));
        assert_eq!(
            out.entered(State::Answered),
            1,
            "it was answered all the same"
        );
        assert_eq!(sum(&[created, changed, excluded, restored]), corrected);
    }

    #[test]
    fn a_correction_of_what_does_not_count_moves_nothing() {
        assert!(Counts::of(&event(EventKind::RatingChanged, 4)).is_empty());
    }

    #[test]
    fn an_ask_that_waited_in_vain_is_one_conversation() {
        let scheduled = Happened {
            entered: State::Scheduled.bit(),
            ..event(EventKind::RequestScheduled, 0)
        };
        let suppressed = Happened {
            entered: State::Suppressed.bit() | WAITED,
            reason: "quiet_hours",
            ..event(EventKind::RequestSuppressed, 0)
        };
        let waiting = sum(std::slice::from_ref(&scheduled));
        assert_eq!((waiting.triggers(), waiting.requested()), (1, 1));
        let all = sum(&[scheduled, suppressed]);
        assert_eq!((all.triggers(), all.requested()), (1, 0));
        assert_eq!(all.suppressed_later, 1);
        assert_eq!(all.reasons["quiet_hours"], 1);
    }

    #[test]
    fn numbers_read_back_in_their_order() {
        let numbers = std::array::from_fn(|at| i64::try_from(at).unwrap());
        assert_eq!(Counts::from_numbers(&numbers).numbers(), numbers);
    }

    #[test]
    fn a_median_lies_between_its_bounds() {
        assert_eq!(Counts::default().median(), None);
        let mut counts = Counts::default();
        for ms in [1_000, 6_000, 40_000, 41_000, 44_000, 50_000, 90_000_000] {
            counts.times[bin(ms)] += 1;
        }
        // The fourth of seven is 41 s.
        let median = counts.median().unwrap();
        assert_eq!((median.from, median.to), (30, Some(45)));
        assert!(median.value > 30.0 && median.value <= 45.0);
        let late = Counts {
            times: std::array::from_fn(|at| i64::from(at == TIMES.len())),
            ..Counts::default()
        };
        assert_eq!(late.median().unwrap().to, None);
        assert_eq!(bin(5_000), 0);
        assert_eq!(bin(5_001), 1);
    }
}
