//! `/widget.js` and `/w/{token}`: the ask inside a chat. The token was given to the desk's chat in the answer to its trigger
//! and to nobody else; it is the proof. Other origins may call here, because the chat lives on the desk's own page.

use std::borrow::Cow;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Deserialize;
use serde_json::json;

use super::error::Problem;
use super::{Doors, Path, body, pages};
use crate::channel::{self, wording};
use crate::domain::rating::Score;
use crate::journey::{Opened, PressError};
use crate::web;

pub(super) fn router() -> Router<Doors> {
    Router::new()
        .route("/widget.js", get(widget))
        .route("/w/{token}", get(ask).post(press).options(preflight))
        .route("/w/{token}/shown", post(shown).options(preflight))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Press {
    score: Score,
    #[serde(default)]
    comment: String,
}

/// A desk embeds this address by hand, without a version, so it is looked at again every five minutes.
async fn widget() -> Result<Response, Problem> {
    let asset = web::asset("widget.js").ok_or_else(Problem::not_found)?;
    Ok(open_to_all(pages::file(asset, "public, max-age=300")))
}

async fn preflight() -> Response {
    open_to_all(StatusCode::NO_CONTENT.into_response())
}

async fn ask(State(doors): State<Doors>, Path(token): Path<String>) -> Response {
    open_to_all(match doors.journey.open(&token).await {
        Ok(Some(opened)) => axum::Json(view(&doors, &token, &opened)).into_response(),
        Ok(None) => Problem::not_found().into_response(),
        Err(error) => Problem::from(error).into_response(),
    })
}

async fn shown(State(doors): State<Doors>, Path(token): Path<String>) -> Response {
    open_to_all(match doors.journey.shown(&token).await {
        Ok(true) => StatusCode::NO_CONTENT.into_response(),
        Ok(false) => Problem::not_found().into_response(),
        Err(error) => Problem::from(error).into_response(),
    })
}

async fn press(
    State(doors): State<Doors>,
    Path(token): Path<String>,
    headers: HeaderMap,
    raw: Body,
) -> Response {
    open_to_all(
        taken(&doors, &token, &headers, raw)
            .await
            .unwrap_or_else(Problem::into_response),
    )
}

async fn taken(
    doors: &Doors,
    token: &str,
    headers: &HeaderMap,
    raw: Body,
) -> Result<Response, Problem> {
    let press: Press = body::call(headers, raw, body::SMALL, doors.body_deadline).await?;
    let (opened, pressed) = doors
        .journey
        .press(token, press.score, &press.comment)
        .await
        .map_err(|error| match error {
            PressError::Unknown | PressError::Stale => Problem::not_found(),
            PressError::Store(error) => error.into(),
        })?;
    let words = words(&opened);
    let answer = match pressed.rating {
        Some(rating) if pressed.taken => {
            let said = if press.comment.is_empty() {
                &words.chat.thanks
            } else {
                &words.page.thanks_comment
            };
            json!({ "state": "answered", "score": rating.score, "comment": rating.comment, "message": said })
        }
        _ => json!({ "state": "closed", "message": words.page.closed }),
    };
    Ok(axum::Json(answer).into_response())
}

fn view(doors: &Doors, token: &str, opened: &Opened) -> serde_json::Value {
    let words = words(opened);
    let buttons: Vec<_> = channel::labels(&words)
        .into_iter()
        .map(|(score, label)| json!({ "score": score, "label": label }))
        .collect();
    let state = match &opened.rating {
        Some(_) if opened.can_correct => "answered",
        None if opened.request.state.is_open() && !opened.over => "open",
        Some(_) | None => "closed",
    };
    json!({
        "state": state,
        "text": words.chat.question.about(&opened.request.attribution.agent.name, &opened.desk.name),
        "buttons": buttons,
        "url": format!("{}/w/{token}", doors.journey.rules.public_url),
        "score": opened.rating.as_ref().map(|rating| rating.score),
        "comment": opened.rating.as_ref().map_or("", |rating| rating.comment.as_str()),
        "lang": words.tag,
        "texts": {
            "comment_label": words.chat.comment_label,
            "send": words.chat.send,
            "thanks": words.chat.thanks,
            "closed": words.page.closed,
            "error": words.page.error,
            "retry": words.page.retry,
        },
    })
}

fn words(opened: &Opened) -> Cow<'static, wording::Wording> {
    wording::for_request(&opened.request, &opened.desk.settings)
}

/// No cookie and no key is involved: whoever has the token may use it from anywhere, and nobody else can.
fn open_to_all(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_ORIGIN,
        HeaderValue::from_static("*"),
    );
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_METHODS,
        HeaderValue::from_static("GET, POST"),
    );
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_HEADERS,
        HeaderValue::from_static("content-type"),
    );
    headers.insert(
        header::ACCESS_CONTROL_MAX_AGE,
        HeaderValue::from_static("600"),
    );
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}
