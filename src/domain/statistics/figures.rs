//! What a group's counts mean: shares with their intervals, three response rates by name, and bounds for those who said nothing.
//!
//! No number without what it rests on; "no ratings yet" is absent, never 0. Where a person could be recognised, too few answers
//! are not shown at all. That keeps an honest display from naming somebody by chance; it is no secrecy: whoever may ask for results
//! may ask twice and subtract.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use super::counts::{Counts, GRADES};
use super::evidence::{ByChannel, Evidence, Tells, together};
use super::interval::{Estimate, Moments, newcombe, real, round, welch, wilson};
use crate::domain::request::State;

/// The fewest ratings that anything that names an agent is shown for.
pub const AGENT_MINIMUM: i64 = 5;

/// A group in numbers.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Figures {
    /// What became of the conversations that the desk told of.
    pub asked: Asked,
    /// Answered in percent of three different numbers.
    pub response: Response,
    /// The ratings; `null` if they are too few to be shown (see `insufficient`).
    #[schema(required)]
    pub ratings: Option<Ratings>,
    /// There are too few ratings for what was asked to be shown. So that nobody is judged by a handful of answers; it keeps nothing
    /// secret from who may read results: other questions about the same conversations can be subtracted from each other.
    pub insufficient: bool,
}

/// What became of conversations. Each number counts requests that entered the state, whatever came after; only those that were to be
/// asked, waited, and were then suppressed are not among `requested` any more. So `requested` and `suppressed` make `triggers`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Asked {
    /// Conversations that the desk told of.
    pub triggers: i64,
    /// It was decided to ask.
    pub requested: i64,
    /// It was decided not to ask, at once or later.
    pub suppressed: i64,
    /// Those of them that were to be asked, waited (for the end of quiet hours, or for `delay_seconds`), and then were not.
    pub suppressed_later: i64,
    /// The same by reason.
    pub suppressed_by: BTreeMap<String, i64>,
    /// The provider took it.
    pub sent: i64,
    /// It arrived, as far as the channel tells; an answer proves it.
    pub delivered: i64,
    /// The contact had it in front of them, as far as the channel tells; an answer proves it.
    pub reached: i64,
    /// It was answered.
    pub answered: i64,
    /// Nobody answered in time.
    pub expired: i64,
    /// It was taken back.
    pub cancelled: i64,
    /// It could not be carried.
    pub failed: i64,
}

/// Response rates in percent, with Wilson 95 % intervals; `null` where nothing was asked, or where nothing tells (see `left_out`).
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Response {
    /// Answered of all that it was decided to ask.
    #[schema(required)]
    pub of_requested: Option<Rate>,
    /// Answered of all that arrived, in channels that tell so.
    #[schema(required)]
    pub of_delivered: Option<Rate>,
    /// Answered of all that had it in front of them, in channels that tell so.
    #[schema(required)]
    pub of_reached: Option<Rate>,
    /// By rate, the channels that are left out of it, because there an ask is known to have arrived, or to have been in front of the
    /// contact, only by its answer: everybody of whom that is known has answered.
    #[schema(value_type = BTreeMap<String, Vec<String>>)]
    pub left_out: BTreeMap<&'static str, Vec<String>>,
}

/// A response rate.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
pub struct Rate {
    /// In percent, with its interval.
    #[serde(flatten)]
    pub share: Estimate,
    /// How many answered, in the channels that this rate is about.
    pub answered: i64,
    /// Of how many.
    pub of: i64,
}

impl Rate {
    fn of(answered: i64, of: i64) -> Option<Self> {
        let share = percent(answered, of)?;
        Some(Self {
            share,
            answered,
            of,
        })
    }
}

/// Ratings that count: neither excluded nor held as a machine's.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Ratings {
    /// How many.
    pub n: i64,
    /// How many ones, twos, threes, fours and fives.
    pub counts: BTreeMap<String, i64>,
    /// Share of 4 and 5 in percent, with a Wilson 95 % interval; `null` while there are no ratings.
    #[schema(required)]
    pub csat: Option<Estimate>,
    /// Share of 1 and 2 in percent, likewise.
    #[schema(required)]
    pub dsat: Option<Estimate>,
    /// The mean, with an interval by Student's t that ends where the scale does; without one if fewer than two ratings or all are the
    /// same.
    #[schema(required)]
    pub mean: Option<Estimate>,
    /// What CSAT and mean would be had everybody answered who was asked.
    #[schema(required)]
    pub bounds: Option<Bounds>,
    /// Half of the answers came within so many seconds.
    #[schema(required)]
    pub median_seconds: Option<MedianSeconds>,
    /// Answers with words.
    pub comments: i64,
    /// The same in percent of all answers.
    #[schema(required)]
    pub comment_rate: Option<f64>,
    /// How we know that the contact gave them.
    pub grades: BTreeMap<&'static str, i64>,
    /// Taken out of the scores by a manager.
    pub excluded: i64,
    /// Requests that have no rating, only answers that no person is known to have given; kept, not counted. Each counts once, however
    /// many such answers it has, and no more once it is rated or one of them is released.
    pub suspect: i64,
}

