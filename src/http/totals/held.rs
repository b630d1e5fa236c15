//! Counters of answers that are kept and not counted, of scores that contacts corrected, of what managers did to ratings, and of asks
//! that waited in vain.

use std::collections::BTreeMap;

use prometheus::proto::MetricFamily;

use super::{Labels, OTHER, Place, counters, with};
use crate::domain::event::{EventKind, WAITED};
use crate::domain::statistics::Total;
use crate::http::cared::own_desks;

/// The families; empty ones where nothing was counted yet.
pub(super) fn families(placed: &BTreeMap<Place<'_>, Vec<&Total>>) -> [MetricFamily; 3] {
    let mut held: BTreeMap<Labels, i64> = BTreeMap::new();
    let mut noted: BTreeMap<Labels, i64> = BTreeMap::new();
    let mut later: BTreeMap<Labels, i64> = BTreeMap::new();
    for (place, totals) in placed {
        let short = place.short();
        let count = |kind: EventKind| {
            let of_kind = totals.iter().filter(|total| total.kind == kind);
            of_kind.map(|total| total.count).sum::<i64>()
        };
        // From the start: a counter that first appears as 1 has no increase that Prometheus could see.
        for (kind, grade) in [
            (EventKind::RatingAuto, "auto"),
            (EventKind::RatingSuspect, "suspect"),
        ] {
            *held.entry(with(&short, &[("grade", grade)])).or_default() += count(kind);
        }
        let waited = totals.iter().filter(|total| total.entered & WAITED != 0);
        *later.entry(short.clone()).or_default() += waited.map(|total| total.count).sum::<i64>();
        for (kind, act) in [
            (EventKind::RatingExcluded, "excluded"),
            (EventKind::RatingRestored, "restored"),
        ] {
            *noted.entry(with(&short, &[("act", act)])).or_default() += count(kind);
        }
    }
    [
        counters(
            "onefive_held_answers_total",
            "Answers that no person is known to have given, kept and not counted, by grade.",
            held,
        ),
        counters(
            "onefive_rating_notes_total",
            "What managers did to ratings: excluded with a reason, or restored.",
            noted,
        ),
        counters(
            "onefive_suppressed_later_total",
            "Requests that were scheduled, waited, and were then suppressed: onefive_requests_total has them in both states, so conversations are scheduled plus suppressed less these.",
            later,
        ),
    ]
}

/// Corrections by the score before and the one after, for each desk.
pub(super) fn corrections(totals: &[Total]) -> MetricFamily {
    let own = own_desks(totals);
    let mut corrected: BTreeMap<Labels, i64> = BTreeMap::new();
    let scores = || (1..=5_usize).flat_map(|from| (1..=5).map(move |to| (from, to)));
    for total in totals {
        let desk = if own.contains(&total.desk) {
            &total.desk
        } else {
            OTHER
        };
        let labels = |from: usize, to: usize| -> Labels {
            vec![
                ("desk", desk.to_owned()),
                ("from", from.to_string()),
                ("to", to.to_string()),
            ]
        };
        match (total.kind, total.bucket, total.score) {
            // From the start: a counter that first appears as 1 has no increase that Prometheus could see.
            (EventKind::RatingCreated, ..) => {
                for (from, to) in scores().filter(|(from, to)| from != to) {
                    corrected.entry(labels(from, to)).or_default();
                }
            }
            (EventKind::RatingChanged, Some(from), Some(to)) => {
                *corrected.entry(labels(from, to.get().into())).or_default() += total.count;
            }
            _ => {}
        }
    }
    counters(
        "onefive_rating_changes_total",
        "Scores corrected by the contact, by what they were and what they are.",
        corrected,
    )
}
