//! Counters of answers that are kept and not counted, of what managers did to ratings, and of asks that waited in vain.

use std::collections::BTreeMap;

use prometheus::proto::MetricFamily;

use super::{Labels, counters, desk_and_channel, with};
use crate::domain::event::{EventKind, WAITED};
use crate::domain::statistics::Total;

/// The families; empty ones where nothing was counted yet.
pub(super) fn families(placed: &[(&Total, Labels)]) -> [MetricFamily; 3] {
    let mut held: BTreeMap<Labels, i64> = BTreeMap::new();
    let mut noted: BTreeMap<Labels, i64> = BTreeMap::new();
    let mut later: BTreeMap<Labels, i64> = BTreeMap::new();
    for (total, place) in placed {
        let short = desk_and_channel(place);
        for (kind, grade) in [
            (EventKind::RatingAuto, "auto"),
            (EventKind::RatingSuspect, "suspect"),
        ] {
            let count = if kind == total.kind { total.count } else { 0 };
            // From the start: a counter that first appears as 1 has no increase that Prometheus could see.
            *held.entry(with(&short, &[("grade", grade)])).or_default() += count;
        }
        let waited = total.entered & WAITED != 0;
        *later.entry(short.clone()).or_default() += if waited { total.count } else { 0 };
        for (kind, act) in [
            (EventKind::RatingExcluded, "excluded"),
            (EventKind::RatingRestored, "restored"),
        ] {
            let count = if kind == total.kind { total.count } else { 0 };
            *noted.entry(with(&short, &[("act", act)])).or_default() += count;
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
