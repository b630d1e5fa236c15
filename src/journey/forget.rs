//! What is known about people, and when it is forgotten: after its time, when a desk asks for it, and what is sealed with an old key
//! is sealed anew. The store does each in small steps; here they are repeated.

use super::Journey;
use super::duty::Duty;
use crate::domain::contact::Address;
use crate::domain::desk::Desk;
use crate::store::{Erased, Lease, StoreError};

/// Rows of one transaction: few enough not to hold up a reply.
const STEP: i64 = 200;
/// What the metric shows while values under older keys are being counted.
const UNCOUNTED: i64 = -1;

impl Journey {
    /// Erases a person at a desk: what is open is cancelled, scores stay and say nothing of anybody. Doing it again erases nothing.
    pub async fn erase(&self, desk: &Desk, address: &Address) -> Result<Erased, StoreError> {
        let mut all = Erased::default();
        loop {
            let now = self.clock.now();
            let step = self.store.erase(desk.id, address, now, STEP).await?;
            all = Erased {
                requests: all.requests + step.requests,
                cancelled: all.cancelled + step.cancelled,
                comments: all.comments + step.comments,
                replies: all.replies + step.replies,
                opt_outs: all.opt_outs + step.opt_outs,
            };
            if step.requests == 0 {
                return Ok(all);
            }
        }
    }

    /// One round of forgetting over every desk; whether there is more to do at once.
    pub async fn retain(&self) -> Result<bool, StoreError> {
        let mut more = false;
        for desk in self.store.desks().await? {
            let retention = &desk.settings.retention;
            let now = self.clock.now();
            let forgotten = self.store.retain(desk.id, retention, now, STEP).await?;
            let counter = &self.metrics.privacy.forgotten;
            for (field, n) in [
                ("address", forgotten.addresses),
                ("comment", forgotten.comments),
                ("raw", forgotten.raws),
                ("rating", forgotten.ratings),
            ] {
                counter.with_label_values(&[field]).inc_by(n);
            }
            more |= forgotten.more;
        }
        Ok(more)
    }

    /// One round of sealing anew over every desk; whether there is more to do at once. What is done for a key is noted at the duty,
    /// so that afterwards a round costs nothing.
    pub async fn reseal(&self, lease: Lease) -> Result<bool, StoreError> {
        let done = mark_of(&self.store.newest_key());
        let gauge = &self.metrics.privacy.outdated;
        if lease.mark == done {
            gauge.set(0);
            return Ok(false);
        }
        let (mut more, mut left) = (false, Some(0));
        for desk in self.store.desks().await? {
            let resealed = self.store.reseal(desk.id, STEP).await?;
            more |= resealed.more;
            left = left.zip(resealed.left).map(|(sum, n)| sum + n);
        }
        gauge.set(left.map_or(UNCOUNTED, |left| i64::try_from(left).unwrap_or(i64::MAX)));
        if !more && left == Some(0) {
            let name = Duty::Reseal.name();
            self.store.mark_duty(name, lease, done).await?;
        }
        Ok(more)
    }
}

/// A key's name as a mark: names have at most 16 letters and digits, and two keys of one file differ in them. FNV-1a.
fn mark_of(name: &str) -> i64 {
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    // Not 0, which is the mark of a duty that was never done.
    i64::try_from(hash >> 1).unwrap_or(1).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_has_a_mark_of_its_own() {
        let marks: std::collections::BTreeSet<i64> =
            (1..500).map(|n| mark_of(&format!("k{n}"))).collect();
        assert_eq!(marks.len(), 499);
        assert!(marks.iter().all(|mark| *mark > 0));
    }
}
