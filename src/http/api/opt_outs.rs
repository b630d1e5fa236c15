//! `/v1/opt-outs`: who does not want to be asked, as a desk may see and change it.

#![expect(
    unused_qualifications,
    reason = "the macro that documents a path writes its parameters' type twice"
)]

use axum::Json;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::people::{Named, OptOutView, recognise, table};
use crate::domain::desk::Scope;
use crate::domain::opt_out::{EVERY_CHANNEL, NewOptOut, Origin, REASON_MAX};
use crate::domain::request::Channel;
use crate::http::error::Problem;
use crate::http::{Doors, Path, body, header_text};
use crate::store::{Lifted, OptOutCursor};

/// Entries of one page of JSON; a file may have more.
const PAGE_MAX: i64 = 200;
const PAGE_DEFAULT: i64 = 50;
const FILE_MAX: i64 = 10_000;

/// Which opt-outs.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Wanted {
    /// The `next` of an earlier page.
    cursor: Option<String>,
    /// Entries on the page: 1 to 200, 50 if not given; for CSV and JSON lines up to 10000, which is also what they have if it is not
    /// given.
    limit: Option<String>,
}

/// A page of opt-outs.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct OptOutList {
    /// Your own opt-outs, then those that hold for every desk and whose address you know. A page may have fewer than asked for.
    items: Vec<OptOutView>,
    /// The cursor of the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// What you say about it.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Said {
    /// The channel on which the contact is not to be asked: `sms`, `voice`, `chat`, `email`, or `*` for all of them, which is also
    /// what an empty text means.
    channel: String,
    /// Why, for yourself. At most 200 characters.
    reason: String,
}

