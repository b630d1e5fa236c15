//! Who is out of line: whether somebody's share differs from that of all others by more than chance.
//!
//! The question behind it: does an agent see to it that only happy customers are asked? So what is compared is not the score but
//! what comes before it: how many of an agent's conversations were asked about, sent, reached the customer, were answered, and were
//! taken out afterwards.
//!
//! Channels differ in all of that, and agents in their channels. So an agent is compared with what the desk does in the same channels:
//! what is expected is the sum over channels of the agent's number there and the desk's share there (indirect standardisation).

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use utoipa::ToSchema;

use super::counts::Counts;
use super::evidence::{ByChannel, Evidence};
use super::interval::{Estimate, binomial, holm, real, round, wilson};
use crate::domain::policy::Suppression;
use crate::domain::request::State;

/// An agent is out of line if chance alone does that less often than this, all agents and shares taken together.
const LIKELY: f64 = 0.05;
/// Percentage points below which a difference is of no account, however certain it is.
const OF_ACCOUNT: f64 = 5.0;

/// A share that is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Share {
    /// Asked about, of all conversations that were, or were not for a reason that an agent can bring about: `context_hold`,
    /// `no_address`, `address_internal`, `window_closed`, `no_agent_reply`, `auto_resolved`.
    Requested,
    /// Sent, of all that were asked about.
    Sent,
    /// In front of the customer, of all that were sent; in channels that tell so.
    Reached,
    /// Answered, of all that were sent.
    Answered,
    /// Taken out of the scores, of all answered.
    Excluded,
}

impl Share {
    const ALL: [Self; 5] = [
        Self::Requested,
        Self::Sent,
        Self::Reached,
        Self::Answered,
        Self::Excluded,
    ];

    /// Hits and of how many, in one channel.
    fn of(self, (channel, counts): (&String, &Counts), evidence: &Evidence) -> (i64, i64) {
        let entered = |state| counts.entered(state);
        match self {
            Self::Requested => {
                let reasons = counts.reasons.iter();
                let caused = reasons.filter(|(reason, _)| {
                    Suppression::parse(reason).is_some_and(an_agent_can_cause)
                });
                let requested = counts.requested();
                (requested, requested + caused.map(|(_, n)| n).sum::<i64>())
            }
            Self::Sent => (entered(State::Sent), counts.requested()),
            Self::Reached if !evidence.of_channel(channel).reached => (0, 0),
            Self::Reached => (entered(State::Reached), entered(State::Sent)),
            Self::Answered => (entered(State::Answered), entered(State::Sent)),
            Self::Excluded => (counts.excluded, entered(State::Answered)),
        }
    }
}

/// Whether whoever served can bring it about that the customer is not asked. The rest is the desk's rules, chance, or the customer.
const fn an_agent_can_cause(reason: Suppression) -> bool {
    match reason {
        Suppression::ContextHold
        | Suppression::NoAddress
        | Suppression::AddressInternal
        | Suppression::WindowClosed
        | Suppression::NoAgentReply
        | Suppression::AutoResolved => true,
        Suppression::Duplicate
        | Suppression::OpenRequestExists
        | Suppression::CapContact
        | Suppression::CapDesk
        | Suppression::SampledOut
        | Suppression::HoldOut
        | Suppression::OptedOut
        | Suppression::CountryNotAllowed
        | Suppression::ChannelNotConfigured
        | Suppression::QuietHours => false,
    }
}

/// One share of one agent that is out of line.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Outlier {
    /// Which share.
    pub share: Share,
    /// It in percent, with its Wilson 95 % interval, in the channels in which somebody else served too.
    pub value: Estimate,
    /// What all others together would have with as many conversations in each of these channels.
    pub others: f64,
    /// How likely chance alone makes one of all these shares as unusual (exact binomial test against what the whole desk does in these
    /// channels, raised by Holm's method for the number of tests).
    pub chance: f64,
}

/// The shares that are out of line, by group in the order given.
///
/// Who is far out moves what is usual for everybody. So the farthest is taken out first, and the others are looked at again
/// without that one, until nobody is out of line any more.
pub fn outliers(groups: &[ByChannel], evidence: &Evidence) -> Vec<Vec<Outlier>> {
    let mut found = vec![Vec::new(); groups.len()];
    let mut left: BTreeSet<(usize, Share)> = (0..groups.len())
        .flat_map(|at| Share::ALL.map(|share| (at, share)))
        .collect();
    while let Some((at, outlier)) = farthest(groups, evidence, &left) {
        left.remove(&(at, outlier.share));
        found[at].push(outlier);
    }
    found
}

/// A share of one agent beside that of the others in the same channels.
#[derive(Default)]
struct Beside {
    hits: i64,
    n: i64,
    /// How many the whole desk would have had.
    expected: f64,
    /// How many the others would have had.
    others: f64,
}

