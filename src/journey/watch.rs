//! The conversion watch as a duty: it counts each hour of each desk once the quick answers are in, and looks at what was sent
//! lately. When replies collapse and the numbers look pumped, sending of the desk is paused until somebody resumes it.
//!
//! Triggers are taken as before and wait, so nothing is lost but what expires meanwhile; when sending goes on, what waited is
//! decided again.

use super::Journey;
use super::duty::Duty;
use crate::domain::desk::Desk;
use crate::domain::id::DeskId;
use crate::domain::time::Timestamp;
use crate::domain::watch::{Sent, Usual, judge};
use crate::store::{Lease, StoreError};

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;
/// An answer within this time is a quick one; an ask is judged no earlier.
const SOON_MS: i64 = 30 * MINUTE_MS;
/// The stretch that is looked at.
const LATELY_MS: i64 = 2 * HOUR_MS;
/// Asks of a stretch that are looked at, at most: the newest.
const MOST: i64 = 5_000;
/// Hours that are counted in one round, at most.
const HOURS: i64 = 3;
/// The hours before with which the last ones are compared.
const WEEK: i64 = 7 * 24;

impl Journey {
    /// One round over every desk; how many were paused.
    pub async fn watch(&self) -> Result<usize, StoreError> {
        match self.hold(Duty::Watch).await? {
            Some(lease) => self.watch_on(lease).await.map(|(paused, _)| paused),
            None => Ok(0),
        }
    }

    /// One round; how many desks were paused, and whether there are more hours to count.
    pub(super) async fn watch_on(&self, lease: Lease) -> Result<(usize, bool), StoreError> {
        let now = self.clock.now();
        let desks = self.store.desks().await?;
        let more = self.count_hours(lease, &desks, now).await?;
        let until = now.plus_millis(-SOON_MS);
        let from = until.plus_millis(-LATELY_MS);
        let mut paused = 0;
        for desk in desks {
            let settings = &desk.settings.watch;
            if !settings.enabled || desk.paused.is_some() {
                continue;
            }
            // Whoever resumed it has seen what was sent before.
            let begin = desk.resumed_at.map_or(from, |resumed| resumed.max(from));
            let lately = self.sent(desk.id, begin, until).await?;
            if (lately.len() as u64) < u64::from(settings.min_sends) {
                continue;
            }
            let last = hour(from);
            let usual = self.store.usual(desk.id, last - WEEK, last).await?;
            let Some(reason) = judge(settings, &usual, &lately) else {
                continue;
            };
            if self.store.pause(desk.id, &reason, now).await? {
                self.metrics.desk_pauses.inc();
                tracing::warn!(
                    desk = desk.slug,
                    reason,
                    "sending is paused until it is resumed at POST /v1/desk/resume"
                );
                paused += 1;
            }
        }
        Ok((paused, more))
    }

    /// Counts the hours that are over, and half an hour more. A new installation begins with the last one.
    async fn count_hours(
        &self,
        lease: Lease,
        desks: &[Desk],
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let over = hour(now.plus_millis(-SOON_MS));
        // What is older than a week is compared with nothing.
        let first = if lease.mark == 0 {
            over - 1
        } else {
            lease.mark.max(over - WEEK)
        };
        let end = over.min(first + HOURS);
        for counted in first..end {
            let from = Timestamp::from_millis(counted * HOUR_MS);
            for desk in desks {
                let sent = self.sent(desk.id, from, from.plus_millis(HOUR_MS)).await?;
                if !sent.is_empty() {
                    let usual = Usual::of(&sent);
                    self.store.note_hour(desk.id, counted, &usual).await?;
                }
            }
        }
        if end > lease.mark {
            let name = Duty::Watch.name();
            self.store.mark_duty(name, lease, end).await?;
        }
        Ok(end < over)
    }

    /// What a desk sent to numbers in that time.
    async fn sent(
        &self,
        desk: DeskId,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<Sent>, StoreError> {
        self.store.sent_between(desk, from, to, SOON_MS, MOST).await
    }
}

/// The hour of an instant, since 1970.
const fn hour(at: Timestamp) -> i64 {
    at.as_millis().div_euclid(HOUR_MS)
}