/// How far those who said nothing could move the result: all of them unhappy (1), or all of them happy (5).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
pub struct Bounds {
    /// Customers who were sent the ask and have not answered.
    pub silent: i64,
    /// CSAT in percent if all of them were unhappy.
    pub csat_if_unhappy: f64,
    /// CSAT in percent if all of them were happy.
    pub csat_if_happy: f64,
    /// The mean if all of them were unhappy.
    pub mean_if_unhappy: f64,
    /// The mean if all of them were happy.
    pub mean_if_happy: f64,
}

/// The median time to answer. Times are kept in bins: the true median lies between `low` and `high`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
pub struct MedianSeconds {
    /// The median, if times are evenly spread inside the bin.
    pub value: f64,
    /// It is at least this.
    pub low: i64,
    /// It is at most this; `null` beyond three days.
    #[schema(required)]
    pub high: Option<i64>,
}

/// A share in percent as it is shown.
fn percent(hits: i64, n: i64) -> Option<Estimate> {
    wilson(hits, n).map(|share| share.times(100.0).rounded(2))
}

impl Figures {
    /// The figures of a group. With `hidden` no ratings are shown, only what was asked.
    pub fn of(channels: &ByChannel, evidence: &Evidence, hidden: bool) -> Self {
        let counts = &together(channels);
        let entered = |state| counts.entered(state);
        Self {
            asked: Asked {
                triggers: counts.triggers(),
                requested: counts.requested(),
                suppressed: entered(State::Suppressed),
                suppressed_later: counts.suppressed_later,
                suppressed_by: counts.reasons.clone(),
                sent: entered(State::Sent),
                delivered: entered(State::Delivered),
                reached: entered(State::Reached),
                answered: entered(State::Answered),
                expired: entered(State::Expired),
                cancelled: entered(State::Cancelled),
                failed: entered(State::Failed),
            },
            response: Response::of(channels, evidence),
            ratings: (!hidden).then(|| Ratings::of(counts)),
            insufficient: hidden,
        }
    }
}

impl Response {
    fn of(channels: &ByChannel, evidence: &Evidence) -> Self {
        let mut left_out = BTreeMap::new();
        let mut rate = |name, of: State, tells: fn(Tells) -> bool| {
            let (mut answered, mut all) = (0, 0);
            for (channel, counts) in channels {
                if tells(evidence.of_channel(channel)) {
                    answered += counts.entered(State::Answered);
                    all += counts.entered(of);
                } else if counts.requested() > 0 {
                    let others: &mut Vec<String> = left_out.entry(name).or_default();
                    others.push(channel.clone());
                }
            }
            Rate::of(answered, all)
        };
        let of_delivered = rate("of_delivered", State::Delivered, |tells| tells.delivered);
        let of_reached = rate("of_reached", State::Reached, |tells| tells.reached);
        let counts = together(channels);
        Self {
            of_requested: Rate::of(counts.entered(State::Answered), counts.requested()),
            of_delivered,
            of_reached,
            left_out,
        }
    }
}

impl Ratings {
    fn of(counts: &Counts) -> Self {
        let n = counts.n();
        let answered = counts.entered(State::Answered);
        let moments = Moments::of(&counts.scores);
        let names = ["1", "2", "3", "4", "5"].map(str::to_owned);
        Self {
            n,
            counts: names.into_iter().zip(counts.scores).collect(),
            csat: percent(counts.satisfied(), n),
            dsat: percent(counts.dissatisfied(), n),
            mean: moments.map(|moments| moments.interval().within(1.0, 5.0).rounded(3)),
            bounds: moments.map(|moments| bounds(counts, moments)),
            median_seconds: counts.median().map(|median| MedianSeconds {
                value: round(median.value, 1),
                low: median.from,
                high: median.to,
            }),
            comments: counts.comments,
            comment_rate: wilson(counts.comments, answered)
                .map(|share| round(share.value * 100.0, 2)),
            grades: GRADES
                .iter()
                .map(|grade| grade.as_str())
                .zip(counts.grades)
                .collect(),
            excluded: counts.excluded,
            suspect: counts.suspect,
        }
    }
}

