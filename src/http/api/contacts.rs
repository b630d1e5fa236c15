//! `/v1/contacts/{address}`: everything held about a person, to be given out or erased.

#![expect(
    unused_qualifications,
    reason = "the macro that documents a path writes its parameters' type twice"
)]

use axum::Json;
use axum::extract::{Query, State};
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, HeaderValue, header};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::people::{Named, OptOutView, recognise};
use super::view::RequestView;
use super::{limit, next};
use crate::domain::desk::Scope;
use crate::domain::follow_up::FollowUp;
use crate::domain::time::Timestamp;
use crate::domain::trigger::MailThread;
use crate::http::error::Problem;
use crate::http::{Doors, Path};
use crate::store::{Attempt, Held, HeldReply};

/// Which part of it.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Wanted {
    /// The channel, where the address does not tell by itself: a chat's handle needs `chat`.
    channel: Option<String>,
    /// The `next` of an earlier page.
    cursor: Option<String>,
    /// Requests on the page: 1 to 200, 50 if not given.
    limit: Option<String>,
}

/// Everything held about a person.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ContactView {
    /// The address.
    #[schema(example = "+14155550123")]
    address: String,
    /// Its opt-outs, as far as you may know of them.
    opt_outs: Vec<OptOutView>,
    /// The requests made to it, in the order in which they were due, with all that belongs to them.
    requests: Vec<HeldView>,
    /// The cursor of the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// A request with everything that belongs to it.
#[derive(Debug, Serialize, ToSchema)]
struct HeldView {
    #[serde(flatten)]
    request: RequestView,
    /// What you called the person.
    #[serde(skip_serializing_if = "String::is_empty")]
    name: String,
    /// The person's language, as you said it.
    #[serde(skip_serializing_if = "String::is_empty")]
    language: String,
    /// The person's time zone, as you said it.
    #[serde(skip_serializing_if = "String::is_empty")]
    timezone: String,
    /// The mail thread that the ask continued.
    #[serde(skip_serializing_if = "Option::is_none")]
    mail: Option<MailThread>,
    /// What came back, as it came.
    replies: Vec<ReplyView>,
    /// The calls of providers.
    calls: Vec<CallView>,
    /// What was done about a low score.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    follow_ups: Vec<CareView>,
}

/// What was done about a low score.
#[derive(Debug, Serialize, ToSchema)]
struct CareView {
    /// The low score.
    #[schema(minimum = 1, maximum = 3)]
    score: u8,
    /// `open`, `taken` or `closed`.
    state: &'static str,
    /// What the person was told.
    #[serde(skip_serializing_if = "String::is_empty")]
    told_note: String,
    /// What came of it.
    #[serde(skip_serializing_if = "String::is_empty")]
    close_note: String,
    /// When the low score came.
    #[schema(value_type = String, format = DateTime)]
    opened_at: Timestamp,
    /// When the person was told.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    told_at: Option<Timestamp>,
    /// When it was closed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    closed_at: Option<Timestamp>,
}

/// A reply as it came.
#[derive(Debug, Serialize, ToSchema)]
struct ReplyView {
    /// `text`, `key`, `button`, `click` or `mail`.
    kind: String,
    /// How we know that the contact gave it.
    grade: String,
    /// What it did.
    effect: String,
    /// Exactly what was written or pressed; absent once forgotten.
    #[serde(skip_serializing_if = "String::is_empty")]
    raw: String,
    /// When it came.
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
}

/// A call of a provider.
#[derive(Debug, Serialize, ToSchema)]
struct CallView {
    /// The provider.
    provider: String,
    /// The provider's id of the message.
    #[serde(skip_serializing_if = "String::is_empty")]
    id: String,
    /// How far it has come.
    state: &'static str,
    /// When it began.
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
}

/// What was erased.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ErasedView {
    /// Requests that name nobody any more.
    requests: u64,
    /// Of these, those that were open and are cancelled now.
    cancelled: u64,
    /// Comments.
    comments: u64,
    /// Raw replies.
    replies: u64,
    /// Addresses in your list of opt-outs. The opt-outs stay, as keyed hashes.
    opt_outs: u64,
}

