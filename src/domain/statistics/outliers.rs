//! Who is out of line: whether somebody's share differs from that of all others by more than chance.
//!
//! The question behind it: does an agent see to it that only happy customers are asked? So what is compared is not the score but
//! what comes before it: how many of an agent's conversations were asked about, reached the customer, were answered, and were
//! taken out afterwards.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use utoipa::ToSchema;

use super::counts::Counts;
use super::interval::{Estimate, binomial, holm, real, round, wilson};
use crate::domain::request::State;

/// An agent is out of line if chance alone does that less often than this, all agents and shares taken together.
const LIKELY: f64 = 0.05;
/// Percentage points below which a difference is of no account, however certain it is.
const OF_ACCOUNT: f64 = 5.0;

/// A share that is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Share {
    /// Asked about, of all conversations.
    Requested,
    /// In front of the customer, of all that were asked about.
    Reached,
    /// Answered, of all that were sent.
    Answered,
    /// Taken out of the scores, of all answered.
    Excluded,
}

impl Share {
    const ALL: [Self; 4] = [
        Self::Requested,
        Self::Reached,
        Self::Answered,
        Self::Excluded,
    ];

    /// Hits and of how many.
    fn of(self, counts: &Counts) -> (i64, i64) {
        let entered = |state| counts.entered(state);
        match self {
            Self::Requested => (entered(State::Scheduled), counts.triggers()),
            Self::Reached => (entered(State::Reached), entered(State::Scheduled)),
            Self::Answered => (entered(State::Answered), entered(State::Sent)),
            Self::Excluded => (counts.excluded, entered(State::Answered)),
        }
    }
}

/// One share of one agent that is out of line.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Outlier {
    /// Which share.
    pub share: Share,
    /// It in percent, with its Wilson 95 % interval.
    pub value: Estimate,
    /// The same of all others together.
    pub others: f64,
    /// How likely chance alone makes one of all these shares as unusual (exact binomial test against the others, raised by
    /// Holm's method for the number of tests).
    pub chance: f64,
}

/// The shares that are out of line, by group in the order given.
///
/// Who is far out moves what is usual for everybody. So the farthest is taken out first, and the others are looked at again
/// without that one, until nobody is out of line any more.
pub fn outliers(groups: &[Counts]) -> Vec<Vec<Outlier>> {
    let mut found = vec![Vec::new(); groups.len()];
    let mut left: BTreeSet<(usize, Share)> = (0..groups.len())
        .flat_map(|at| Share::ALL.map(|share| (at, share)))
        .collect();
    while let Some((at, outlier)) = farthest(groups, &left) {
        left.remove(&(at, outlier.share));
        found[at].push(outlier);
    }
    found
}

/// The most unlikely of these that is out of line with the others of these.
fn farthest(groups: &[Counts], among: &BTreeSet<(usize, Share)>) -> Option<(usize, Outlier)> {
    let mut all: BTreeMap<Share, (i64, i64)> = BTreeMap::new();
    for (at, share) in among {
        let (hits, n) = share.of(&groups[*at]);
        let sum = all.entry(*share).or_default();
        *sum = (sum.0 + hits, sum.1 + n);
    }
    let mut tests = Vec::new();
    for (at, share) in among {
        let (hits, n) = share.of(&groups[*at]);
        let (all_hits, all_n) = all.get(share).copied().unwrap_or_default();
        let (other_hits, other_n) = (all_hits - hits, all_n - n);
        let (Some(value), true) = (wilson(hits, n), other_n > 0) else {
            continue;
        };
        // If nobody else ever did, or all always did, that is still no law of nature: one more of each is supposed.
        let usual = (real(other_hits) + 1.0) / (real(other_n) + 2.0);
        if let Some(chance) = binomial(hits, n, usual) {
            let others = 100.0 * real(other_hits) / real(other_n);
            tests.push((*at, *share, value.times(100.0), others, chance));
        }
    }
    let raised = holm(&tests.iter().map(|test| test.4).collect::<Vec<_>>());
    let unlikely = tests.into_iter().zip(raised);
    let unlikely = unlikely.filter(|((.., value, others, _), chance)| {
        *chance < LIKELY && (value.value - others).abs() >= OF_ACCOUNT
    });
    let ((at, share, value, others, _), chance) =
        unlikely.min_by(|a, b| a.0.4.total_cmp(&b.0.4))?;
    let outlier = Outlier {
        share,
        value: value.rounded(2),
        others: round(others, 2),
        chance: round(chance, 6),
    };
    Some((at, outlier))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent(triggers: i64, requested: i64, answered: i64) -> Counts {
        let mut counts = Counts::default();
        counts.states[State::Scheduled as usize] = requested;
        counts.states[State::Suppressed as usize] = triggers - requested;
        for state in [State::Sent, State::Delivered, State::Reached] {
            counts.states[state as usize] = requested;
        }
        counts.states[State::Answered as usize] = answered;
        counts
    }

    #[test]
    fn who_lets_few_be_asked_is_seen() {
        let mut desk = vec![agent(200, 180, 60); 9];
        desk.push(agent(200, 90, 30));
        let found = outliers(&desk);
        assert!(found[..9].iter().all(Vec::is_empty), "{found:?}");
        let [picky] = &found[9][..] else {
            panic!("{found:?}")
        };
        assert_eq!(picky.share, Share::Requested);
        for (share, value) in [(picky.value.value, 45.0), (picky.others, 90.0)] {
            assert!((share - value).abs() < 1e-9);
        }
        assert!(picky.chance < 1e-6);
    }

    #[test]
    fn chance_is_not_accused() {
        // Two of twenty asked is unusual for one agent alone, and usual once among sixty.
        let mut desk = vec![agent(20, 6, 2); 60];
        desk[0] = agent(20, 2, 1);
        assert!(outliers(&desk).iter().all(Vec::is_empty));
        // Certain, and of no account.
        let desk = [
            agent(100_000, 90_000, 30_000),
            agent(100_000, 89_000, 29_700),
        ];
        assert!(outliers(&desk).iter().all(Vec::is_empty));
        assert!(
            outliers(&[agent(5, 0, 0)])[0].is_empty(),
            "nobody to compare with"
        );
    }
}