/// The list, as JSON, CSV or JSON lines
///
/// Yours, and those that hold for every desk (STOP is said between two telephone numbers, which cannot tell desks apart) as far as one
/// of your requests has the address. By `Accept`: `application/json`, `text/csv` or `application/x-ndjson`; the two files carry the
/// address of the next page in a `Link` header with `rel="next"`.
#[utoipa::path(
    get, path = "/v1/opt-outs", tag = "contacts", params(Wanted),
    responses(
        (status = 200, body = OptOutList),
        (status = 400, description = "A parameter cannot be used", body = Problem),
        (status = 401, description = "No valid key", body = Problem),
        (status = 403, description = "The key lacks the scope `admin`", body = Problem),
        (status = 503, description = "Try again later", body = Problem),
    )
)]
pub(super) async fn list(
    State(doors): State<Doors>,
    headers: HeaderMap,
    wanted: Result<Query<Wanted>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, Problem> {
    let desk = doors.caller(&headers, Scope::Admin).await?;
    let Query(wanted) =
        wanted.map_err(|error| Problem::new("invalid_parameter", error.body_text()))?;
    let kind = table::wanted(header_text(&headers, header::ACCEPT));
    let (most, usual) = match kind {
        table::Kind::Json => (PAGE_MAX, PAGE_DEFAULT),
        table::Kind::Csv | table::Kind::Lines => (FILE_MAX, FILE_MAX),
    };
    let limit = limit(wanted.limit.as_deref(), most, usual)?;
    let after = wanted.cursor.as_deref().map(cursor).transpose()?;
    let store = &doors.journey.store;
    let page = store.opt_outs(desk.id, after.as_ref(), limit).await?;
    let next = page.next.as_ref().map(written);
    let items: Vec<OptOutView> = page.items.iter().map(OptOutView::new).collect();
    let text = match kind {
        table::Kind::Json => return Ok(Json(OptOutList { items, next }).into_response()),
        table::Kind::Csv => table::csv(&items)?,
        table::Kind::Lines => table::lines(&items)?,
    };
    let mut response = text.into_response();
    let headers = response.headers_mut();
    let media = HeaderValue::from_static(kind.media_type());
    headers.insert(header::CONTENT_TYPE, media);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let link = next.map(|next| format!("</v1/opt-outs?cursor={next}&limit={limit}>; rel=\"next\""));
    if let Some(link) = link.and_then(|link| HeaderValue::from_str(&link).ok()) {
        headers.insert(header::LINK, link);
    }
    Ok(response)
}

/// One address
#[utoipa::path(
    get, path = "/v1/opt-outs/{address}", tag = "contacts", params(("address" = String, Path, description = "A telephone number in E.164, a mail address, or with `channel=chat` a handle; percent-encoded"), Named),
    responses(
        (status = 200, description = "It is on the list", body = OptOutList),
        (status = 400, description = "It is no address", body = Problem),
        (status = 401, description = "No valid key", body = Problem),
        (status = 403, description = "The key lacks the scope `read`", body = Problem),
        (status = 404, description = "It is not on the list, as far as you may know", body = Problem),
        (status = 503, description = "Try again later", body = Problem),
    )
)]
pub(super) async fn one(
    State(doors): State<Doors>,
    headers: HeaderMap,
    Path(address): Path<String>,
    named: Result<Query<Named>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, Problem> {
    let desk = doors.caller(&headers, Scope::Read).await?;
    let address = recognise(&address, Named::channel(named)?.as_deref())?;
    let found = doors.journey.store.opt_outs_of(desk.id, &address).await?;
    if found.is_empty() {
        return Err(Problem::not_found());
    }
    let items = found.iter().map(OptOutView::new).collect();
    Ok(Json(OptOutList { items, next: None }).into_response())
}

/// Put an address on the list
///
/// Doing it again changes nothing. Without a channel it holds on every channel. What is not sent yet is not sent any more.
#[utoipa::path(
    put, path = "/v1/opt-outs/{address}", tag = "contacts", request_body = Option<Said>,
    params(("address" = String, Path, description = "A telephone number in E.164, a mail address, or with `channel=chat` a handle; percent-encoded"), Named),
    responses(
        (status = 200, description = "It was on the list already", body = OptOutList),
        (status = 201, description = "It is on the list now", body = OptOutList),
        (status = 400, description = "It is no address, or a field cannot be used", body = Problem),
        (status = 401, description = "No valid key", body = Problem),
        (status = 403, description = "The key lacks the scope `send`", body = Problem),
        (status = 415, description = "The body is not application/json", body = Problem),
        (status = 503, description = "Try again later", body = Problem),
    )
)]
pub(super) async fn put(
    State(doors): State<Doors>,
    headers: HeaderMap,
    Path(address): Path<String>,
    named: Result<Query<Named>, axum::extract::rejection::QueryRejection>,
    raw: Body,
) -> Result<Response, Problem> {
    let desk = doors.caller(&headers, Scope::Send).await?;
    let named = Named::channel(named)?;
    let bytes = body::read(raw, body::LARGE, doors.body_deadline).await?;
    let said: Said = if bytes.is_empty() {
        Said::default()
    } else {
        body::expect_type(&headers, "application/json")?;
        body::json(&bytes)?
    };
    let address = recognise(&address, named.as_deref())?;
    let channel = match (said.channel.as_str(), named) {
        ("", named) => named.unwrap_or_else(|| EVERY_CHANNEL.to_string()),
        (said, Some(named)) if said != named => {
            return Err(Problem::field(
                "channel",
                "differs from the one of the query",
            ));
        }
        (said, _) => said.to_owned(),
    };
    let channel =
        super::people::channel(&channel).map_err(|error| Problem::field("channel", error))?;
    super::people::reason(&said.reason).map_err(|error| Problem::field("reason", error))?;
    let new = NewOptOut {
        channel,
        address,
        origin: Origin::Api,
        reason: said.reason,
    };
    let (store, now) = (&doors.journey.store, doors.journey.clock.now());
    let added = store
        .add_opt_outs(desk.id, std::slice::from_ref(&new), now)
        .await?;
    let found = store.opt_outs_of(desk.id, &new.address).await?;
    let status = if added > 0 {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    let items = found.iter().map(OptOutView::new).collect();
    Ok((status, Json(OptOutList { items, next: None })).into_response())
}

/// Take an address off your list
///
/// Only what you put there yourself. What the contact said (STOP, the opt-out page, the mail program's button) or the provider reports
/// is taken back by the contact alone, with START: that is `409`.
#[utoipa::path(
    delete, path = "/v1/opt-outs/{address}", tag = "contacts",
    params(("address" = String, Path, description = "A telephone number in E.164, a mail address, or with `channel=chat` a handle; percent-encoded"), Named),
    responses(
        (status = 204, description = "It is off your list"),
        (status = 400, description = "It is no address", body = Problem),
        (status = 401, description = "No valid key", body = Problem),
        (status = 403, description = "The key lacks the scope `admin`", body = Problem),
        (status = 404, description = "It is not on the list", body = Problem),
        (status = 409, description = "The contact said it; nothing was changed", body = Problem),
        (status = 503, description = "Try again later", body = Problem),
    )
)]
pub(super) async fn remove(
    State(doors): State<Doors>,
    headers: HeaderMap,
    Path(address): Path<String>,
    named: Result<Query<Named>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, Problem> {
    let desk = doors.caller(&headers, Scope::Admin).await?;
    let named = Named::channel(named)?;
    let address = recognise(&address, named.as_deref())?;
    let channel = named.map(Channel::from_text);
    let (store, now) = (&doors.journey.store, doors.journey.clock.now());
    match store
        .lift_opt_outs(desk.id, &address, channel.as_ref(), now)
        .await?
    {
        Lifted::Lifted(_) => Ok(StatusCode::NO_CONTENT.into_response()),
        Lifted::Nothing => Err(Problem::not_found()),
        Lifted::ByContact => Err(Problem::new("opted_out_by_contact", "")),
    }
}

/// The page size that the caller wants.
fn limit(text: Option<&str>, most: i64, usual: i64) -> Result<i64, Problem> {
    let Some(text) = text else { return Ok(usual) };
    let limit = text.parse().ok().filter(|limit| (1..=most).contains(limit));
    limit.ok_or_else(|| {
        Problem::parameter("limit", format!("must be a whole number from 1 to {most}"))
    })
}

/// A cursor as text: which list, the hash, and behind it the channel.
fn written(cursor: &OptOutCursor) -> String {
    let list = [u8::from(cursor.every_desk)];
    hex::encode([&list[..], &cursor.hash, cursor.channel.as_bytes()].concat())
}

fn cursor(text: &str) -> Result<OptOutCursor, Problem> {
    let read = |bytes: Vec<u8>| {
        let (list, rest) = bytes.split_first()?;
        let (hash, channel) = rest.split_first_chunk::<16>()?;
        Some(OptOutCursor {
            every_desk: *list == 1,
            channel: String::from_utf8(channel.to_vec())
                .ok()
                .filter(|text| !text.contains('\0'))?,
            hash: *hash,
        })
    };
    let cursor = hex::decode(text).ok().and_then(read);
    cursor.ok_or_else(|| Problem::parameter("cursor", "must be the `next` of an earlier page"))
}

/// The longest reason, for the document.
const _: () = assert!(REASON_MAX == 200);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_reads_back_and_anything_else_is_refused() {
        let here = OptOutCursor {
            every_desk: true,
            channel: "sms".to_owned(),
            hash: [7; 16],
        };
        assert_eq!(cursor(&written(&here)).ok(), Some(here));
        for bad in ["", "00", "zz", "00ff", &"0".repeat(33)] {
            assert!(cursor(bad).is_err(), "{bad}");
        }
    }
}
