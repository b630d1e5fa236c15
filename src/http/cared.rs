//! What is done about low scores, as Prometheus reads it. Pure: rows in, metric families out.

use std::collections::BTreeMap;
use std::sync::Arc;

use prometheus::proto::MetricFamily;

use super::totals::places::{OwnDesks, Placed, sums};
use super::totals::{Histograms, Labels, counters, gauges, histogram};
use crate::domain::event::EventKind;
use crate::domain::follow_up::FollowUpState;
use crate::domain::statistics::{ANSWER_SECONDS, Totals};

const NONE: ([i64; ANSWER_SECONDS.len() + 1], i64) = ([0; ANSWER_SECONDS.len() + 1], 0);

/// How many low scores are being followed, and how long each step took.
pub(super) fn families(
    totals: &[Arc<Totals>],
    placed: &Placed<'_>,
    unclosed: &[(String, FollowUpState, i64)],
) -> Vec<MetricFamily> {
    let own = OwnDesks::of(totals);
    let label = |desk: &str| own.label(desk).to_owned();
    let mut seconds: Histograms = BTreeMap::new();
    let each = totals.iter().flat_map(|totals| {
        let desk = &totals.desk;
        totals.sums.iter().map(move |total| (desk, total))
    });
    for (desk, total) in each {
        let step = match total.kind {
            EventKind::RatingLow => {
                // From the start: a counter that first appears as 1 has no increase that Prometheus could see.
                for step in ["taken", "told", "closed"] {
                    let labels = vec![("desk", label(desk)), ("step", step.to_owned())];
                    seconds.entry(labels).or_insert(NONE);
                }
                continue;
            }
            EventKind::FollowUpTaken => "taken",
            EventKind::FollowUpTold => "told",
            EventKind::FollowUpClosed => "closed",
            EventKind::RequestScheduled
            | EventKind::RequestSuppressed
            | EventKind::RequestSent
            | EventKind::RequestDelivered
            | EventKind::RequestReached
            | EventKind::RequestExpired
            | EventKind::RequestFailed
            | EventKind::RequestCancelled
            | EventKind::RatingCreated
            | EventKind::RatingChanged
            | EventKind::RatingCommented
            | EventKind::RatingAuto
            | EventKind::RatingSuspect
            | EventKind::RatingExcluded
            | EventKind::RatingRestored
            | EventKind::ContactOptedOut
            | EventKind::ContactOptedIn
            | EventKind::ReplyUnrecognized
            | EventKind::DeliveryLost => continue,
        };
        let labels = vec![("desk", label(desk)), ("step", step.to_owned())];
        let (buckets, sum) = seconds.entry(labels).or_insert(NONE);
        if let Some(bucket) = total.bucket.and_then(|bucket| buckets.get_mut(bucket)) {
            *bucket += total.count;
        }
        *sum += total.elapsed_ms;
    }
    let mut open: BTreeMap<Labels, i64> = BTreeMap::new();
    for desk in own.iter() {
        for state in ["open", "taken"] {
            open.entry(vec![("desk", desk.to_owned()), ("state", state.to_owned())])
                .or_default();
        }
    }
    for (desk, state, count) in unclosed {
        let labels = vec![("desk", label(desk)), ("state", state.as_str().to_owned())];
        *open.entry(labels).or_default() += count;
    }
    let mut low: Vec<(Labels, i64)> = Vec::new();
    for (place, totals) in placed {
        let low_here = sums(totals).filter(|total| total.kind == EventKind::RatingLow);
        low.push((place.labels(), low_here.map(|total| total.count).sum()));
    }
    let mut families = vec![
        counters(
            "onefive_low_ratings_total",
            "Scores so low that somebody should care. One that is corrected and low again counts again.",
            low,
        ),
        gauges(
            "onefive_follow_ups",
            "Low scores that are not closed: nobody has it, or somebody has taken it.",
            open,
        ),
        histogram(
            "onefive_follow_up_seconds",
            "Seconds from a low score until somebody took it, told the customer, and closed it.",
            seconds,
        ),
    ];
    families.retain(|family| !family.get_metric().is_empty());
    families
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::request::Channel;
    use crate::domain::statistics::Total;
    use crate::http::totals::places::by_place;

    fn total(desk: usize, kinds: &[EventKind]) -> Totals {
        let total = |kind: &EventKind| Total {
            kind: *kind,
            entered: 0,
            reason: None,
            score: None,
            bucket: Some(1),
            count: 2,
            elapsed_ms: 40_000,
            first_at: 0,
        };
        Totals {
            desk: format!("d{desk}"),
            channel: Channel::named("sms"),
            touchpoint: String::new(),
            first_at: i64::try_from(desk).unwrap(),
            sums: kinds.iter().map(total).collect(),
        }
    }

    #[test]
    fn each_step_has_its_time_and_desks_are_bounded() {
        let all = [
            EventKind::RatingLow,
            EventKind::FollowUpTaken,
            EventKind::FollowUpClosed,
        ];
        let totals = (0..150).map(|n| total(n, if n == 0 { &all } else { &all[..1] }));
        let totals: Vec<Arc<Totals>> = totals.map(Arc::new).collect();
        let unclosed = |desk: usize| (format!("d{desk}"), FollowUpState::Open, 3);
        let text = prometheus::TextEncoder::new()
            .encode_to_string(&families(
                &totals,
                &by_place(&totals),
                &[unclosed(0), unclosed(120), unclosed(121)],
            ))
            .unwrap();
        for line in [
            r#"onefive_follow_ups{desk="d0",state="open"} 3"#,
            r#"onefive_follow_ups{desk="_other",state="open"} 6"#,
            r#"onefive_follow_ups{desk="d1",state="taken"} 0"#,
            r#"onefive_follow_up_seconds_sum{desk="d0",step="taken"} 40"#,
            r#"onefive_follow_up_seconds_bucket{desk="d0",step="closed",le="10"} 0"#,
            r#"onefive_follow_up_seconds_bucket{desk="d0",step="closed",le="30"} 2"#,
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
        assert!(!text.contains(r#"onefive_follow_ups{desk="d100""#));
    }
}
