//! Every family that is made of the database's figures. Who scrapes and who is pushed to get the same.

use std::collections::BTreeMap;

use prometheus::proto::MetricFamily;

use super::places::{OTHER, by_place};
use super::{Labels, epoch, gauges};
use crate::domain::time::Timestamp;
use crate::http::cared;
use crate::journey::Figures;

/// Paused desks with a line of their own.
const PAUSED_MAX: usize = 50;

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

/// The desks whose sending is paused; the others have no line. Should there be very many, the last of them share one.
fn paused(slugs: &[String]) -> MetricFamily {
    let own = slugs.iter().take(PAUSED_MAX).cloned();
    let shared = slugs.get(PAUSED_MAX).map(|_| OTHER.to_owned());
    let ones = own.chain(shared).map(|name| (vec![("desk", name)], 1));
    gauges(
        "onefive_desk_paused",
        "1 while sending of the desk is paused because its messages look pumped.",
        ones.collect::<BTreeMap<Labels, i64>>(),
    )
}