/// The most unlikely of these that is out of line with the others of these.
fn farthest(
    groups: &[ByChannel],
    evidence: &Evidence,
    among: &BTreeSet<(usize, Share)>,
) -> Option<(usize, Outlier)> {
    let mut all: BTreeMap<(Share, &str), (i64, i64)> = BTreeMap::new();
    for (at, share) in among {
        for of_channel in &groups[*at] {
            let (hits, n) = share.of(of_channel, evidence);
            let sum = all.entry((*share, of_channel.0)).or_default();
            *sum = (sum.0 + hits, sum.1 + n);
        }
    }
    let mut tests = Vec::new();
    for (at, share) in among {
        let mut beside = Beside::default();
        for of_channel in &groups[*at] {
            let (hits, n) = share.of(of_channel, evidence);
            let key = (*share, of_channel.0.as_str());
            let (all_hits, all_n) = all.get(&key).copied().unwrap_or_default();
            let (other_hits, other_n) = (all_hits - hits, all_n - n);
            // Where nobody else serves there is nothing to compare with.
            if n > 0 && other_n > 0 {
                beside.hits += hits;
                beside.n += n;
                beside.expected += real(n) * real(all_hits) / real(all_n);
                beside.others += real(n) * real(other_hits) / real(other_n);
            }
        }
        let Some(value) = wilson(beside.hits, beside.n) else {
            continue;
        };
        // The agent is part of the whole: so few others do not pass for a law of nature. A sum of draws with different chances, and
        // out of a whole that is drawn up, scatters no more than as many with their mean (W. Hoeffding 1956 and 1963), so the test
        // accuses rather too seldom.
        let usual = (beside.expected / real(beside.n)).clamp(0.0, 1.0);
        if let Some(chance) = binomial(beside.hits, beside.n, usual) {
            let others = 100.0 * beside.others / real(beside.n);
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
    use crate::domain::statistics::evidence::Tells;

    fn counts(triggers: i64, requested: i64, answered: i64, reason: &str) -> Counts {
        let mut counts = Counts::default();
        counts.states[State::Scheduled as usize] = requested;
        counts.states[State::Suppressed as usize] = triggers - requested;
        counts
            .reasons
            .insert(reason.to_owned(), triggers - requested);
        for state in [State::Sent, State::Delivered, State::Reached] {
            counts.states[state as usize] = requested;
        }
        counts.states[State::Answered as usize] = answered;
        counts
    }

    fn agent(triggers: i64, requested: i64, answered: i64) -> ByChannel {
        let counts = counts(triggers, requested, answered, "context_hold");
        ByChannel::from([("chat".to_owned(), counts)])
    }

    fn outliers(groups: &[ByChannel]) -> Vec<Vec<Outlier>> {
        let tells = |reached| Tells {
            delivered: true,
            reached,
        };
        let evidence = Evidence::of([("chat", tells(true)), ("sms", tells(false))]);
        super::outliers(groups, &evidence)
    }

    #[test]
    fn who_serves_another_channel_is_not_out_of_line() {
        // In this channel few answer, and an answer is all that tells that the contact saw it.
        let sms = |sent: i64, answered: i64| {
            let mut counts = counts(sent, sent, answered, "");
            counts.states[State::Reached as usize] = answered;
            ("sms".to_owned(), counts)
        };
        let chat = |sent, answered| ("chat".to_owned(), counts(sent, sent, answered, ""));
        let mut desk: Vec<ByChannel> = (0..5)
            .map(|_| ByChannel::from([chat(300, 150), sms(20, 2)]))
            .collect();
        desk.push(ByChannel::from([chat(10, 5), sms(300, 30)]));
        let found = outliers(&desk);
        assert!(found.iter().all(Vec::is_empty), "{found:?}");
        // Whoever is worse in each of the two is seen.
        desk.push(ByChannel::from([chat(150, 30), sms(150, 3)]));
        let found = outliers(&desk);
        assert!(found[..6].iter().all(Vec::is_empty), "{found:?}");
        let [worse] = &found[6][..] else {
            panic!("{found:?}")
        };
        assert_eq!(worse.share, Share::Answered);
        assert!(
            (worse.value.value, worse.others) == (11.0, 30.0),
            "{worse:?}"
        );
    }

    #[test]
    fn nobody_answers_for_rules_and_chance() {
        for (reason, accused) in [
            ("duplicate", false),
            ("cap_contact", false),
            ("sampled_out", false),
            ("hold_out", false),
            ("no_address", true),
        ] {
            let mut desk = vec![agent(200, 200, 60); 9];
            let few = counts(200, 90, 30, reason);
            desk.push(ByChannel::from([("chat".to_owned(), few)]));
            let found = outliers(&desk);
            assert_eq!(!found[9].is_empty(), accused, "{reason}: {found:?}");
        }
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
