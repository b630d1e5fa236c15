//! `/r/{token}` the rating page, `/u/{token}` the opt-out page, and the files that pages load.
//!
//! GET and HEAD never write a rating: a mail scanner opens every link. They note that the page was opened; the page posts its
//! one-time value together with the sign of a person; without JavaScript its button does.

use std::borrow::Cow;

use askama::Template;
use axum::Router;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::get;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use serde::Deserialize;
use serde_json::json;

use super::error::Problem;
use super::visitor::{self, Visiting};
use super::{Doors, Path, body, header_text};
use crate::channel::wording::{self, Wording};
use crate::domain::grade::Proof;
use crate::domain::rating::{Score, ScoreError, clean_comment};
use crate::domain::view::ViewKind;
use crate::journey::{Opened, Posted, PressError, Pressed, Shown};
use crate::web::{self, MessagePage, Page, PageTexts, RatingPage, RatingState};

mod opt_out;

/// Our pages load our files and nothing else, run no inline script and are framed by nobody but the sandbox of ours.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'self'; \
     frame-src 'self'; frame-ancestors 'self'; base-uri 'none'",
);

pub(super) fn router() -> Router<Doors> {
    Router::new()
        .route("/r/{token}", get(show).post(rate))
        .route("/r/{token}/all", get(trap))
        .route("/u/{token}", get(opt_out::show).post(opt_out::post))
        .route("/assets/{name}", get(asset))
}

#[derive(Deserialize)]
struct Chosen {
    #[serde(default)]
    s: String,
}

#[derive(Deserialize)]
struct Form {
    #[serde(default)]
    view: String,
    #[serde(default)]
    score: String,
    #[serde(default)]
    comment: String,
    #[serde(default)]
    event: String,
    #[serde(default)]
    signs: String,
}

