//! Rows into nouns. What does not fit is corruption, and the error names the column.

use super::dialect::Row;
use super::{Attempt, KeyRing, StoreError};
use crate::domain::contact::{Address, Contact};
use crate::domain::delivery::{AttemptState, DeliveryState};
use crate::domain::event::EventKind;
use crate::domain::id::{DeskId, RatingId, RequestId};
use crate::domain::policy::Suppression;
use crate::domain::rating::{Exclusion, Grade, Rating, Score};
use crate::domain::request::{Channel, History, Request, State};
use crate::domain::time::Timestamp;
use crate::domain::trigger::{Agent, AgentKind, Attribution, Context, Phase};

/// The columns of [`request`], for every statement that returns one.
macro_rules! request_columns {
    () => {
        "requests.desk_id, requests.id, requests.channel, requests.sender, requests.contact, requests.conversation, requests.resolution, requests.agent_id, requests.agent_name, \
         requests.agent_kind, requests.team, requests.queue, requests.touchpoint, requests.phase, requests.topic, requests.language, requests.timezone, requests.switches, requests.mail, \
         requests.metadata, requests.state, requests.reason, requests.created_at, requests.due_at, requests.expires_at, requests.sent_at, requests.delivered_at, requests.reached_at, \
         requests.answered_at, requests.ended_at, requests.delivery, requests.delivery_code, requests.attempts, requests.fence, requests.listening, \
         requests.listen_until, requests.next_at, requests.context, requests.planned_at, requests.held_back, requests.wording"
    };
}

/// The columns of [`rating`], under names that do not clash with a request's.
macro_rules! rating_columns {
    () => {
        "g.id as rating_id, g.request_id, g.score, g.grade, g.comment, g.answered_at as rated_at, g.changed_at, g.elapsed_ms, \
         g.client, g.excluded_at, g.excluded_by, g.excluded_reason"
    };
}

pub(super) use {rating_columns, request_columns};

pub(super) fn word<T>(
    row: &Row,
    column: &'static str,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<T, StoreError> {
    let text = row.text(column)?;
    parse(&text).ok_or_else(|| StoreError::Corrupt(format!("{column}: unknown word {text:?}")))
}

fn json<T: serde::de::DeserializeOwned>(text: &str, column: &'static str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|error| StoreError::Corrupt(format!("{column}: {error}")))
}

fn instant(row: &Row, column: &'static str) -> Result<Timestamp, StoreError> {
    row.int(column).map(Timestamp::from_millis)
}

pub(super) fn maybe(row: &Row, column: &'static str) -> Result<Option<Timestamp>, StoreError> {
    Ok(row.int(column).map(Timestamp::from_millis)?).map(|at| (at.as_millis() != 0).then_some(at))
}

/// Names the place of a sealed value: it opens only in the row that it was sealed for.
pub(super) fn place(column: &str, desk: DeskId, id: uuid::Uuid) -> Vec<u8> {
    [column.as_bytes(), desk.uuid().as_bytes(), id.as_bytes()].concat()
}

/// The word of an optional reason.
pub(super) fn reason_word(reason: Option<Suppression>) -> &'static str {
    reason.map_or("", Suppression::as_str)
}

/// Reads an optional reason.
pub(super) fn reason(row: &Row) -> Result<Option<Suppression>, StoreError> {
    word(row, "reason", |word| {
        if word.is_empty() {
            Some(None)
        } else {
            Suppression::parse(word).map(Some)
        }
    })
}

/// What an event or a total is of; `None` if a newer version wrote it and used a word, of a kind or of a reason, that this one does
/// not know.
pub(super) fn known_kind(row: &Row) -> Result<Option<EventKind>, StoreError> {
    let reason = row.text("reason")?;
    if !reason.is_empty() && Suppression::parse(&reason).is_none() {
        return Ok(None);
    }
    Ok(EventKind::parse(&row.text("kind")?))
}

/// The person of a request; nobody if it was erased.
pub(super) fn contact(
    keys: &KeyRing,
    desk: DeskId,
    id: RequestId,
    sealed: &[u8],
) -> Result<Contact, StoreError> {
    if sealed.is_empty() {
        return Ok(Contact {
            address: Address::none(),
            id: String::new(),
            name: String::new(),
            phone: None,
        });
    }
    let plain = keys.open(&place("requests.contact", desk, id.uuid()), sealed)?;
    serde_json::from_slice(&plain).map_err(|error| StoreError::Corrupt(format!("contact: {error}")))
}

