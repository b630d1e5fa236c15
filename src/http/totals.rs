//! Totals of the whole database as Prometheus reads them. Pure: rows in, metric families out.
//!
//! Counters come from sums that never fall, read in one statement; a process that crashes loses none and two replicas report
//! the same.

use std::collections::BTreeMap;
use std::sync::Arc;

use prometheus::proto::{
    Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType,
};

use self::places::{OwnDesks, Placed, sums};
use crate::domain::delivery::DeliveryState;
use crate::domain::event::EventKind;
use crate::domain::opt_out::EVERY_CHANNEL;
use crate::domain::policy::Suppression;
use crate::domain::request::State;
use crate::domain::statistics::{ANSWER_SECONDS, Total, Totals};
use crate::domain::time::Timestamp;
use crate::store::Backlog;

pub(super) mod all;
mod held;
pub(super) mod places;

pub(super) type Labels = Vec<(&'static str, String)>;
/// Counts by bucket, and the sum in milliseconds.
pub(super) type Sums = ([i64; ANSWER_SECONDS.len() + 1], i64);
/// The same by labels.
pub(super) type Histograms = BTreeMap<Labels, Sums>;

const NO_ANSWERS: Sums = ([0; ANSWER_SECONDS.len() + 1], 0);

/// The families of everything that is counted.
#[expect(
    clippy::too_many_lines,
    reason = "one row a family; the match is written out so that a new kind is thought about"
)]
pub(super) fn families(
    totals: &[Arc<Totals>],
    placed: &Placed<'_>,
    backlog: &[Backlog],
    now: Timestamp,
) -> Vec<MetricFamily> {
    let mut requests: Vec<(Labels, i64)> = Vec::new();
    let mut ratings: Vec<(Labels, i64)> = Vec::new();
    let mut opt_outs: BTreeMap<Labels, i64> = BTreeMap::new();
    let mut unrecognized: BTreeMap<Labels, i64> = BTreeMap::new();
    let mut lost: BTreeMap<Labels, i64> = BTreeMap::new();
    let mut answers: Vec<(Labels, Sums)> = Vec::new();
    everywhere(totals, &mut opt_outs);
    for (place, totals) in placed {
        let (short, base) = (place.short(), place.labels());
        let mut entered: BTreeMap<(State, Option<Suppression>), i64> = BTreeMap::new();
        // All five from the start: a counter that first appears as 1 has no increase that Prometheus could see.
        let mut scores = [0; 5];
        let mut answered = None;
        let [mut left, mut unread] = [None; 2];
        let mut given_up = 0;
        for total in sums(totals) {
            for (state, reason) in states(total) {
                *entered.entry((state, reason)).or_default() += total.count;
            }
            match total.kind {
                EventKind::RatingCreated => {
                    let score = total.score.map_or(0, |score| usize::from(score.get()));
                    if let Some(count) = scores.get_mut(score.wrapping_sub(1)) {
                        *count += total.count;
                    }
                    let (buckets, sum) = answered.get_or_insert(NO_ANSWERS);
                    if let Some(bucket) = total.bucket.and_then(|bucket| buckets.get_mut(bucket)) {
                        *bucket += total.count;
                    }
                    *sum += total.elapsed_ms;
                }
                EventKind::ContactOptedOut => *left.get_or_insert(0) += total.count,
                EventKind::ReplyUnrecognized => *unread.get_or_insert(0) += total.count,
                EventKind::DeliveryLost => given_up += total.count,
                EventKind::RequestScheduled
                | EventKind::RequestSuppressed
                | EventKind::RequestSent
                | EventKind::RequestDelivered
                | EventKind::RequestReached
                | EventKind::RequestExpired
                | EventKind::RequestFailed
                | EventKind::RequestCancelled
                | EventKind::RatingCommented
                // Counted in the files beside this one.
                | EventKind::RatingChanged
                | EventKind::RatingAuto
                | EventKind::RatingSuspect
                | EventKind::RatingExcluded
                | EventKind::RatingRestored
                | EventKind::RatingLow
                | EventKind::FollowUpTaken
                | EventKind::FollowUpTold
                | EventKind::FollowUpClosed
                | EventKind::ContactOptedIn => {}
            }
        }
        for ((state, reason), count) in entered {
            let reason = reason.map_or("", Suppression::as_str);
            let more = [("state", state.as_str()), ("reason", reason)];
            requests.push((with(&base, &more), count));
        }
        for (score, count) in ["1", "2", "3", "4", "5"].into_iter().zip(scores) {
            ratings.push((with(&base, &[("score", score)]), count));
        }
        *lost.entry(short.clone()).or_default() += given_up;
        if let Some(count) = left {
            *opt_outs.entry(short.clone()).or_default() += count;
        }
        if let Some(count) = unread {
            *unrecognized.entry(short).or_default() += count;
        }
        if let Some(sums) = answered {
            answers.push((base, sums));
        }
    }
    let mut families = vec![
        counters(
            "onefive_requests_total",
            "Requests that entered a state; suppressed ones with their reason. One that waited and was then suppressed entered both states.",
            requests,
        ),
        counters(
            "onefive_ratings_total",
            "First counted answers, by score.",
            ratings,
        ),
        histogram(
            "onefive_answer_seconds",
            "Seconds from sending a request to its first counted answer.",
            answers,
        ),
        held::corrections(totals),
        counters(
            "onefive_opt_outs_total",
            "Contacts that opted out.",
            opt_outs,
        ),
        counters(
            "onefive_replies_unrecognized_total",
            "Replies without a score in them.",
            unrecognized,
        ),
        counters(
            "onefive_deliveries_lost_total",
            "Deliveries given up because nobody could tell whether they happened. Late evidence still turns one; how many are lost now is onefive_deliveries.",
            lost,
        ),
    ];
    families.extend(held::families(placed));
    families.retain(|family| !family.get_metric().is_empty());
    families.extend(carried(backlog, now));
    families
}

