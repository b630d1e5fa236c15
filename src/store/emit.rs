//! Writing events: what happened, with the columns that are counted and the words that were said.

use std::sync::atomic::Ordering;

use super::bulk::{Unplaced, owned};
use super::dialect::Value;
use super::row::{place, reason_word};
use super::sql::Inner;
use super::tx::Tx;
use crate::domain::event::{Event, EventKind};
use crate::domain::id::{DeskId, EventId, RequestId};
use crate::domain::rating::Score;
use crate::domain::request::{Channel, Request};
use crate::domain::statistics::answer_bucket;
use crate::domain::time::Timestamp;

/// What an event says besides which request it is about.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Said<'a> {
    /// The states entered by it, see [`Event::entered`].
    pub(super) entered: i64,
    /// The score, if it is about a rating.
    pub(super) score: Option<Score>,
    /// The score that counted before a correction.
    pub(super) before: Option<Score>,
    /// Milliseconds that it took.
    pub(super) elapsed_ms: Option<i64>,
    /// The contact's own words; empty for none.
    pub(super) words: &'a str,
}

impl Inner {
    /// Writes an event about a request.
    pub(super) fn emit(
        &self,
        tx: &mut Tx,
        request: &Request,
        kind: EventKind,
        entered: i64,
        now: Timestamp,
    ) {
        self.emit_rated(tx, request, kind, entered, None, now);
    }

    /// Writes an event about a rating: its score, and the answer time where it is the first answer.
    pub(super) fn emit_rated(
        &self,
        tx: &mut Tx,
        request: &Request,
        kind: EventKind,
        entered: i64,
        rated: Option<(Score, i64)>,
        now: Timestamp,
    ) {
        let said = Said {
            entered,
            score: rated.map(|(score, _)| score),
            elapsed_ms: rated.map(|(_, elapsed)| elapsed),
            ..Said::default()
        };
        self.emit_said(tx, request, kind, said, now);
    }

    /// Writes an event with all that it says. Words are sealed: whoever is told of the event reads them, and they can be forgotten.
    pub(super) fn emit_said(
        &self,
        tx: &mut Tx,
        request: &Request,
        kind: EventKind,
        said: Said<'_>,
        now: Timestamp,
    ) {
        let event = Event {
            id: self.event_id(now),
            desk: request.desk,
            request: request.id,
            kind,
            at: now,
            channel: request.channel.clone(),
            touchpoint: request.attribution.touchpoint.clone(),
            entered: said.entered,
            reason: request.reason,
            score: said.score,
            elapsed_ms: said.elapsed_ms,
            before: said.before,
        };
        let detail = if said.words.is_empty() {
            Vec::new()
        } else {
            let place = place("events.detail", event.desk, event.id.uuid());
            self.keys
                .seal(self.entropy.as_ref(), &place, said.words.as_bytes())
        };
        push(tx, &event, &detail);
    }

    /// The identifier of an event that happens now.
    pub(super) fn event_id(&self, now: Timestamp) -> EventId {
        let made = self.made.fetch_add(1, Ordering::Relaxed);
        EventId::new(now, in_order(made, self.random()))
    }

    /// Writes an event that is about no request: a desk's own change of its opt-outs.
    pub(super) fn emit_about(
        &self,
        tx: &mut Tx,
        desk: DeskId,
        channel: &Channel,
        kind: EventKind,
        now: Timestamp,
    ) {
        let event = Event {
            id: self.event_id(now),
            desk,
            request: RequestId::from_uuid(uuid::Uuid::nil()),
            kind,
            at: now,
            channel: channel.clone(),
            touchpoint: String::new(),
            entered: 0,
            reason: None,
            score: None,
            elapsed_ms: None,
            before: None,
        };
        push(tx, &event, &[]);
    }
}

/// Inserts an event with the commit, where it gets its place. The score before a correction stands where a first answer has its bucket.
pub(super) fn push(tx: &mut Tx, event: &Event, detail: &[u8]) {
    let bucket = match (event.kind, event.before, event.elapsed_ms) {
        (EventKind::RatingChanged, before, _) => before.map_or(0, i64::from),
        (_, _, Some(elapsed)) => i64::try_from(answer_bucket(elapsed)).unwrap_or(-1),
        (..) => -1,
    };
    let row = owned(&[
        Value::Id(event.desk.uuid()),
        Value::Id(event.id.uuid()),
        Value::Id(event.request.uuid()),
        Value::Text(event.kind.as_str()),
        Value::Int(event.at.as_millis()),
        Value::Text(event.channel.as_str()),
        Value::Text(&event.touchpoint),
        Value::Int(event.entered),
        Value::Text(reason_word(event.reason)),
        Value::Int(event.score.map_or(0, i64::from)),
        Value::Int(bucket),
        Value::Int(event.elapsed_ms.unwrap_or(0)),
        Value::Bytes(detail),
    ]);
    let desk = event.desk.uuid();
    tx.pending.events.push(Unplaced { desk, row });
}

/// Events of one millisecond have identifiers in the order in which a process made them, so that a stream tells them in that order.
fn in_order(made: u32, mut random: [u8; 10]) -> [u8; 10] {
    let [a, b, c, d] = made.to_be_bytes();
    // The version takes the first 4 of these 80 bits, and the variant the 17th and 18th.
    let counted = [a << 2 | b >> 6, b << 2 | c >> 6, c & 0x3f, d];
    random[..4].copy_from_slice(&counted);
    random
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_of_one_millisecond_are_in_the_order_in_which_they_were_made() {
        let now = Timestamp::from_millis(1_700_000_000_000);
        // Every bit of the count that an identifier has room for.
        let made: Vec<EventId> = (0..1_u32 << 26)
            .step_by(1_021)
            .map(|n| EventId::new(now, in_order(n, [n.to_le_bytes()[0]; 10])))
            .collect();
        assert!(made.is_sorted());
        let mut once = made.clone();
        once.dedup();
        assert_eq!(once.len(), made.len());
    }
}