/// Give out everything held about a person
///
/// Everything that you hold under this address, in clear: for a person who asks what is known. Nothing of other desks.
#[utoipa::path(
    get, path = "/v1/contacts/{address}", tag = "contacts",
    params(("address" = String, Path, description = "A telephone number in E.164, a mail address, a call's id, or with `channel=chat` a handle; percent-encoded"), Wanted),
    responses(
        (status = 200, description = "Everything; empty lists if nothing is held", body = ContactView),
        (status = 400, description = "It is no address, or a parameter cannot be used", body = Problem),
        (status = 401, description = "No valid key", body = Problem),
        (status = 403, description = "The key lacks the scope `admin`", body = Problem),
        (status = 503, description = "Try again later", body = Problem),
    )
)]
pub(super) async fn export(
    State(doors): State<Doors>,
    headers: HeaderMap,
    Path(address): Path<String>,
    wanted: Result<Query<Wanted>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, Problem> {
    let desk = doors.caller(&headers, Scope::Admin).await?;
    let Query(wanted) =
        wanted.map_err(|error| Problem::new("invalid_parameter", error.body_text()))?;
    if let Some(name) = &wanted.channel {
        super::people::channel(name).map_err(|error| Problem::parameter("channel", error))?;
    }
    let address = recognise(&address, wanted.channel.as_deref())?;
    let after = wanted.cursor.as_deref().map(cursor).transpose()?;
    let limit = limit(wanted.limit.as_deref())?;
    let store = &doors.journey.store;
    let opt_outs = store.opt_outs_of(desk.id, &address).await?;
    let mut held = store.held(desk.id, &address, after, limit + 1).await?;
    let next = next(&mut held, limit, written);
    let view = ContactView {
        address: address.expose().to_owned(),
        opt_outs: opt_outs.iter().map(OptOutView::new).collect(),
        requests: held.into_iter().map(HeldView::new).collect(),
        next,
    };
    let mut response = Json(view).into_response();
    let never = HeaderValue::from_static("no-store");
    response.headers_mut().insert(header::CACHE_CONTROL, never);
    Ok(response)
}

/// Erase a person
///
/// Open requests are cancelled and what waits to be sent is not sent. Scores stay and say nothing of anybody, so no total changes; an
/// opt-out stays as a keyed hash, so that it is still obeyed. What was noted in follow-ups and given as a reason for taking a rating out
/// goes too; that it was done stays. Doing it again erases nothing.
#[utoipa::path(
    delete, path = "/v1/contacts/{address}", tag = "contacts",
    params(("address" = String, Path, description = "A telephone number in E.164, a mail address, a call's id, or with `channel=chat` a handle; percent-encoded"), Named),
    responses(
        (status = 200, description = "It is erased", body = ErasedView),
        (status = 400, description = "It is no address", body = Problem),
        (status = 401, description = "No valid key", body = Problem),
        (status = 403, description = "The key lacks the scope `admin`", body = Problem),
        (status = 503, description = "Try again later; what is erased is erased", body = Problem),
    )
)]
pub(super) async fn erase(
    State(doors): State<Doors>,
    headers: HeaderMap,
    Path(address): Path<String>,
    named: Result<Query<Named>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, Problem> {
    let desk = doors.caller(&headers, Scope::Admin).await?;
    let address = recognise(&address, Named::channel(named)?.as_deref())?;
    let erased = doors.journey.erase(&desk, &address).await?;
    tracing::info!(desk = %desk.slug, requests = erased.requests, "a contact was erased");
    Ok(Json(ErasedView {
        requests: erased.requests,
        cancelled: erased.cancelled,
        comments: erased.comments,
        replies: erased.replies,
        opt_outs: erased.opt_outs,
    })
    .into_response())
}

impl HeldView {
    fn new(held: Held) -> Self {
        let request = held.request;
        Self {
            request: RequestView::new(&request, held.rating.as_ref()),
            name: request.contact.name,
            language: request.attribution.language,
            timezone: request.attribution.timezone,
            mail: request.mail,
            replies: held.replies.into_iter().map(ReplyView::new).collect(),
            calls: held.attempts.into_iter().map(CallView::new).collect(),
            follow_ups: held.follow_ups.into_iter().map(CareView::new).collect(),
        }
    }
}

impl CareView {
    fn new(follow_up: FollowUp) -> Self {
        Self {
            score: follow_up.score.get(),
            state: follow_up.state.as_str(),
            told_note: follow_up.told_note,
            close_note: follow_up.close_note,
            opened_at: follow_up.opened_at,
            told_at: follow_up.told_at,
            closed_at: follow_up.closed_at,
        }
    }
}

impl ReplyView {
    fn new(reply: HeldReply) -> Self {
        Self {
            kind: reply.kind,
            grade: reply.grade,
            effect: reply.effect,
            raw: reply.raw,
            at: reply.at,
        }
    }
}

impl CallView {
    fn new(attempt: Attempt) -> Self {
        Self {
            provider: attempt.provider,
            id: attempt.provider_id,
            state: attempt.state.as_str(),
            at: attempt.started_at,
        }
    }
}

/// A cursor as text: when the last request was due, and its identifier.
fn written(held: &Held) -> String {
    let (due, id) = (held.request.due_at.as_millis(), held.request.id.uuid());
    format!("{}{}", hex::encode(due.to_be_bytes()), id.simple())
}

fn cursor(text: &str) -> Result<(Timestamp, uuid::Uuid), Problem> {
    let bytes = hex::decode(text).unwrap_or_default();
    let parts = bytes.split_first_chunk::<8>();
    let read = parts.and_then(|(due, id)| {
        let due = Timestamp::from_millis(i64::from_be_bytes(*due));
        Some((due, uuid::Uuid::from_slice(id).ok()?))
    });
    read.ok_or_else(|| Problem::parameter("cursor", "must be the `next` of an earlier page"))
}