async fn show(
    State(doors): State<Doors>,
    Path(token): Path<String>,
    Visiting(visitor): Visiting,
    method: Method,
    chosen: Result<Query<Chosen>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, Problem> {
    // A link that lost its choice on the way is still the way to the page.
    let chosen = chosen.ok().and_then(|Query(chosen)| chosen.s.parse().ok());
    let kind = if method == Method::HEAD {
        ViewKind::Head
    } else {
        ViewKind::Page
    };
    let Some(shown) = doors.journey.show(&token, kind, chosen, &visitor).await? else {
        return Ok(not_found(&doors));
    };
    let page = html(StatusCode::OK, rating_page(&doors, &token, &shown, chosen));
    // Headers alone are no page, and nobody is to be known again by them.
    if kind == ViewKind::Head {
        return Ok(page);
    }
    Ok(remembered(
        page,
        &doors,
        &token,
        &shown.cookie,
        &shown.opened,
    ))
}

/// The link that nobody sees. Whoever follows it reads pages as programs do.
async fn trap(
    State(doors): State<Doors>,
    Path(token): Path<String>,
    Visiting(visitor): Visiting,
) -> Result<Response, Problem> {
    let journey = &doors.journey;
    journey.show(&token, ViewKind::Trap, None, &visitor).await?;
    Ok(not_found(&doors))
}

/// Gives the page's cookie, anew with every answer, so that it lasts until the time for corrections is over.
fn remembered(
    mut response: Response,
    doors: &Doors,
    token: &str,
    cookie: &str,
    opened: &Opened,
) -> Response {
    let usual_ms = doors.journey.rules.correction_ms;
    let window_ms = opened.desk.settings.answers.window_ms(usual_ms);
    if let Some(header) = visitor::remember(doors, token, cookie, window_ms) {
        response.headers_mut().insert(header::SET_COOKIE, header);
    }
    response
}

async fn rate(
    State(doors): State<Doors>,
    Path(token): Path<String>,
    Visiting(visitor): Visiting,
    headers: HeaderMap,
    raw: Body,
) -> Result<Response, Problem> {
    let wants_json = header_text(&headers, header::ACCEPT).contains("application/json");
    body::expect_type(&headers, "application/x-www-form-urlencoded")?;
    let form: Form = body::form(&body::read(raw, body::SMALL, doors.body_deadline).await?)?;
    let score: Score = form
        .score
        .parse()
        .map_err(|error: ScoreError| Problem::field("score", error))?;
    let posted = Posted {
        view: &form.view,
        score,
        comment: &form.comment,
        proof: Proof::parse(&form.event),
        noticed: &form.signs,
    };
    let pressed = doors.journey.tap(&token, &posted, &visitor).await;
    let opened = doors.journey.open(&token).await?;
    let (pressed, opened) = match (pressed, opened) {
        (Err(PressError::Store(error)), _) => return Err(error.into()),
        (Err(PressError::Unknown), _) | (_, None) if wants_json => {
            return Err(Problem::not_found());
        }
        (Err(PressError::Unknown), _) | (_, None) => return Ok(not_found(&doors)),
        (Err(PressError::Stale), Some(opened)) => return stale(&doors, &opened, wants_json),
        (Ok(pressed), Some(opened)) => (pressed, opened),
    };
    let response = if wants_json {
        axum::Json(answer(&opened, &pressed, score, &form.comment)).into_response()
    } else {
        // The answer to a post is a page of its own, so that reloading it does not post again. What is kept and not counted may
        // be pressed once more.
        let again = if pressed.held {
            format!("?s={}", score.get())
        } else {
            String::new()
        };
        Redirect::to(&format!("{}/r/{token}{again}", doors.base())).into_response()
    };
    if visitor.cookie.is_empty() {
        return Ok(response);
    }
    Ok(remembered(
        response,
        &doors,
        &token,
        &visitor.cookie,
        &opened,
    ))
}

/// What the page's script is told.
fn answer(opened: &Opened, pressed: &Pressed, score: Score, comment: &str) -> serde_json::Value {
    let words = words(opened);
    let texts = &words.page;
    match &pressed.rating {
        Some(rating) if pressed.taken || pressed.repeated => {
            let said = if comment.trim().is_empty() {
                words.with_score(&texts.thanks, rating.score.get())
            } else {
                texts.thanks_comment.clone()
            };
            json!({
                "state": "answered", "score": rating.score, "comment": rating.comment, "message": said,
                "repeated": pressed.repeated, "view": pressed.view,
            })
        }
        // Whoever it was is thanked, and not told what we think of them.
        None if pressed.held => json!({
            "state": "answered", "score": score, "comment": clean_comment(comment),
            "message": words.with_score(&texts.thanks, score.get()), "repeated": false, "view": pressed.view,
        }),
        Some(_) | None => json!({ "state": "closed", "message": texts.closed }),
    }
}

fn stale(doors: &Doors, opened: &Opened, wants_json: bool) -> Result<Response, Problem> {
    let text = &words(opened).page.stale;
    if wants_json {
        return Err(Problem {
            field: "view".to_owned(),
            ..Problem::new("invalid_field", text.clone())
        });
    }
    Ok(message(doors, opened, StatusCode::BAD_REQUEST, text))
}

/// A file. Its address has its version, so it may be kept for ever.
pub(super) async fn asset(Path(name): Path<String>) -> Result<Response, Problem> {
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
    shown: &Shown,
    chosen: Option<Score>,
) -> askama::Result<String> {
    let opened = &shown.opened;
    let words = words(opened);
    let texts = &words.page;
    let agent = &opened.request.attribution.agent.name;
    let question = texts.question.about(agent, &opened.desk.name);
    let state = match &opened.rating {
        Some(rating) => {
            let can_correct = opened.can_correct;
            RatingState::Answered {
                score: rating.score.get(),
                // The words are for who wrote them; the link may be in other hands.
                comment: if shown.own { &rating.comment } else { "" },
                can_correct,
            }
        }
        None if opened.request.state.is_open() && !opened.over => RatingState::Open,
        None => RatingState::Closed,
    };
    let minutes = doors
        .journey
        .minutes_left(&opened.desk, opened.rating.as_ref());
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
        view: &shown.view,
        auto_seconds: opened.desk.settings.answers.auto_seconds,
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
pub(super) fn not_found(doors: &Doors) -> Response {
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
