//! What is done about low scores, as Prometheus reads it. Pure: rows in, metric families out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use prometheus::proto::MetricFamily;

use super::totals::{Histograms, Labels, by_place, counters, gauges, histogram};
use crate::domain::event::EventKind;
use crate::domain::follow_up::FollowUpState;
use crate::domain::statistics::{ANSWER_SECONDS, Total};

/// Desks with series of their own; further ones share the label `_other`.
const DESKS_MAX: usize = 20;

const NONE: ([i64; ANSWER_SECONDS.len() + 1], i64) = ([0; ANSWER_SECONDS.len() + 1], 0);

/// How many low scores are being followed, and how long each step took.
pub(super) fn families(
    totals: &[Arc<Total>],
    unclosed: &[(String, FollowUpState, i64)],
) -> Vec<MetricFamily> {
    let own = own_desks(totals);
    let label = |desk: &String| {
        if own.contains(&desk) {
            desk.clone()
        } else {
            "_other".to_owned()
        }
    };
    let mut seconds: Histograms = BTreeMap::new();
    for total in totals {
        let step = match total.kind {
            EventKind::RatingLow => {
                // From the start: a counter that first appears as 1 has no increase that Prometheus could see.
                for step in ["taken", "told", "closed"] {
                    let labels = vec![("desk", label(&total.desk)), ("step", step.to_owned())];
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
        let labels = vec![("desk", label(&total.desk)), ("step", step.to_owned())];
        let (buckets, sum) = seconds.entry(labels).or_insert(NONE);
        if let Some(bucket) = total.bucket.and_then(|bucket| buckets.get_mut(bucket)) {
            *bucket += total.count;
        }
        *sum += total.elapsed_ms;
    }
    let mut open: BTreeMap<Labels, i64> = BTreeMap::new();
    for desk in &own {
        for state in ["open", "taken"] {
            open.entry(vec![("desk", (*desk).clone()), ("state", state.to_owned())])
                .or_default();
        }
    }
    for (desk, state, count) in unclosed {
        let labels = vec![("desk", label(desk)), ("state", state.as_str().to_owned())];
        *open.entry(labels).or_default() += count;
    }
    let mut low: Vec<(Labels, i64)> = Vec::new();
    for (place, totals) in by_place(totals) {
        let totals = totals
            .iter()
            .filter(|total| total.kind == EventKind::RatingLow);
        low.push((place.labels(), totals.map(|total| total.count).sum()));
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

/// The desks with series of their own: those whose first event was earlier, so who has a series keeps it.
pub(super) fn own_desks(totals: &[Arc<Total>]) -> BTreeSet<&String> {
    let mut first: Vec<(i64, &String)> = Vec::new();
    let mut seen: BTreeMap<&String, usize> = BTreeMap::new();
    let mut last: Option<(&String, usize)> = None;
    for total in totals {
        // Those of one desk come one after the other, as a rule.
        let at = match last {
            Some((desk, at)) if *desk == total.desk => at,
            Some(_) | None => *seen.entry(&total.desk).or_insert(first.len()),
        };
        last = Some((&total.desk, at));
        match first.get_mut(at) {
            Some((first_at, _)) => *first_at = total.first_at.min(*first_at),
            None => first.push((total.first_at, &total.desk)),
        }
    }
    first.sort_by_key(|(first_at, _)| *first_at);
    let own = first.into_iter().take(DESKS_MAX);
    own.map(|(_, desk)| desk).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::request::Channel;

    fn total(desk: usize, kind: EventKind) -> Total {
        Total {
            desk: format!("d{desk}"),
            kind,
            channel: Channel::named("sms"),
            touchpoint: String::new(),
            entered: 0,
            reason: None,
            score: None,
            bucket: Some(1),
            count: 2,
            elapsed_ms: 40_000,
            first_at: 0,
        }
    }

    #[test]
    fn each_step_has_its_time_and_desks_are_bounded() {
        let more = [EventKind::FollowUpTaken, EventKind::FollowUpClosed];
        let totals = (0..150).map(|n| total(n, EventKind::RatingLow));
        let totals = totals.chain(more.map(|kind| total(0, kind)));
        let totals: Vec<Arc<Total>> = totals.map(Arc::new).collect();
        let unclosed = |desk: usize| (format!("d{desk}"), FollowUpState::Open, 3);
        let text = prometheus::TextEncoder::new()
            .encode_to_string(&families(
                &totals,
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
