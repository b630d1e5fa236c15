//! Who opens or posts a page of ours: network, user agent and the page's cookie. Only keyed hashes of these go further than the
//! journey.

use std::convert::Infallible;
use std::net::SocketAddr;

use axum::extract::{ConnectInfo, FromRequestParts};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, header};

use super::{Doors, header_text};
use crate::domain::view::{Visitor, network};

/// The cookie that recognises a browser at one link.
const COOKIE: &str = "onefive_page";
/// The longest user agent that is looked at. The rest tells no more.
const AGENT_MAX: usize = 400;

/// The visitor of a page.
pub(super) struct Visiting(pub(super) Visitor);

impl FromRequestParts<Doors> for Visiting {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, doors: &Doors) -> Result<Self, Infallible> {
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>();
        let agent = header_text(&parts.headers, header::USER_AGENT);
        Ok(Self(Visitor {
            network: peer.map_or_else(String::new, |peer| {
                network(doors.limits.client(peer.0.ip(), &parts.headers))
            }),
            agent: agent.chars().take(AGENT_MAX).collect(),
            cookie: cookie(&parts.headers).unwrap_or_default().to_owned(),
        }))
    }
}

/// The page's cookie, if it is one that we might have given.
fn cookie(headers: &HeaderMap) -> Option<&str> {
    let given = |value: &str| {
        (1..=32).contains(&value.len()) && value.bytes().all(|b| b.is_ascii_alphanumeric())
    };
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|header| header.to_str().ok())
        .flat_map(|header| header.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(name, value)| *name == COOKIE && given(value))
        .map(|(_, value)| value)
}

/// The header that gives the cookie: for this link alone, out of reach of scripts, and for as long as an answer may be corrected.
pub(super) fn remember(
    doors: &Doors,
    token: &str,
    cookie: &str,
    window_ms: i64,
) -> Option<HeaderValue> {
    let base = doors.base();
    let seconds = window_ms.max(60_000) / 1000;
    let secure = if doors.journey.rules.public_url.starts_with("https:") {
        "; Secure"
    } else {
        ""
    };
    let text = format!(
        "{COOKIE}={cookie}; Path={base}/r/{token}; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}"
    );
    HeaderValue::from_str(&text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cookie_is_found_among_others_and_must_look_like_ours() {
        let read = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::COOKIE, HeaderValue::from_str(text).unwrap());
            cookie(&headers).map(str::to_owned)
        };
        assert_eq!(read("a=1; onefive_page=Abc9; b=2").as_deref(), Some("Abc9"));
        let long = format!("onefive_page={}", "a".repeat(33));
        for other in [
            "",
            "onefive_page=",
            "onefive_page=a b",
            "xonefive_page=a",
            &long,
        ] {
            assert_eq!(read(other), None, "{other}");
        }
        assert_eq!(
            read("onefive_page=a-b; onefive_page=c").as_deref(),
            Some("c")
        );
    }
}
