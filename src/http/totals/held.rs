//! Counters of answers that are kept and not counted, of scores that contacts corrected, of what managers did to ratings, and of asks
//! that waited in vain.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use prometheus::proto::MetricFamily;

use super::places::{OwnDesks, Placed, sums};
use super::{Labels, counters, with};
use crate::domain::event::{EventKind, WAITED};
use crate::domain::statistics::Totals;

/// The families; empty ones where nothing was counted yet.
pub(super) fn families(placed: &Placed<'_>) -> [MetricFamily; 3] {
    let mut held: BTreeMap<Labels, i64> = BTreeMap::new();
    let mut noted: BTreeMap<Labels, i64> = BTreeMap::new();
    let mut later: BTreeMap<Labels, i64> = BTreeMap::new();
    for (place, totals) in placed {
        let short = place.short();
        let count = |kind: EventKind| {
            let of_kind = sums(totals).filter(|total| total.kind == kind);
            of_kind.map(|total| total.count).sum::<i64>()
        };
        // From the start: a counter that first appears as 1 has no increase that Prometheus could see.
        for (kind, grade) in [
            (EventKind::RatingAuto, "auto"),
            (EventKind::RatingSuspect, "suspect"),
        ] {
            *held.entry(with(&short, &[("grade", grade)])).or_default() += count(kind);
        }
        let waited = sums(totals).filter(|total| total.entered & WAITED != 0);
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
pub(super) fn corrections(totals: &[Arc<Totals>]) -> MetricFamily {
    let own = OwnDesks::of(totals);
    let (mut rated, mut corrected) = (BTreeSet::new(), BTreeMap::new());
    for totals in totals {
        let desk = own.label(&totals.desk);
        let of_kind = |kind| totals.sums.iter().filter(move |total| total.kind == kind);
        if of_kind(EventKind::RatingCreated).next().is_some() {
            rated.insert(desk.to_owned());
        }
        for total in of_kind(EventKind::RatingChanged) {
            if let (Some(from), Some(to)) = (total.bucket, total.score) {
                let key = (desk.to_owned(), from, usize::from(to.get()));
                *corrected.entry(key).or_insert(0) += total.count;
            }
        }
    }
    // From the start: a counter that first appears as 1 has no increase that Prometheus could see.
    for desk in rated {
        for (from, to) in (1..=5).flat_map(|from| (1..=5).map(move |to| (from, to))) {
            if from != to {
                corrected.entry((desk.clone(), from, to)).or_default();
            }
        }
    }
    let corrected = corrected.into_iter().map(|((desk, from, to), count)| {
        let labels = vec![
            ("desk", desk),
            ("from", from.to_string()),
            ("to", to.to_string()),
        ];
        (labels, count)
    });
    counters(
        "onefive_rating_changes_total",
        "Scores corrected by the contact, by what they were and what they are.",
        corrected,
    )
}