fn bounds(counts: &Counts, moments: Moments) -> Bounds {
    let (n, silent) = (real(moments.n), real(counts.silent()));
    let all = n + silent;
    let (good, sum) = (real(counts.satisfied()), moments.mean * n);
    Bounds {
        silent: counts.silent(),
        csat_if_unhappy: round(100.0 * good / all, 2),
        csat_if_happy: round(100.0 * (good + silent) / all, 2),
        mean_if_unhappy: round((sum + silent) / all, 3),
        mean_if_happy: round((sum + 5.0 * silent) / all, 3),
    }
}

/// Which groups are not shown because they are too small. `groups` are those of one whole, such as the agents of one team.
///
/// Whoever knows the whole could subtract the others from it; so a single hidden group takes the next smallest with it, until
/// what is hidden is together large enough.
pub fn hidden(groups: &[&Counts], minimum: i64) -> Vec<bool> {
    let mut hidden: Vec<bool> = groups.iter().map(|group| group.n() < minimum).collect();
    // What has no rating at all gives nothing away.
    let told = |at: &usize| groups[*at].n() > 0;
    let mut open: Vec<usize> = (0..groups.len()).filter(|at| !hidden[*at]).collect();
    open.sort_by_key(|at| groups[*at].n());
    let mut open = open.into_iter();
    loop {
        let few: Vec<usize> = (0..groups.len())
            .filter(|at| hidden[*at])
            .filter(told)
            .collect();
        let together: i64 = few.iter().map(|at| groups[*at].n()).sum();
        if few.is_empty() || (few.len() > 1 && together >= minimum) {
            return hidden;
        }
        match open.next() {
            Some(next) => hidden[next] = true,
            None => return hidden,
        }
    }
}

/// Two groups beside each other: first minus second.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Difference {
    /// Of CSAT in percentage points, with Newcombe's 95 % interval.
    pub csat: Estimate,
    /// Of the means, with Welch's 95 % interval, which ends at what is possible (4 points); without one if either has fewer than two
    /// ratings.
    pub mean: Estimate,
    /// Whether the interval of CSAT leaves out "no difference".
    pub beyond_chance: bool,
    /// What that means, and what not, in one sentence.
    pub sentence: String,
}

impl Difference {
    /// Between two groups. `None` if one has no ratings.
    pub fn of(first: &Counts, second: &Counts) -> Option<Self> {
        let exact = newcombe(
            (first.satisfied(), first.n()),
            (second.satisfied(), second.n()),
        )?;
        let mean = welch(Moments::of(&first.scores)?, Moments::of(&second.scores)?);
        let mean = mean.within(-4.0, 4.0).rounded(3);
        let csat = exact.times(100.0).rounded(2);
        Some(Self {
            csat,
            mean,
            beyond_chance: exact.excludes_zero(),
            sentence: sentence(csat, exact.excludes_zero()),
        })
    }
}

