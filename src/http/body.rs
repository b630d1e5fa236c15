//! Reading bodies: bounded in size and in time, and the error says what was expected where.

use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::de::DeserializeOwned;

use super::error::Problem;
use crate::domain::strict::{self, Refused};

/// The most bytes of a body from a desk or a provider.
pub(super) const LARGE: usize = 64 * 1024;
/// The most bytes of a body from a page or a chat.
pub(super) const SMALL: usize = 16 * 1024;

/// The whole body. More than `limit` is 413, slower than `within` is 408.
pub(super) async fn read(body: Body, limit: usize, within: Duration) -> Result<Bytes, Problem> {
    match tokio::time::timeout(within, Limited::new(body, limit).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Problem::new(
            "too_large",
            format!("The body must not be longer than {limit} bytes."),
        )),
        Ok(Err(_)) => Err(incomplete()),
        Err(_) => Err(Problem::new("timeout", "")),
    }
}

/// The first `limit` bytes of the body. The rest is read too, so that the client gets its answer, and thrown away.
pub(super) async fn read_start(
    mut body: Body,
    limit: usize,
    within: Duration,
) -> Result<Bytes, Problem> {
    let mut kept = BytesMut::new();
    let reading = async {
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(|_| incomplete())?.into_data() else {
                continue;
            };
            let room = limit.saturating_sub(kept.len()).min(data.len());
            kept.extend_from_slice(&data[..room]);
        }
        Ok(())
    };
    match tokio::time::timeout(within, reading).await {
        Ok(read) => read.map(|()| kept.freeze()),
        Err(_) => Err(Problem::new("timeout", "")),
    }
}

fn incomplete() -> Problem {
    Problem::new("malformed_json", "The body ended before it was complete.")
}

/// Refuses a body of another media type than `expected`.
pub(super) fn expect_type(headers: &HeaderMap, expected: &'static str) -> Result<(), Problem> {
    let given = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let essence = given.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case(expected) {
        return Ok(());
    }
    Err(Problem::new(
        "unsupported_media_type",
        format!("Send Content-Type: {expected}."),
    ))
}

/// What a call sends: JSON that says it is, of at most `limit` bytes, as `T` (see [`json`]).
pub(super) async fn call<T: DeserializeOwned>(
    headers: &HeaderMap,
    body: Body,
    limit: usize,
    within: Duration,
) -> Result<T, Problem> {
    expect_type(headers, "application/json")?;
    json(&read(body, limit, within).await?)
}

/// JSON as `T`, without fields that `T` does not know. The error names the field by its path, and the place in the text where it is
/// no JSON at all.
pub(super) fn json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    // Serde would also read a list of values in the order of our fields, which nobody means.
    if bytes.trim_ascii_start().first() != Some(&b'{') {
        return Err(Problem::new(
            "malformed_json",
            "The body must be a JSON object.",
        ));
    }
    strict::json(bytes).map_err(refused)
}

fn refused(refused: Refused<serde_json::Error>) -> Problem {
    let detail = refused.to_string();
    let field = match refused {
        Refused::Wrong(_, error) | Refused::Whole(error) if !error.is_data() => {
            return Problem::new("malformed_json", error.to_string());
        }
        Refused::Unknown(field) | Refused::Wrong(field, _) => field,
        Refused::Whole(_) => String::new(),
    };
    Problem {
        field,
        ..Problem::new("invalid_field", detail)
    }
}

/// A form as `T`.
pub(super) fn form<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    serde_urlencoded::from_bytes(bytes)
        .map_err(|error| Problem::new("invalid_field", error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::trigger::Trigger;

    #[test]
    fn a_wrong_type_names_its_field() {
        let problem =
            json::<Trigger>(br#"{"channel":"sms","to":"x","conversation":"c","agent":{"name":7}}"#)
                .unwrap_err();
        assert_eq!(
            (problem.code, problem.field.as_str()),
            ("invalid_field", "agent.name")
        );
        let problem = json::<Trigger>(br#"{"channel":"sms","#).unwrap_err();
        assert_eq!(problem.code, "malformed_json");
        let problem = json::<Trigger>(br#"{"channel":"sms","to":"x"}"#).unwrap_err();
        assert!(problem.detail.contains("conversation"), "{problem:?}");
        let unknown = br#"{"channel":"sms","to":"x","conversation":"c","agent":{"colour":7}}"#;
        let problem = json::<Trigger>(unknown).unwrap_err();
        assert_eq!(
            (problem.code, problem.field.as_str()),
            ("invalid_field", "agent.colour")
        );
        for other in [
            &b"1"[..],
            b"",
            b" []",
            b"[\"sms\",\"+14155550123\",\"c\"]",
            b"{} {}",
        ] {
            assert!(json::<Trigger>(other).is_err());
        }
    }
}
