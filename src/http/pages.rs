//! `/r/{token}` the rating page, `/u/{token}` the opt-out page, and the files that pages load.
//!
//! GET and HEAD never write: a mail scanner opens every link. The page posts a one-time value together with the sign of a
//! person; without JavaScript its button does.

use std::borrow::Cow;

use askama::Template;
use axum::Router;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::get;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Deserialize;
use serde_json::json;

use super::error::Problem;
use super::{Doors, Path, body, header_text};
use crate::channel::wording::{self, Wording};
use crate::clock::random;
use crate::domain::rating::{Score, ScoreError};
use crate::journey::{Opened, PressError};
use crate::web::{
    self, MessagePage, OptOutPage, OptOutTexts, Page, PageTexts, RatingPage, RatingState,
};

/// Our pages load our files and nothing else, run no inline script and are framed by nobody but the sandbox of ours.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'self'; \
     frame-src 'self'; frame-ancestors 'self'; base-uri 'none'",
);

pub(super) fn router() -> Router<Doors> {
    Router::new()
        .route("/r/{token}", get(show).post(rate))
        .route("/u/{token}", get(show_opt_out).post(opt_out))
        .route("/assets/{name}", get(asset))
}

#[derive(Deserialize)]
struct Chosen {
    #[serde(default)]
    s: String,
}

#[derive(Deserialize)]
struct Posted {
    #[serde(default)]
    view: String,
    #[serde(default)]
    score: String,
    #[serde(default)]
    comment: String,
    #[serde(default)]
    event: String,
}

async fn show(
    State(doors): State<Doors>,
    Path(token): Path<String>,
    chosen: Result<Query<Chosen>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, Problem> {
    let Some(opened) = doors.journey.open(&token).await? else {
        return Ok(not_found(&doors));
    };
    // A link that lost its choice on the way is still the way to the page.
    let chosen = chosen.ok().and_then(|Query(chosen)| chosen.s.parse().ok());
    Ok(html(
        StatusCode::OK,
        rating_page(&doors, &token, &opened, chosen),
    ))
}

async fn rate(
    State(doors): State<Doors>,
    Path(token): Path<String>,
    headers: HeaderMap,
    raw: Body,
) -> Result<Response, Problem> {
    let wants_json = header_text(&headers, header::ACCEPT).contains("application/json");
    body::expect_type(&headers, "application/x-www-form-urlencoded")?;
    let posted: Posted = body::form(&body::read(raw, body::SMALL, doors.body_deadline).await?)?;
    let score: Score = posted
        .score
        .parse()
        .map_err(|error: ScoreError| Problem::field("score", error))?;
    // `none` is what our script sends when something other than a person submitted the form.
    let by_person = matches!(
        posted.event.as_str(),
        "pointer" | "touch" | "key" | "scroll" | "button" | ""
    );
    let pressed = match doors
        .journey
        .tap(&token, &posted.view, score, &posted.comment, by_person)
        .await
    {
        Ok(pressed) => pressed,
        Err(PressError::Unknown) if wants_json => return Err(Problem::not_found()),
        Err(PressError::Unknown) => return Ok(not_found(&doors)),
        Err(PressError::Stale) => {
            let Some(opened) = doors.journey.open(&token).await? else {
                return if wants_json {
                    Err(Problem::not_found())
                } else {
                    Ok(not_found(&doors))
                };
            };
            let words = words(&opened);
            let texts = &words.page;
            if wants_json {
                return Err(Problem {
                    field: "view".to_owned(),
                    ..Problem::new("invalid_field", texts.stale.clone())
                });
            }
            return Ok(message(
                &doors,
                &opened,
                StatusCode::BAD_REQUEST,
                &texts.stale,
            ));
        }
        Err(PressError::Store(error)) => return Err(error.into()),
    };
    if !wants_json {
        // The answer to a post is a page of its own, so that reloading it does not post again.
        return Ok(Redirect::to(&format!("{}/r/{token}", doors.base())).into_response());
    }
    let Some(opened) = doors.journey.open(&token).await? else {
        return Err(Problem::not_found());
    };
    let words = words(&opened);
    let texts = &words.page;
    let answer = match pressed.rating {
        Some(rating) if pressed.taken => {
            let said = if posted.comment.trim().is_empty() {
                words.with_score(&texts.thanks, rating.score.get())
            } else {
                texts.thanks_comment.clone()
            };
            json!({ "state": "answered", "score": rating.score, "comment": rating.comment, "message": said })
        }
        _ => json!({ "state": "closed", "message": texts.closed }),
    };
    Ok(axum::Json(answer).into_response())
}

async fn show_opt_out(
    State(doors): State<Doors>,
    Path(token): Path<String>,
) -> Result<Response, Problem> {
    let Some(opened) = doors.journey.open(&token).await? else {
        return Ok(not_found(&doors));
    };
    Ok(html(
        StatusCode::OK,
        opt_out_page(&doors, &token, &opened, false),
    ))
}

/// The page's button, and the one click of a mail program (RFC 8058: `List-Unsubscribe=One-Click`, no cookies, no redirect).
async fn opt_out(
    State(doors): State<Doors>,
    Path(token): Path<String>,
    raw: Body,
) -> Result<Response, Problem> {
    // What is in the body does not matter; that it ends does.
    body::read(raw, body::SMALL, doors.body_deadline).await?;
    match doors.journey.opt_out_by_link(&token).await? {
        Some(opened) => Ok(html(
            StatusCode::OK,
            opt_out_page(&doors, &token, &opened, true),
        )),
        None => Ok(not_found(&doors)),
    }
}

/// A file. Its address has its version, so it may be kept for ever.
async fn asset(Path(name): Path<String>) -> Result<Response, Problem> {
    let asset = web::asset(&name).ok_or_else(Problem::not_found)?;
    Ok(file(asset, "public, max-age=31536000, immutable"))
}

pub(super) fn file(asset: &'static web::Asset, cache: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, asset.content_type),
        (header::CACHE_CONTROL, cache),
    ];
    (headers, asset.body).into_response()
}