fn sentence(csat: Estimate, beyond: bool) -> String {
    let (low, high) = (
        csat.low.unwrap_or(csat.value),
        csat.high.unwrap_or(csat.value),
    );
    if !beyond {
        return format!(
            "Chance alone may explain the difference of {:.1} points: from {low:.1} to {high:.1} points fit these answers, so they do \
             not show that the first group is better or worse, and not that both are equal.",
            csat.value
        );
    }
    let (direction, less, most) = if csat.value > 0.0 {
        ("higher", low, high)
    } else {
        ("lower", -high, -low)
    };
    format!(
        "The first group's CSAT is {direction} by {:.1} points, more than chance alone explains (between {less:.1} and {most:.1}); that \
         says nothing about why, nor about customers who did not answer.",
        csat.value.abs()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rated(scores: [i64; 5]) -> Counts {
        let answered: i64 = scores.iter().sum();
        let mut counts = Counts {
            scores,
            ..Counts::default()
        };
        for state in [
            State::Scheduled,
            State::Sent,
            State::Delivered,
            State::Reached,
        ] {
            counts.states[state as usize] = answered * 2;
        }
        counts.states[State::Answered as usize] = answered;
        counts
    }

    fn evidence() -> Evidence {
        let tells = |delivered, reached| Tells { delivered, reached };
        Evidence::of([
            ("chat", tells(true, true)),
            ("sms", tells(true, false)),
            ("email", tells(false, false)),
        ])
    }

    fn in_channel(channel: &str, counts: Counts) -> ByChannel {
        ByChannel::from([(channel.to_owned(), counts)])
    }

    #[test]
    fn what_only_an_answer_proves_is_no_rate() {
        let mut sms = rated([0, 0, 0, 0, 5]);
        sms.states[State::Reached as usize] = 5;
        let figures = Figures::of(&in_channel("sms", sms.clone()), &evidence(), false);
        assert_eq!(figures.response.of_reached, None);
        assert_eq!(figures.response.left_out["of_reached"], ["sms"]);
        assert!((figures.response.of_delivered.unwrap().share.value - 50.0).abs() < 1e-9);
        // In a total such a channel is left out, so it moves nothing.
        let mut all = in_channel("sms", sms.clone());
        all.insert("email".to_owned(), sms);
        all.insert("chat".to_owned(), rated([0, 0, 0, 0, 4]));
        let figures = Figures::of(&all, &evidence(), false);
        assert_eq!(figures.asked.reached, 18);
        assert!((figures.response.of_reached.unwrap().share.value - 50.0).abs() < 1e-9);
        assert_eq!(figures.response.left_out["of_reached"], ["email", "sms"]);
        assert_eq!(figures.response.left_out["of_delivered"], ["email"]);
    }

    #[test]
    fn an_interval_ends_where_the_scale_does() {
        let (low, high) = (rated([0, 0, 0, 1, 1]), rated([1, 1, 0, 0, 0]));
        let ratings = Figures::of(&in_channel("chat", low.clone()), &evidence(), false);
        let mean = ratings.ratings.unwrap().mean.unwrap();
        assert_eq!((mean.low, mean.high), (Some(1.0), Some(5.0)));
        let difference = Difference::of(&low, &high).unwrap().mean;
        assert_eq!(difference.high, Some(4.0));
        assert!(difference.low.unwrap() >= -4.0);
    }

    #[test]
    fn no_ratings_yet_is_absent_and_not_zero() {
        let nothing = Figures::of(&ByChannel::default(), &evidence(), false);
        let figures = serde_json::to_value(nothing).unwrap();
        for path in [
            "/ratings/csat",
            "/ratings/dsat",
            "/ratings/mean",
            "/ratings/bounds",
            "/ratings/median_seconds",
            "/ratings/comment_rate",
            "/response/of_requested",
            "/response/of_delivered",
            "/response/of_reached",
        ] {
            assert!(figures.pointer(path).unwrap().is_null(), "{path}");
        }
        assert_eq!(figures["ratings"]["n"], 0);
    }

    #[test]
    fn those_who_say_nothing_could_move_it_so_far() {
        let counts = in_channel("chat", rated([1, 1, 1, 3, 4]));
        let figures = Figures::of(&counts, &evidence(), false);
        let ratings = figures.ratings.unwrap();
        let bounds = ratings.bounds.unwrap();
        assert_eq!(bounds.silent, 10);
        assert!((bounds.csat_if_unhappy, bounds.csat_if_happy) == (35.0, 85.0));
        assert!((bounds.mean_if_unhappy, bounds.mean_if_happy) == (2.4, 4.4));
        let delivered = figures.response.of_delivered.map(|rate| rate.share);
        let shares = [ratings.csat, ratings.dsat, delivered];
        for (share, value) in shares.into_iter().zip([70.0, 20.0, 50.0]) {
            assert!((share.unwrap().value - value).abs() < 1e-9);
        }
    }

    #[test]
    fn a_small_group_cannot_be_subtracted() {
        let groups = [9, 3, 6, 20, 0].map(|n| rated([n, 0, 0, 0, 0]));
        let groups: Vec<&Counts> = groups.iter().collect();
        // The group of 3 is hidden, and with it the one of 6, without which it would be the rest.
        assert_eq!(hidden(&groups, 5), [false, true, true, false, true]);
        assert_eq!(hidden(&groups[2..4], 5), [false, false]);
        assert_eq!(hidden(&groups[1..2], 5), [true]);
        // Two that are hidden protect each other if they are enough together.
        let pair = [4, 4, 50].map(|n| rated([n, 0, 0, 0, 0]));
        let pair: Vec<&Counts> = pair.iter().collect();
        assert_eq!(hidden(&pair, 5), [true, true, false]);
        let tiny = [1, 1, 50, 8].map(|n| rated([n, 0, 0, 0, 0]));
        let tiny: Vec<&Counts> = tiny.iter().collect();
        assert_eq!(hidden(&tiny, 5), [true, true, false, true]);
    }

    #[test]
    fn a_difference_says_what_it_means_and_what_not() {
        let clear = Difference::of(&rated([10, 0, 0, 0, 90]), &rated([50, 0, 0, 0, 50])).unwrap();
        assert!(clear.beyond_chance && clear.sentence.contains("higher by 40.0 points"));
        let turned = Difference::of(&rated([50, 0, 0, 0, 50]), &rated([10, 0, 0, 0, 90])).unwrap();
        assert!(turned.sentence.contains("lower by 40.0 points"));
        let same = Difference::of(&rated([1, 0, 0, 0, 4]), &rated([1, 0, 0, 0, 3])).unwrap();
        assert!(!same.beyond_chance && same.sentence.starts_with("Chance alone"));
        assert_eq!(
            Difference::of(&rated([0; 5]), &rated([1, 0, 0, 0, 0])),
            None
        );
    }
}
