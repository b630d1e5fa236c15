//! Every family that is made of the database's figures. Who scrapes and who is pushed to get the same.

use std::collections::BTreeMap;

use prometheus::proto::MetricFamily;

use super::{Labels, by_place, epoch, gauges};
use crate::domain::time::Timestamp;
use crate::http::cared;
use crate::journey::Figures;

/// The families of these figures at an instant.
pub fn families(figures: &Figures, now: Timestamp) -> Vec<MetricFamily> {
    let placed = by_place(&figures.totals);
    let mut families = super::families(&figures.totals, &placed, &figures.backlog, now);
    families.extend(cared::families(&figures.totals, &placed, &figures.unclosed));
    families.push(epoch(figures.epoch_ms));
    if !figures.paused.is_empty() {
        families.push(paused(&figures.paused));
    }
    families
}

/// The desks whose sending is paused; the others have no line.
fn paused(slugs: &[String]) -> MetricFamily {
    let ones = slugs.iter().map(|slug| (vec![("desk", slug.clone())], 1));
    gauges(
        "onefive_desk_paused",
        "1 while sending of the desk is paused because its messages look pumped.",
        ones.collect::<BTreeMap<Labels, i64>>(),
    )
}