/// Renders a page with the headers that every page has.
pub(super) fn html(status: StatusCode, page: askama::Result<String>) -> Response {
    let Ok(text) = page else {
        return Problem::new("internal", "").into_response();
    };
    let mut response = (status, text).into_response();
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/html; charset=utf-8"),
    );
    headers.insert(header::CONTENT_SECURITY_POLICY, POLICY);
    // The address of the page is a secret: it goes into no cache, no index and no Referer.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(
        header::REFERRER_POLICY,
        HeaderValue::from_static("no-referrer"),
    );
    headers.insert(
        "x-robots-tag",
        HeaderValue::from_static("noindex, nofollow"),
    );
    response
}

fn words(opened: &Opened) -> Cow<'static, Wording> {
    wording::for_request(&opened.request, &opened.desk.settings)
}

fn page<'a>(doors: &'a Doors, words: &'a Wording, title: &'a str, desk: &'a str) -> Page<'a> {
    // Every language we have is written from left to right.
    Page {
        base: doors.base(),
        lang: &words.tag,
        dir: "ltr",
        title,
        desk,
    }
}

fn rating_page(
    doors: &Doors,
    token: &str,
    opened: &Opened,
    chosen: Option<Score>,
) -> askama::Result<String> {
    let words = words(opened);
    let texts = &words.page;
    let agent = &opened.request.attribution.agent.name;
    let question = texts.question.about(agent, &opened.desk.name);
    let view = doors.journey.mint.view(
        token,
        doors.journey.clock.now(),
        random(doors.journey.entropy.as_ref()),
    );
    let state = match &opened.rating {
        Some(rating) => {
            let can_correct = opened.can_correct;
            RatingState::Answered {
                score: rating.score.get(),
                comment: &rating.comment,
                can_correct,
            }
        }
        None if opened.request.state.is_open() => RatingState::Open,
        None => RatingState::Closed,
    };
    let minutes = doors.journey.minutes_left(opened.rating.as_ref());
    let change = wording::fill(&texts.change, &[("minutes", &minutes.to_string())]);
    let thanks = match &opened.rating {
        Some(rating) => words.with_score(&texts.thanks, rating.score.get()),
        None => words.sms.thanks_full.clone(),
    };
    let opt_out = format!("/u/{token}");
    let scale = words.scale.each_ref().map(String::as_str);
    RatingPage {
        page: page(doors, &words, &texts.title, &opened.desk.name),
        agent: "",
        question: &question,
        scale,
        token,
        view: &view,
        chosen: chosen.map(Score::get),
        state,
        opt_out: &opt_out,
        texts: PageTexts {
            comment_label: &texts.comment_label,
            send: &texts.button,
            sending: &texts.sending,
            thanks: &thanks,
            your_answer: &texts.your_answer,
            change: &change,
            closed: &texts.closed,
            error: &texts.error,
            offline: &texts.offline,
            retry: &texts.retry,
            opt_out: &words.email.opt_out,
        },
    }
    .render()
}

fn opt_out_page(doors: &Doors, token: &str, opened: &Opened, done: bool) -> askama::Result<String> {
    let words = words(opened);
    let texts = &words.page;
    let desk = [("desk", opened.desk.name.as_str())];
    OptOutPage {
        page: page(doors, &words, &texts.opt_out_title, &opened.desk.name),
        token,
        done,
        texts: OptOutTexts {
            explain: &wording::fill(&texts.opt_out_question, &desk),
            confirm: &texts.opt_out_button,
            done: &wording::fill(&texts.opt_out_done, &desk),
        },
    }
    .render()
}

fn message(doors: &Doors, opened: &Opened, status: StatusCode, text: &str) -> Response {
    let words = words(opened);
    html(
        status,
        MessagePage {
            page: page(doors, &words, text, &opened.desk.name),
            body: "",
        }
        .render(),
    )
}

/// The same answer for every link that is not ours, whatever is wrong with it.
fn not_found(doors: &Doors) -> Response {
    let words = wording::of("");
    html(
        StatusCode::NOT_FOUND,
        MessagePage {
            page: page(doors, words, &words.page.not_found, ""),
            body: "",
        }
        .render(),
    )
}
