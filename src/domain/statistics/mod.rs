//! What the events add up to, and what may be concluded from it.

pub mod counts;
pub mod evidence;
pub mod figures;
pub mod grouping;
pub mod interval;
pub mod outliers;

use super::event::EventKind;
use super::policy::Suppression;
use super::rating::Score;
use super::request::Channel;

/// Upper bounds, in seconds, of the histogram of the time from sending to answering. A last bucket is open.
pub const ANSWER_SECONDS: [u32; 10] = [10, 30, 60, 120, 300, 900, 3_600, 14_400, 86_400, 259_200];

/// The index into [`ANSWER_SECONDS`] in which a time falls; its length for the open bucket.
pub fn answer_bucket(elapsed_ms: i64) -> usize {
    ANSWER_SECONDS
        .iter()
        .position(|bound| elapsed_ms <= i64::from(*bound) * 1000)
        .unwrap_or(ANSWER_SECONDS.len())
}

/// What the events at one place add up to: a desk's touchpoint in a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Totals {
    /// The desk's short name.
    pub desk: String,
    /// The channel.
    pub channel: Channel,
    /// The touchpoint; empty if none.
    pub touchpoint: String,
    /// When the first of them happened, in milliseconds: a stable order, so that a cap on series keeps the same ones.
    pub first_at: i64,
    /// Each sum stands once.
    pub sums: Vec<Total>,
}

/// A sum over events at one place that are alike in everything that is counted. Never falls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Total {
    /// What kind of change.
    pub kind: EventKind,
    /// The states entered, as bits.
    pub entered: i64,
    /// Why it was not asked.
    pub reason: Option<Suppression>,
    /// The score.
    pub score: Option<Score>,
    /// Index of the answer-time bucket, for first answers.
    pub bucket: Option<usize>,
    /// How many events.
    pub count: i64,
    /// Sum of the answer times in milliseconds.
    pub elapsed_ms: i64,
    /// When the first such event happened, in milliseconds.
    pub first_at: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_falls_in_the_first_bucket_that_is_not_below_it() {
        assert_eq!(answer_bucket(0), 0);
        assert_eq!(answer_bucket(10_000), 0);
        assert_eq!(answer_bucket(10_001), 1);
        assert_eq!(answer_bucket(i64::MAX), ANSWER_SECONDS.len());
    }
}
