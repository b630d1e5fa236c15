//! Reports of sends, for a whole transaction at once: two statements for all of them, and their events.
//!
//! Only what is plain goes this way: a provider that took a first attempt of which nobody heard otherwise. Everything else is left
//! untouched for [`Inner::report`], which looks at each.

use std::collections::BTreeMap;

use super::dialect::{Row, Sql, Value};
use super::sql::Inner;
use super::tx::Tx;
use super::{Report, StoreError};
use crate::domain::delivery::Outcome;
use crate::domain::event::{Event, EventKind};
use crate::domain::id::{DeskId, RequestId};
use crate::domain::request::{Channel, State};
use crate::domain::time::Timestamp;

/// What a report says, as one word: desk, request, fence, instant and the provider's name for it.
macro_rules! told {
    (sqlite desk) => {
        "unhex(substr(json_each.value, 1, 32))"
    };
    (sqlite request) => {
        "unhex(substr(json_each.value, 33, 32))"
    };
    (sqlite fence) => {
        "cast(substr(json_each.value, 65, 20) as integer)"
    };
    (sqlite at) => {
        "cast(substr(json_each.value, 85, 20) as integer)"
    };
    (sqlite name) => {
        "substr(json_each.value, 105)"
    };
    (postgres desk) => {
        "cast(substr(w.v, 1, 32) as uuid)"
    };
    (postgres request) => {
        "cast(substr(w.v, 33, 32) as uuid)"
    };
    (postgres fence) => {
        "cast(substr(w.v, 65, 20) as bigint)"
    };
    (postgres at) => {
        "cast(substr(w.v, 85, 20) as bigint)"
    };
    (postgres name) => {
        "substr(w.v, 105)"
    };
}

/// For the word see `bulk`.
macro_rules! update {
    (sqlite) => {
        "update or fail "
    };
    (postgres) => {
        "update "
    };
}

/// What a callback or a sweep moved meanwhile, and what ended, is left.
macro_rules! taken {
    ($kind:tt $from:literal $delivery:literal) => {
        concat!(
            update!($kind), "requests set state = 'sent', sent_at = ", told!($kind at),
            ", delivery = 'accepted', delivery_code = '', lease_until = 0 from ", $from, " where requests.desk_id = ", told!($kind desk),
            " and requests.id = ", told!($kind request), " and requests.fence = ", told!($kind fence),
            " and requests.attempts = 1 and requests.state = 'scheduled' and ", $delivery, " = 'dispatching' \
             returning requests.desk_id, requests.id, requests.channel, requests.touchpoint"
        )
    };
}

const TAKEN: Sql = Sql::each(
    taken!(sqlite "json_each($1)" "requests.delivery"),
    taken!(postgres "unnest($1::text[]) w(v)" "requests.delivery || ''"),
);

/// The same as for one (see `settle`): what was settled before stays settled; an id is kept whenever it comes.
macro_rules! end {
    ($kind:tt $from:literal) => {
        concat!(
            update!($kind), "attempts set code = case when attempts.state in ('dispatching', 'unknown') then '' else attempts.code end, \
             check_at = case when attempts.state in ('dispatching', 'unknown') then 0 else attempts.check_at end, \
             state = case when attempts.state in ('dispatching', 'unknown') then 'accepted' else attempts.state end, \
             provider_id = case when attempts.provider_id = '' then ", told!($kind name), " else attempts.provider_id end, \
             ended_at = ", told!($kind at), " from ", $from, " where attempts.desk_id = ", told!($kind desk),
            " and attempts.request_id = ", told!($kind request), " and attempts.n = 1"
        )
    };
}

const END: Sql = Sql::each(
    end!(sqlite "json_each($1)"),
    end!(postgres "unnest($1::text[]) w(v)"),
);

#[cfg(test)]
pub(super) const STATEMENTS: &[(&str, Sql)] = &[("sent.taken", TAKEN), ("sent.end", END)];

impl Inner {
    /// Records those reports of a transaction that say that the provider took a first attempt which nobody heard of otherwise.
    /// `false` where one was left, untouched.
    pub(super) async fn report_plain(
        &self,
        tx: &mut Tx,
        all: &[&Report],
    ) -> Result<Vec<bool>, StoreError> {
        let mut words: BTreeMap<(DeskId, RequestId), (usize, String)> = BTreeMap::new();
        for (at, report) in all.iter().enumerate() {
            let plain = report.attempt == 1 && report.send_at.is_none();
            let (Outcome::Accepted { provider_id }, true) = (&report.outcome, plain) else {
                continue;
            };
            let (fence, now) = (report.fence, report.now.as_millis());
            if fence >= 0 && now >= 0 {
                let (desk, id) = (report.desk.uuid(), report.request.uuid());
                let word = format!(
                    "{}{}{fence:020}{now:020}{provider_id}",
                    desk.simple(),
                    id.simple()
                );
                words.insert((report.desk, report.request), (at, word));
            }
        }
        let mut recorded = vec![false; all.len()];
        if words.is_empty() {
            return Ok(recorded);
        }
        let texts: Vec<&str> = words.values().map(|(_, word)| word.as_str()).collect();
        let rows = tx.rows(TAKEN, &[Value::Words(&texts)]).await?;
        let mut ended = Vec::with_capacity(rows.len());
        for row in &rows {
            let desk = DeskId::from_uuid(row.id("desk_id")?);
            let id = RequestId::from_uuid(row.id("id")?);
            let Some((at, word)) = words.get(&(desk, id)) else {
                continue;
            };
            recorded[*at] = true;
            ended.push(word.as_str());
            self.emit_sent(tx, row, (desk, id), all[*at].now)?;
        }
        if !ended.is_empty() {
            tx.execute(END, &[Value::Words(&ended)]).await?;
        }
        Ok(recorded)
    }

    fn emit_sent(
        &self,
        tx: &mut Tx,
        row: &Row,
        (desk, request): (DeskId, RequestId),
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let event = Event {
            id: self.event_id(now),
            desk,
            request,
            kind: EventKind::RequestSent,
            at: now,
            channel: Channel::from_text(row.text("channel")?),
            touchpoint: row.text("touchpoint")?,
            entered: State::Scheduled.entered_by(State::Sent, false),
            reason: None,
            score: None,
            elapsed_ms: None,
            before: None,
        };
        super::emit::push(tx, &event, &[]);
        Ok(())
    }
}