/// Counts desks' changes of their lists for every channel, which happened at no place.
fn everywhere(totals: &[Arc<Totals>], opt_outs: &mut BTreeMap<Labels, i64>) {
    let every = totals
        .iter()
        .filter(|totals| totals.channel == EVERY_CHANNEL);
    let own = OwnDesks::of(totals);
    for totals in every {
        let labels = vec![
            ("desk", own.label(&totals.desk).to_owned()),
            ("channel", totals.channel.as_str().to_owned()),
        ];
        let left = totals.sums.iter();
        for total in left.filter(|total| total.kind == EventKind::ContactOptedOut) {
            *opt_outs.entry(labels.clone()).or_default() += total.count;
        }
    }
}

/// The states that were entered, with the reason of those that were not asked.
fn states(total: &Total) -> impl Iterator<Item = (State, Option<Suppression>)> {
    let states = State::ALL
        .into_iter()
        .filter(|state| total.entered & state.bit() != 0);
    states.map(|state| (state, total.reason.filter(|_| state == State::Suppressed)))
}

fn with(base: &Labels, more: &[(&'static str, &str)]) -> Labels {
    base.iter()
        .cloned()
        .chain(
            more.iter()
                .map(|(name, value)| (*name, (*value).to_owned())),
        )
        .collect()
}

fn metric(labels: Labels) -> Metric {
    let pairs = labels.into_iter().map(|(name, value)| {
        let mut pair = LabelPair::default();
        pair.set_name(name.to_owned());
        pair.set_value(value);
        pair
    });
    Metric::from_label(pairs.collect())
}

fn family(name: &str, help: &str, kind: MetricType, metrics: Vec<Metric>) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(name.to_owned());
    family.set_help(help.to_owned());
    family.set_field_type(kind);
    family.set_metric(metrics);
    family
}

pub(super) fn counters(
    name: &str,
    help: &str,
    values: impl IntoIterator<Item = (Labels, i64)>,
) -> MetricFamily {
    let metrics = values.into_iter().map(|(labels, value)| {
        let mut counter = Counter::default();
        counter.set_value(float(value));
        let mut metric = metric(labels);
        metric.set_counter(counter);
        metric
    });
    family(name, help, MetricType::COUNTER, metrics.collect())
}

/// When totals began to count: a fall of a counter after this instant changed is a database that was put back.
fn epoch(since_ms: i64) -> MetricFamily {
    let since = std::iter::once((Labels::new(), since_ms / 1000));
    gauges(
        "onefive_totals_epoch_seconds",
        "Since when the totals count: when the database was made, or last put back from a copy.",
        since,
    )
}

pub(super) fn gauges(
    name: &str,
    help: &str,
    values: impl IntoIterator<Item = (Labels, i64)>,
) -> MetricFamily {
    let metrics = values.into_iter().map(|(labels, value)| {
        let mut gauge = Gauge::default();
        gauge.set_value(float(value));
        let mut metric = metric(labels);
        metric.set_gauge(gauge);
        metric
    });
    family(name, help, MetricType::GAUGE, metrics.collect())
}

pub(super) fn histogram(
    name: &str,
    help: &str,
    values: impl IntoIterator<Item = (Labels, Sums)>,
) -> MetricFamily {
    let metrics = values.into_iter().map(|(labels, (counts, sum_ms))| {
        let mut below = 0;
        let buckets = ANSWER_SECONDS.iter().zip(counts).map(|(bound, count)| {
            below += count;
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(f64::from(*bound));
            bucket.set_cumulative_count(below.unsigned_abs());
            bucket
        });
        let mut histogram = Histogram::default();
        histogram.set_bucket(buckets.collect());
        histogram.set_sample_count(counts.iter().sum::<i64>().unsigned_abs());
        // Milliseconds are summed as integers in the database and divided once, so that the sum does not drift.
        histogram.set_sample_sum(float(sum_ms) / 1000.0);
        let mut metric = metric(labels);
        metric.set_histogram(histogram);
        metric
    });
    family(name, help, MetricType::HISTOGRAM, metrics.collect())
}

fn carried(backlog: &[Backlog], now: Timestamp) -> Vec<MetricFamily> {
    let states = [
        DeliveryState::Queued,
        DeliveryState::Claimed,
        DeliveryState::Dispatching,
        DeliveryState::Unknown,
        DeliveryState::Guarded,
        DeliveryState::Lost,
    ];
    let find = |state| backlog.iter().find(|entry| entry.state == state);
    let counts = states.iter().map(|state| {
        let count = find(*state).map_or(0, |entry| entry.count);
        (vec![("state", state.as_str().to_owned())], count)
    });
    let waits = find(DeliveryState::Queued).map_or(0, |entry| now.millis_since(entry.oldest_due));
    let mut waiting = Gauge::default();
    waiting.set_value(float(waits) / 1000.0);
    let mut longest = metric(Labels::new());
    longest.set_gauge(waiting);
    vec![
        gauges(
            "onefive_deliveries",
            "Requests being carried, by state.",
            counts,
        ),
        family(
            "onefive_delivery_queue_seconds",
            "How long the request that is most overdue has waited to be sent.",
            MetricType::GAUGE,
            vec![longest],
        ),
    ]
}

/// Exact below 2^53.
#[expect(
    clippy::cast_precision_loss,
    reason = "a count above 2^53 is out of reach"
)]
fn float(value: i64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use super::places::{FIRST_COME, PLACES_MAX, SHARED_MAX, by_place};
    use super::*;
    use crate::domain::follow_up::FollowUpState;
    use crate::domain::rating::Score;
    use crate::domain::request::Channel;
    use crate::journey::Figures;

    fn total(desk: &str, touchpoint: &str, score: i64, bucket: usize, count: i64) -> Totals {
        let total = Total {
            kind: EventKind::RatingCreated,
            entered: State::Answered.bit() | State::Delivered.bit(),
            reason: None,
            score: Score::try_from(score).ok(),
            bucket: Some(bucket),
            count,
            elapsed_ms: 1_500 * count,
            first_at: 0,
        };
        Totals {
            desk: desk.to_owned(),
            channel: Channel::named("sms"),
            touchpoint: touchpoint.to_owned(),
            first_at: 0,
            sums: vec![total],
        }
    }

    fn text(totals: &[Totals]) -> String {
        let totals: Vec<Arc<Totals>> = totals.iter().cloned().map(Arc::new).collect();
        let families = families(&totals, &by_place(&totals), &[], Timestamp::default());
        prometheus::TextEncoder::new()
            .encode_to_string(&families)
            .unwrap()
    }

    #[test]
    fn an_answer_counts_in_each_state_that_it_proves_once() {
        let (mut good, best) = (total("acme", "vpn", 4, 0, 2), total("acme", "vpn", 5, 1, 1));
        good.sums.extend(best.sums);
        let text = text(&[good]);
        for line in [
            r#"onefive_requests_total{desk="acme",channel="sms",touchpoint="vpn",state="answered",reason=""} 3"#,
            r#"onefive_requests_total{desk="acme",channel="sms",touchpoint="vpn",state="delivered",reason=""} 3"#,
            r#"onefive_ratings_total{desk="acme",channel="sms",touchpoint="vpn",score="4"} 2"#,
            r#"onefive_answer_seconds_bucket{desk="acme",channel="sms",touchpoint="vpn",le="10"} 2"#,
            r#"onefive_answer_seconds_bucket{desk="acme",channel="sms",touchpoint="vpn",le="+Inf"} 3"#,
            r#"onefive_answer_seconds_sum{desk="acme",channel="sms",touchpoint="vpn"} 4.5"#,
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn the_number_of_series_is_bounded_and_who_came_first_keeps_its_own() {
        let mut totals: Vec<Totals> = (0..1000)
            .map(|n| total("acme", &format!("t{n}"), 5, 0, 1))
            .collect();
        totals.extend((0..200).map(|n| total(&format!("d{n}"), "", 5, 0, 1)));
        let text = text(&totals);
        let count = |start: &str| text.lines().filter(|line| line.starts_with(start)).count();
        let places = PLACES_MAX + SHARED_MAX + 1;
        let first = text.lines().filter(|line| {
            line.starts_with(r#"onefive_ratings_total{desk="acme""#)
                && line.contains(r#"score="1""#)
        });
        assert_eq!(first.count(), FIRST_COME + 1, "with what it shares");
        assert_eq!(count("onefive_ratings_total"), places * 5);
        assert!(text.contains(r#"touchpoint="t0""#) && !text.contains(r#"touchpoint="t999""#));
        assert!(
            text.contains(r#"desk="d0",channel="sms",touchpoint="",score="1""#),
            "one desk leaves room for others"
        );
    }

    /// Many desks, each in many channels, with every state, reason and score that there can be. What the process counts of itself comes on
    /// top: a hundred series or a few.
    #[test]
    fn a_scrape_has_at_most_ten_thousand_series() {
        let channels = ["sms", "voice", "chat", "email", "*"];
        let mut totals = Vec::new();
        for n in 0..channels.len() * 150 {
            let mut place = total(&format!("d{}", n % 150), &format!("t{n}"), 5, 0, 1);
            place.channel = Channel::named(channels[n / 150]);
            let one = place.sums[0].clone();
            let entered = State::ALL.map(|state| Total {
                entered: state.bit(),
                ..one.clone()
            });
            let suppressed = Suppression::ALL.map(|reason| Total {
                entered: State::Suppressed.bit(),
                reason: Some(reason),
                ..one.clone()
            });
            let kinds = EventKind::ALL.iter().map(|kind| Total {
                kind: *kind,
                ..one.clone()
            });
            place.sums = entered.into_iter().chain(suppressed).chain(kinds).collect();
            totals.push(place);
        }
        let figures = Figures {
            unclosed: (0..150)
                .map(|n| (format!("d{n}"), FollowUpState::Open, 1))
                .collect(),
            paused: (0..150).map(|n| format!("d{n}")).collect(),
            totals: totals.into_iter().map(Arc::new).collect(),
            ..Figures::default()
        };
        let families = all::families(&figures, Timestamp::default());
        let series = families.iter().map(|family| {
            let lines = if family.get_field_type() == MetricType::HISTOGRAM {
                ANSWER_SECONDS.len() + 3
            } else {
                1
            };
            lines * family.get_metric().len()
        });
        let series: usize = series.sum();
        assert!((9_000..=9_700).contains(&series), "{series}");
    }

    #[test]
    fn every_score_has_a_series_from_the_start() {
        let text = text(&[total("acme", "vpn", 4, 0, 1)]);
        for (score, count) in [("1", 0), ("3", 0), ("4", 1), ("5", 0)] {
            let line = format!(r#"touchpoint="vpn",score="{score}"}} {count}"#);
            assert!(text.contains(&line), "{line} is not in\n{text}");
        }
    }
}
