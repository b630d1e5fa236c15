//! The forms that we send, and the table of outcomes, row by row.

use std::collections::BTreeMap;

use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt;

use super::super::settings::tests::settings;
use super::*;
use crate::domain::contact::Address;
use crate::domain::request::Channel;

const CALL: &str = "CA0000000000000000000000000000000a";

fn parcel(channel: &'static str, to: Address, message: Message) -> Parcel {
    Parcel {
        channel: Channel::named(channel),
        from: "+14155550100".to_owned(),
        to,
        to_name: String::new(),
        desk: "Acme".to_owned(),
        message,
        attempt_token: "Tok1".to_owned(),
        request: "req_1".to_owned(),
        valid_seconds: 900,
        send_at: None,
    }
}

fn text() -> Parcel {
    parcel(
        "sms",
        Address::phone("+14155550123").unwrap(),
        Message::Text("1–5 & ñ?".to_owned()),
    )
}

/// The path and the form of the request for this parcel.
async fn sent(more: &str, parcel: &Parcel) -> (String, BTreeMap<String, String>) {
    let request = request(&settings(more).unwrap(), parcel).unwrap();
    let path = request.uri().to_string();
    let body = request.into_body().collect().await.unwrap().to_bytes();
    (path, serde_urlencoded::from_bytes(&body).unwrap())
}

