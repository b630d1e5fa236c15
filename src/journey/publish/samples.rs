//! The totals as samples: one replica writes them every so many seconds, and carries them in the order of time.
//!
//! The time of the last sample is the duty's mark, noted before anything is carried, so that time never goes back when another replica
//! takes over. What cannot be carried waits here, a bounded while; totals are true at every instant, so what is lost with a replica is
//! a point of a curve and never a count.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use crate::domain::time::Timestamp;
use crate::journey::Journey;
use crate::sink::{Carried, Samples};
use crate::store::{Lease, StoreError};

/// Samples that wait while the other side is away: half an hour at the usual pace. Then the oldest go.
const WAITING: usize = 120;

/// What waits, for each sink.
#[derive(Default)]
pub(super) struct Pushing(BTreeMap<&'static str, Queue>);

#[derive(Default)]
struct Queue {
    /// The time of the last sample.
    last: i64,
    waiting: VecDeque<Bytes>,
}

impl Journey {
    /// One round: a sample if it is time for one, and whatever waits.
    pub async fn tell_samples(&self, duty: &str, lease: Lease) -> Result<(), StoreError> {
        let mut pushing = self.publishing.pushing.lock().await;
        for (name, sink) in &self.publishing.samples {
            let queue = pushing.0.entry(name).or_default();
            queue.last = queue.last.max(lease.mark);
            let now = self.clock.now().as_millis();
            if now >= queue.last.saturating_add(sink.every_ms()) || queue.last == 0 {
                // Not ours any more: whoever has it now writes.
                if !self.store.mark_duty(duty, lease, now).await? {
                    queue.waiting.clear();
                    continue;
                }
                queue.last = now;
                let at = Timestamp::from_millis(now);
                let families = (self.publishing.families)(&self.figures().await?, at);
                queue.waiting.push_back(sink.write(&families, at));
                if queue.waiting.len() > WAITING {
                    queue.waiting.pop_front();
                    self.count(name, "dropped");
                }
            }
            self.carry_samples(name, sink.as_ref(), queue).await;
        }
        Ok(())
    }

    async fn carry_samples(&self, name: &'static str, sink: &dyn Samples, queue: &mut Queue) {
        let down = &self.metrics.streams.sink_down.with_label_values(&[name]);
        while let Some(body) = queue.waiting.front() {
            match sink.carry(body.clone()).await {
                Carried::Taken => {
                    down.set(0);
                    self.count(name, "ok");
                }
                Carried::Refused(error) => {
                    // Repeating what is wrong with it would only hold up what comes after.
                    tracing::warn!(sink = name, %error, "samples were refused");
                    self.count(name, "refused");
                }
                Carried::Later(error) => {
                    if down.get() == 0 {
                        tracing::warn!(sink = name, %error, "a sink takes no samples; they wait");
                    }
                    down.set(1);
                    self.count(name, "failed");
                    return;
                }
            }
            queue.waiting.pop_front();
        }
    }

    fn count(&self, name: &str, result: &str) {
        let published = &self.metrics.streams.published;
        published.with_label_values(&[name, result]).inc();
    }
}
