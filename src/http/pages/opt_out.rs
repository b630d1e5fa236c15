//! `/u/{token}`: the opt-out page and the one click of mail programs (RFC 8058). Opening it changes nothing, and neither does a
//! program that posts the page's form: its script and its one-time value tell.

use std::borrow::Cow;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use serde::Deserialize;

use super::super::error::Problem;
use super::super::visitor::Visiting;
use super::super::{Doors, Path, body};
use super::{html, not_found, page, words};
use crate::channel::wording::{self, Wording};
use crate::domain::desk::Desk;
use crate::domain::grade::Proof;
use crate::domain::view::{ViewKind, Visitor};
use crate::web::{OptOutPage, OptOutTexts};
use askama::Template as _;

#[derive(Default, Deserialize)]
struct Posted {
    #[serde(default)]
    view: String,
    #[serde(default)]
    event: String,
    #[serde(default)]
    signs: String,
}

pub(super) async fn show(
    State(doors): State<Doors>,
    Path(token): Path<String>,
    Visiting(visitor): Visiting,
) -> Result<Response, Problem> {
    shown(&doors, &token, &visitor).await
}

async fn shown(doors: &Doors, token: &str, visitor: &Visitor) -> Result<Response, Problem> {
    let shown = doors.journey.show(token, ViewKind::OptOut, None, visitor);
    if let Some(shown) = shown.await? {
        let words = words(&shown.opened);
        let desk = &shown.opened.desk;
        let page = render(doors, token, (&words, desk), &shown.view, false);
        return Ok(html(StatusCode::OK, page));
    }
    Ok(match doors.journey.old_link(token).await? {
        Some((desk, view)) => {
            let page = render(doors, token, (&own(&desk), &desk), &view, false);
            html(StatusCode::OK, page)
        }
        None => not_found(doors),
    })
}

/// The page's button, or the one click of a mail program.
pub(super) async fn post(
    State(doors): State<Doors>,
    Path(token): Path<String>,
    Visiting(visitor): Visiting,
    raw: Body,
) -> Result<Response, Problem> {
    let posted = body::read(raw, body::SMALL, doors.body_deadline).await?;
    let journey = &doors.journey;
    if is_one_click(&posted) {
        return Ok(match journey.opt_out_by_link(&token, true).await? {
            Some(opened) => done(&doors, &token, &words(&opened), &opened.desk),
            None => match journey.opt_out_by_old_link(&token, true).await? {
                Some(desk) => done(&doors, &token, &own(&desk), &desk),
                None => not_found(&doors),
            },
        });
    }
    let form: Posted = body::form(&posted).unwrap_or_default();
    let proof = Proof::parse(&form.event);
    let (view, signs) = (&form.view, &form.signs);
    let wish = journey.opt_out_by_page(&token, view, proof, signs, &visitor);
    if wish.await? {
        return Ok(match journey.open(&token).await? {
            Some(opened) => done(&doors, &token, &words(&opened), &opened.desk),
            None => not_found(&doors),
        });
    }
    let wish = journey.opt_out_by_old_page(&token, view, proof, signs, &visitor);
    match wish.await? {
        Some(desk) => Ok(done(&doors, &token, &own(&desk), &desk)),
        None => shown(&doors, &token, &visitor).await,
    }
}

/// The words of a desk for somebody of whom nothing is known.
fn own(desk: &Desk) -> Cow<'static, Wording> {
    wording::own(&desk.settings.wording, desk.settings.spoken(""), "")
}

fn done(doors: &Doors, token: &str, words: &Wording, desk: &Desk) -> Response {
    html(
        StatusCode::OK,
        render(doors, token, (words, desk), "", true),
    )
}

/// `List-Unsubscribe=One-Click`, which RFC 8058 lets come as a form of either encoding. No page of ours posts it.
fn is_one_click(posted: &[u8]) -> bool {
    let text = String::from_utf8_lossy(posted);
    text.contains("List-Unsubscribe") && text.contains("One-Click")
}

fn render(
    doors: &Doors,
    token: &str,
    (words, desk): (&Wording, &Desk),
    view: &str,
    done: bool,
) -> askama::Result<String> {
    let texts = &words.page;
    let name = [("desk", desk.name.as_str())];
    OptOutPage {
        page: page(doors, words, &texts.opt_out_title, &desk.name),
        token,
        view,
        done,
        texts: OptOutTexts {
            explain: &wording::fill(&texts.opt_out_question, &name),
            confirm: &texts.opt_out_button,
            done: &wording::fill(&texts.opt_out_done, &name),
        },
    }
    .render()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_click_comes_as_a_form_of_either_encoding() {
        assert!(is_one_click(b"List-Unsubscribe=One-Click"));
        let parts = b"--b\r\nContent-Disposition: form-data; name=\"List-Unsubscribe\"\r\n\r\nOne-Click\r\n--b--\r\n";
        assert!(is_one_click(parts));
        for other in [
            &b""[..],
            b"view=x&event=button",
            b"List-Unsubscribe=1",
            b"\xff",
        ] {
            assert!(!is_one_click(other));
        }
    }
}