fn form(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

#[tokio::test]
async fn a_text_names_its_attempt_and_its_end() {
    let (path, sent) = sent("", &text()).await;
    assert_eq!(
        path,
        "/2010-04-01/Accounts/AC00000000000000000000000000000001/Messages.json"
    );
    let expected = form(&[
        ("To", "+14155550123"),
        ("From", "+14155550100"),
        ("Body", "1–5 & ñ?"),
        (
            "StatusCallback",
            "https://rate.example.com/hooks/twilio/status/Tok1",
        ),
        ("ValidityPeriod", "900"),
    ]);
    assert_eq!(sent, expected);
}

#[tokio::test]
async fn a_service_is_a_sender_and_the_validity_stays_in_its_range() {
    let service = "MG00000000000000000000000000000003";
    let parcel = Parcel {
        from: service.to_owned(),
        valid_seconds: 1,
        ..text()
    };
    let (_, form) = sent("base_url = 'http://127.0.0.1:1/up/'", &parcel).await;
    assert_eq!(
        (
            form.get("MessagingServiceSid").map(String::as_str),
            form.get("From")
        ),
        (Some(service), None)
    );
    assert_eq!(form["ValidityPeriod"], "5");
    let (path, form) = sent(
        "base_url = 'http://127.0.0.1:1/up/'",
        &Parcel {
            valid_seconds: 90_000,
            ..text()
        },
    )
    .await;
    assert_eq!(form["ValidityPeriod"], "3600");
    assert!(path.starts_with("/up/2010-04-01/"), "{path}");
}

#[tokio::test]
async fn a_live_call_is_told_to_fetch_our_words() {
    let (path, sent) = sent(
        "",
        &parcel("voice", Address::call(CALL).unwrap(), Message::Call),
    )
    .await;
    assert_eq!(
        path,
        format!("/2010-04-01/Accounts/AC00000000000000000000000000000001/Calls/{CALL}.json")
    );
    let url = "https://rate.example.com/hooks/twilio/voice/Tok1";
    assert_eq!(sent, form(&[("Url", url), ("Method", "POST")]));
}

#[tokio::test]
async fn a_number_is_called_back_only_if_that_is_on() {
    let parcel = parcel(
        "voice",
        Address::phone("+14155550123").unwrap(),
        Message::Call,
    );
    assert_eq!(
        request(&settings("").unwrap(), &parcel).unwrap_err(),
        "call_back_off"
    );
    let parcel = Parcel {
        from: String::new(),
        ..parcel
    };
    let (path, sent) = sent("call_back = true\nvoice_from = '+14155550111'", &parcel).await;
    assert!(path.ends_with("/Calls.json"), "{path}");
    let expected = form(&[
        ("To", "+14155550123"),
        ("From", "+14155550111"),
        ("Url", "https://rate.example.com/hooks/twilio/voice/Tok1"),
        ("Method", "POST"),
        (
            "StatusCallback",
            "https://rate.example.com/hooks/twilio/status/Tok1",
        ),
        ("Timeout", "30"),
    ]);
    assert_eq!(sent, expected);
}

#[test]
fn what_cannot_be_carried_is_refused_before_the_wire() {
    let settings = settings("").unwrap();
    let of = |parcel: &Parcel| request(&settings, parcel).unwrap_err();
    assert_eq!(
        of(&Parcel {
            from: String::new(),
            ..text()
        }),
        "no_sender"
    );
    assert_eq!(
        of(&Parcel {
            to: Address::call(CALL).unwrap(),
            ..text()
        }),
        "not_a_number"
    );
    assert_eq!(
        of(&Parcel {
            to: Address::none(),
            message: Message::Call,
            ..text()
        }),
        "not_a_call"
    );
}

#[test]
fn the_api_key_signs_in_and_is_not_printed() {
    let more = "api_key_sid = 'SK00000000000000000000000000000002'\nauth_tokens = ['t']";
    let request = request(&settings(more).unwrap(), &text()).unwrap();
    let login = STANDARD.encode("SK00000000000000000000000000000002:12345");
    assert_eq!(request.headers()[AUTHORIZATION], format!("Basic {login}"));
    assert!(!format!("{request:?}").contains(&login));
}

fn outcome(status: u16, body: &str) -> Outcome {
    let mut headers = HeaderMap::new();
    headers.insert(RETRY_AFTER, "7".parse().unwrap());
    let status = StatusCode::from_u16(status).unwrap();
    let response = Response {
        status,
        headers,
        body: Bytes::copy_from_slice(body.as_bytes()),
    };
    classify(&Message::Text(String::new()), &response)
}

#[test]
fn every_row_of_the_table_of_outcomes() {
    let sid = "SM0000000000000000000000000000000b";
    let unknown = |code: &str| Outcome::Unknown {
        code: code.to_owned(),
    };
    let not_processed = |code: &str, ms| Outcome::NotProcessed {
        code: code.to_owned(),
        retry_after_ms: Some(ms),
    };
    let rejected = |code: &str, opted_out| Outcome::Rejected {
        code: code.to_owned(),
        opted_out,
    };
    let accepted = Outcome::Accepted {
        provider_id: sid.to_owned(),
    };
    for (status, body, expected) in [
        (201, format!(r#"{{"sid":"{sid}"}}"#), accepted.clone()),
        (
            200,
            format!(r#"{{"sid":"{sid}","status":"a new word","from":null,"price":{{}}}}"#),
            accepted,
        ),
        (
            201,
            r#"{"sid":"SM1"}"#.to_owned(),
            unknown("http_201_malformed"),
        ),
        (
            201,
            format!(r#"{{"sid":"{CALL}"}}"#),
            unknown("http_201_malformed"),
        ),
        (201, "<html>".to_owned(), unknown("http_201_malformed")),
        (204, String::new(), unknown("http_204_malformed")),
        (301, String::new(), unknown("http_301")),
        (
            400,
            r#"{"code":21211,"message":"x"}"#.to_owned(),
            rejected("21211", false),
        ),
        (400, r#"{"code":21610}"#.to_owned(), rejected("21610", true)),
        (
            404,
            r#"{"code":20404}"#.to_owned(),
            rejected("20404", false),
        ),
        (
            401,
            r#"{"code":20003}"#.to_owned(),
            not_processed("20003", 60_000),
        ),
        (401, "blocked".to_owned(), unknown("http_401")),
        (403, "<html>blocked</html>".to_owned(), unknown("http_403")),
        (403, r#"{"code":null}"#.to_owned(), unknown("http_403")),
        (408, r#"{"code":20408}"#.to_owned(), unknown("http_408")),
        (
            429,
            r#"{"code":20429}"#.to_owned(),
            not_processed("429", 7_000),
        ),
        (429, String::new(), not_processed("429", 7_000)),
        (500, r#"{"code":20500}"#.to_owned(), unknown("http_500")),
        (502, String::new(), unknown("http_502")),
        (503, String::new(), unknown("http_503")),
    ] {
        assert_eq!(outcome(status, &body), expected, "{status} {body}");
    }
}