pub(super) fn request(row: &Row, keys: &KeyRing) -> Result<Request, StoreError> {
    let desk = DeskId::from_uuid(row.id("desk_id")?);
    let id = RequestId::from_uuid(row.id("id")?);
    let sealed = row.bytes("contact")?;
    let contact = contact(keys, desk, id, &sealed)?;
    let mail = keys.open_text(&place("requests.mail", desk, id.uuid()), row.text("mail")?)?;
    let metadata = keys.open_text(
        &place("requests.metadata", desk, id.uuid()),
        row.text("metadata")?,
    )?;
    let context = row.text("context")?;
    let attribution = Attribution {
        agent: Agent {
            id: row.text("agent_id")?,
            name: row.text("agent_name")?,
            kind: word(row, "agent_kind", agent_kind)?,
            address: String::new(),
        },
        team: row.text("team")?,
        queue: row.text("queue")?,
        touchpoint: row.text("touchpoint")?,
        phase: word(row, "phase", phase)?,
        topic: row.text("topic")?,
        language: row.text("language")?,
        timezone: row.text("timezone")?,
        switches: u32::try_from(row.int("switches")?).unwrap_or_default(),
    };
    Ok(Request {
        desk,
        id,
        channel: Channel::from_text(row.text("channel")?),
        sender: row.text("sender")?,
        contact,
        conversation: row.text("conversation")?,
        resolution: row.text("resolution")?,
        attribution,
        wording: row.text("wording")?,
        mail: if mail.is_empty() {
            None
        } else {
            Some(json(&mail, "mail")?)
        },
        metadata: json(&metadata, "metadata")?,
        state: word(row, "state", State::parse)?,
        reason: reason(row)?,
        history: History {
            created_at: instant(row, "created_at")?,
            sent_at: maybe(row, "sent_at")?,
            delivered_at: maybe(row, "delivered_at")?,
            reached_at: maybe(row, "reached_at")?,
            answered_at: maybe(row, "answered_at")?,
            ended_at: maybe(row, "ended_at")?,
        },
        context: if context.is_empty() {
            Context::default()
        } else {
            json(&context, "context")?
        },
        due_at: instant(row, "due_at")?,
        planned_at: maybe(row, "planned_at")?,
        expires_at: instant(row, "expires_at")?,
        delivery: word(row, "delivery", DeliveryState::parse)?,
        attempts: row.int("attempts")?,
        delivery_code: row.text("delivery_code")?,
    })
}

/// What was read of a request, for whoever does many: one row that cannot be read is skipped, so that the others go on. Its values
/// stay out of the log.
pub(super) fn readable<T>(
    id: uuid::Uuid,
    read: Result<T, StoreError>,
) -> Result<Option<T>, StoreError> {
    match read {
        Ok(read) => Ok(Some(read)),
        Err(StoreError::Corrupt(text)) => {
            // Behind the column's name stands what was found in it.
            let what = text.split(':').next().unwrap_or_default();
            let request = RequestId::from_uuid(id);
            tracing::error!(%request, what, "a request cannot be read and is skipped");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

pub(super) fn attempt_state(row: &Row) -> Result<AttemptState, StoreError> {
    word(row, "state", AttemptState::parse)
}

pub(super) fn attempt(row: &Row) -> Result<Attempt, StoreError> {
    Ok(Attempt {
        n: row.int("n")?,
        provider: row.text("provider")?,
        provider_id: row.text("provider_id")?,
        state: attempt_state(row)?,
        started_at: instant(row, "started_at")?,
        body: row.bytes("body_hash")?.try_into().ok(),
        send_at: maybe(row, "send_at")?,
        looks: row.int("looks")?,
        absent: row.int("absent")?,
        absent_since: maybe(row, "absent_since")?,
    })
}

/// A rating of a desk.
pub(super) fn rating(row: &Row, keys: &KeyRing, desk: DeskId) -> Result<Rating, StoreError> {
    let id = row.id("rating_id")?;
    Ok(Rating {
        id: RatingId::from_uuid(id),
        request: RequestId::from_uuid(row.id("request_id")?),
        score: Score::try_from(row.int("score")?)
            .map_err(|error| StoreError::Corrupt(format!("score: {error}")))?,
        grade: word(row, "grade", Grade::parse)?,
        comment: keys.open_text(&place("ratings.comment", desk, id), row.text("comment")?)?,
        answered_at: instant(row, "rated_at")?,
        changed_at: instant(row, "changed_at")?,
        elapsed_ms: row.int("elapsed_ms")?,
        client: row.bytes("client")?.try_into().ok(),
        excluded: match maybe(row, "excluded_at")? {
            Some(at) => Some(Exclusion {
                at,
                by: row.text("excluded_by")?,
                reason: row.text("excluded_reason")?,
            }),
            None => None,
        },
    })
}

pub(super) const fn agent_kind_word(kind: AgentKind) -> &'static str {
    match kind {
        AgentKind::Human => "human",
        AgentKind::Bot => "bot",
    }
}

fn agent_kind(word: &str) -> Option<AgentKind> {
    [AgentKind::Human, AgentKind::Bot]
        .into_iter()
        .find(|kind| agent_kind_word(*kind) == word)
}

pub(super) const fn phase_word(phase: Phase) -> &'static str {
    match phase {
        Phase::Before => "before",
        Phase::During => "during",
        Phase::After => "after",
    }
}

fn phase(word: &str) -> Option<Phase> {
    [Phase::Before, Phase::During, Phase::After]
        .into_iter()
        .find(|phase| phase_word(*phase) == word)
}
