//! How the privacy of contacts is kept, and who tries doors.

use prometheus::{IntCounter, IntCounterVec, IntGauge, Registry};

use super::counters;

/// Doors at which secrets are tried.
pub(super) const DOORS: [&str; 4] = ["page", "chat", "hook", "key"];
/// What is forgotten after its time.
pub(super) const FIELDS: [&str; 4] = ["address", "comment", "raw", "rating"];

/// How the privacy of contacts is kept, and who tries doors.
#[derive(Clone)]
pub struct Privacy {
    /// Values under an older key than the newest; -1 while they are being counted.
    pub outdated: IntGauge,
    /// Rows forgotten after their time, by field.
    pub forgotten: IntCounterVec,
    /// Links, tokens and keys that are not ours, by door.
    pub misses: IntCounterVec,
    /// Of these, those of a network that had tried too often, by door.
    pub misses_limited: IntCounterVec,
    /// Calls of the API refused because the key made too many.
    pub calls_limited: IntCounter,
}

impl Privacy {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let outdated = IntGauge::new(
            "onefive_sealed_values_outdated",
            "Values sealed with an older key than the newest, as seen by the replica that seals them anew; 0 when that is done, -1 while they are being counted.",
        )?;
        registry.register(Box::new(outdated.clone()))?;
        let calls_limited = IntCounter::new(
            "onefive_api_calls_limited_total",
            "Calls of the API refused because the key made too many.",
        )?;
        registry.register(Box::new(calls_limited.clone()))?;
        let counters = |name, help, labels: &[&str]| counters(registry, name, help, labels);
        let forgotten = counters(
            "onefive_forgotten_total",
            "Rows in which something was forgotten after its time, by field.",
            &["field"],
        )?;
        let misses = counters(
            "onefive_misses_total",
            "Links, tokens and API keys presented that are not ours, by door.",
            &["door"],
        )?;
        let misses_limited = counters(
            "onefive_misses_limited_total",
            "Misses answered with 429 because their network had made too many, by door.",
            &["door"],
        )?;
        for field in FIELDS {
            forgotten.with_label_values(&[field]);
        }
        for door in DOORS {
            misses.with_label_values(&[door]);
            misses_limited.with_label_values(&[door]);
        }
        Ok(Self {
            outdated,
            forgotten,
            misses,
            misses_limited,
            calls_limited,
        })
    }
}
