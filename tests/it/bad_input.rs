//! What cannot be used is refused with a clear error that names the field, nothing of it is stored, and nothing breaks.

use ::http::Method;
use bytes::Bytes;
use serde_json::{Value, json};

use crate::story;
use crate::support::database::Database;
use crate::support::http::{self, Answer};
use crate::support::stage::{ANA, Stage};

const FORM: &str = "application/x-www-form-urlencoded";
const FIELD: &str = "invalid_field";
const JSON: &str = "malformed_json";
const TYPE: &str = "unsupported_media_type";

/// A good trigger with these fields changed; a field that becomes the text `absent` is left out.
fn with(change: &Value) -> Bytes {
    let mut trigger = json!({"channel": "sms", "to": ANA, "conversation": "INC-1"});
    let fields = trigger.as_object_mut().unwrap();
    fields.extend(change.as_object().unwrap().clone());
    fields.retain(|_, value| value != "absent");
    trigger.to_string().into()
}

fn on(channel: &str, to: &str) -> Bytes {
    with(&json!({"channel": channel, "to": to}))
}

fn raw(text: impl Into<Vec<u8>>) -> Bytes {
    Bytes::from(text.into())
}

/// A problem document with this status and code, that names `field` (or, where the JSON has no such place, tells of it).
pub(crate) fn refused(what: &str, answer: &Answer, status: u16, code: &str, field: &str) {
    assert_eq!(answer.status, status, "{what}: {answer:?}");
    let kind = answer.header("content-type");
    assert_eq!(kind, "application/problem+json", "{what}: {answer:?}");
    let problem = answer.json();
    assert_eq!(problem["code"], code, "{what}: {problem}");
    assert_eq!(problem["status"], status, "{what}: {problem}");
    assert!(
        problem["title"]
            .as_str()
            .is_some_and(|title| !title.is_empty()),
        "{what}: {problem}"
    );
    if let Some(told) = field.strip_prefix('~') {
        assert!(
            problem["detail"].as_str().unwrap().contains(told),
            "{what}: {problem}"
        );
    } else if field.is_empty() {
        assert_eq!(problem["field"], Value::Null, "{what}: {problem}");
    } else {
        assert_eq!(problem["field"], field, "{what}: {problem}");
    }
}

/// Bodies of `POST /v1/requests`: what is wrong, the body, the code, the field. One row a line.
#[rustfmt::skip]
fn triggers() -> Vec<(&'static str, Bytes, &'static str, &'static str)> {
    let long = |n: usize| "x".repeat(n);
    vec![
        ("nothing", raw(""), JSON, ""),
        ("no JSON", raw("channel=sms&to=1"), JSON, ""),
        ("cut short", with(&json!({})).slice(..30), JSON, ""),
        ("two values", raw("{} {}"), FIELD, "~channel"),
        ("rest behind it", [with(&json!({})), raw("x")].concat().into(), JSON, ""),
        ("an array", raw("[]"), JSON, ""),
        ("an array of triggers", raw(format!("[{}]", String::from_utf8_lossy(&with(&json!({}))))), JSON, ""),
        ("the fields as a list", raw(json!(["sms", ANA, "INC-1"]).to_string()), JSON, ""),
        ("a text", raw("\"sms\""), JSON, ""),
        ("a number", raw("5"), JSON, ""),
        ("null", raw("null"), JSON, ""),
        ("no UTF-8", raw(&b"{\"channel\":\"sms\",\"to\":\"\xff\xfe\",\"conversation\":\"c\"}"[..]), JSON, ""),
        ("half a surrogate", raw("{\"channel\":\"sms\",\"to\":\"\\ud800\",\"conversation\":\"c\"}"), JSON, ""),
        ("a deep tree", raw(format!("{{\"metadata\":{}", "[".repeat(20_000))), JSON, ""),
        ("a deep tree of objects", raw("{\"a\":".repeat(9_000)), JSON, ""),
        ("a field twice", raw("{\"channel\":\"sms\",\"channel\":\"sms\",\"to\":\"\",\"conversation\":\"c\"}"), FIELD, "~channel"),
        ("no channel", with(&json!({"channel": "absent"})), FIELD, "~channel"),
        ("no to", with(&json!({"to": "absent"})), FIELD, "~to"),
        ("no conversation", with(&json!({"conversation": "absent"})), FIELD, "~conversation"),
        ("an unknown field", with(&json!({"colour": "red"})), FIELD, "colour"),
        ("an unknown field inside", with(&json!({"agent": {"colour": "red"}})), FIELD, "agent.colour"),
        ("an unknown channel", with(&json!({"channel": "fax"})), FIELD, "channel"),
        ("an empty channel", with(&json!({"channel": ""})), FIELD, "channel"),
        ("a channel with NUL", with(&json!({"channel": "sms\u{0}"})), FIELD, "channel"),
        ("a channel that is a number", with(&json!({"channel": 5})), FIELD, "channel"),
        ("null as address", with(&json!({"to": null})), FIELD, "to"),
        ("a number as address", with(&json!({"to": 14_155_550_123_u64})), FIELD, "to"),
        ("no plus", on("sms", "14155550123"), FIELD, "to"),
        ("blanks in it", on("sms", "+1 415 555 0123"), FIELD, "to"),
        ("too few digits", on("sms", "+141555"), FIELD, "to"),
        ("too many digits", on("sms", "+1415555012345678"), FIELD, "to"),
        ("other digits", on("sms", "+१४१५५५५०१२३"), FIELD, "to"),
        ("NUL in a number", on("sms", "+1415555\u{0}0123"), FIELD, "to"),
        ("a mail address to text to", on("sms", "ana@example.com"), FIELD, "to"),
        ("a call in capitals", on("voice", "CA0000000000000000000000000000000A"), FIELD, "to"),
        ("a short call", on("voice", "CA01"), FIELD, "to"),
        ("no at sign", on("email", "ana.example.com"), FIELD, "to"),
        ("two at signs", on("email", "a@b@example.com"), FIELD, "to"),
        ("a second header", on("email", "ana@example.com\r\nBcc: all@example.com"), FIELD, "to"),
        ("a mail name", on("email", "Ana <ana@example.com>"), FIELD, "to"),
        ("a mail address without end", on("email", &format!("{}@example.com", long(65))), FIELD, "to"),
        ("a blank handle", on("chat", " "), FIELD, "to"),
        ("NUL in a handle", on("chat", "vis\u{0}itor"), FIELD, "to"),
        ("a handle without end", on("chat", &long(201)), FIELD, "to"),
        ("an empty conversation", with(&json!({"conversation": ""})), FIELD, "conversation"),
        ("a conversation without end", with(&json!({"conversation": long(201)})), FIELD, "conversation"),
        ("NUL in the conversation", with(&json!({"conversation": "INC\u{0}"})), FIELD, "conversation"),
        ("a line end", with(&json!({"conversation": "INC\n1"})), FIELD, "conversation"),
        ("a resolution without end", with(&json!({"resolution": long(65)})), FIELD, "resolution"),
        ("a resolution that is a number", with(&json!({"resolution": 1})), FIELD, "resolution"),
        ("a contact that is a text", with(&json!({"contact": "Ana"})), FIELD, "contact"),
        ("a contact's name without end", with(&json!({"contact": {"name": long(81)}})), FIELD, "contact.name"),
        ("NUL in the contact's id", with(&json!({"contact": {"id": "\u{0}"}})), FIELD, "contact.id"),
        ("no language", with(&json!({"contact": {"language": "english please"}})), FIELD, "contact.language"),
        ("no time zone", with(&json!({"contact": {"timezone": "../../etc/passwd"}})), FIELD, "contact.timezone"),
        ("an agent's name without end", with(&json!({"agent": {"name": long(81)}})), FIELD, "agent.name"),
        ("an agent's id with a bell", with(&json!({"agent": {"id": "a\u{7}"}})), FIELD, "agent.id"),
        ("a cat as agent", with(&json!({"agent": {"kind": "cat"}})), FIELD, "agent.kind"),
        ("a team without end", with(&json!({"team": long(101)})), FIELD, "team"),
        ("a queue with NUL", with(&json!({"queue": "\u{0}"})), FIELD, "queue"),
        ("a topic without end", with(&json!({"topic": long(101)})), FIELD, "topic"),
        ("a touchpoint of words", with(&json!({"touchpoint": "Two Words"})), FIELD, "touchpoint"),
        ("a touchpoint with a quote", with(&json!({"touchpoint": "a\"} 1"})), FIELD, "touchpoint"),
        ("a phase of the moon", with(&json!({"phase": "full"})), FIELD, "phase"),
        ("switches below zero", with(&json!({"switches": -1})), FIELD, "switches"),
        ("too many switches", with(&json!({"switches": 101})), FIELD, "switches"),
        ("half a switch", with(&json!({"switches": 0.5})), FIELD, "switches"),
        ("a delay without end", with(&json!({"delay_seconds": 2_592_001})), FIELD, "delay_seconds"),
        ("a delay beyond numbers", with(&json!({"delay_seconds": u64::MAX})), FIELD, "delay_seconds"),
        ("a delay as text", with(&json!({"delay_seconds": "60"})), FIELD, "delay_seconds"),
        ("no time to answer", with(&json!({"expires_in": 0})), FIELD, "expires_in"),
        ("years to answer", with(&json!({"expires_in": 100_000_000})), FIELD, "expires_in"),
        ("a dry run as text", with(&json!({"dry_run": "yes"})), FIELD, "dry_run"),
        ("a hold as number", with(&json!({"context": {"hold": 1}})), FIELD, "context.hold"),
        ("a mail without its id", with(&json!({"mail": {"subject": "s"}})), FIELD, "mail"),
        ("a bare mail id", with(&json!({"mail": {"message_id": "a@b.example"}})), FIELD, "mail.message_id"),
        ("a second mail header", with(&json!({"mail": {"message_id": "<a@b>\r\nBcc: x"}})), FIELD, "mail.message_id"),
        ("a subject of two lines", with(&json!({"mail": {"message_id": "<a@b>", "subject": "a\nb"}})), FIELD, "mail.subject"),
        ("too much metadata", with(&json!({"metadata": long(4097)})), FIELD, "metadata"),
    ]
}

story!(
    a_trigger_that_cannot_be_used_names_its_field_and_is_not_stored,
    async |database: Database| {
        let stage = Stage::start(database).await;
        let before = stage.database.rows().await;
        let url = format!("{}/v1/requests", stage.url);
        let bearer = format!("Bearer {}", stage.key);
        let typed = [
            ("authorization", bearer.as_str()),
            ("content-type", "application/json"),
        ];
        let triggers = triggers();
        assert!(triggers.len() >= 40);
        for (what, body, code, field) in triggers {
            let answer = http::send(Method::POST, &url, &typed, body).await;
            refused(what, &answer, 400, code, field);
        }
        for kind in [
            "",
            "text/plain",
            FORM,
            "application/jsonp",
            "multipart/form-data; boundary=x",
        ] {
            let headers = [("authorization", bearer.as_str()), ("content-type", kind)];
            let answer = http::send(Method::POST, &url, &headers, with(&json!({}))).await;
            refused(kind, &answer, 415, TYPE, "");
        }
        let long = "x".repeat(256);
        for keys in [
            vec![""],
            vec!["two words"],
            vec!["\"\""],
            vec![&long],
            vec!["tab\tbed"],
            vec!["a", "a"],
        ] {
            let mut headers = typed.to_vec();
            headers.extend(keys.iter().map(|key| ("idempotency-key", *key)));
            let answer = http::send(Method::POST, &url, &headers, with(&json!({}))).await;
            refused(
                &format!("{keys:?}"),
                &answer,
                400,
                "invalid_idempotency_key",
                "Idempotency-Key",
            );
        }
        let large = with(&json!({"metadata": "x".repeat(64 * 1024)}));
        let answer = http::send(Method::POST, &url, &typed, large).await;
        refused("64 KiB", &answer, 413, "too_large", "");
        assert_eq!(stage.database.rows().await, before);
        // The trigger that all of these were made from is a good one.
        let answer = http::send(Method::POST, &url, &typed, with(&json!({"dry_run": true}))).await;
        assert_eq!(
            (answer.status, &answer.json()["state"]),
            (200, &json!("scheduled"))
        );
        stage.finish().await;
    }
);

story!(
    a_list_with_a_parameter_that_cannot_be_used_is_refused,
    async |database: Database| {
        let stage = Stage::start(database).await;
        let bearer = format!("Bearer {}", stage.key);
        let both = [
            ("limit=0", "limit"),
            ("limit=201", "limit"),
            ("limit=-1", "limit"),
            ("limit=ten", "limit"),
            ("limit=", "limit"),
            ("limit=99999999999999999999", "limit"),
            ("limit=1&limit=2", "~limit"),
            ("cursor=next", "cursor"),
            ("cursor=", "cursor"),
            ("cursor=%00", "cursor"),
            ("from=yesterday", "from"),
            ("from=2026-02-30T00:00:00Z", "from"),
            ("to=1795284000", "to"),
            ("to=", "to"),
            ("conversation=%00", "conversation"),
            ("channel=%00", "channel"),
            ("colour=red", "~colour"),
        ];
        let requests = [
            ("state=asked", "state"),
            ("state=", "state"),
            ("state=%00", "state"),
        ];
        let all = both
            .iter()
            .flat_map(|row| [("requests", row), ("ratings", row)]);
        for (list, (query, field)) in all.chain(requests.iter().map(|row| ("requests", row))) {
            let url = format!("{}/v1/{list}?{query}", stage.url);
            let answer = http::send(Method::GET, &url, &[("authorization", &bearer)], "").await;
            refused(&url, &answer, 400, "invalid_parameter", field);
        }
        for id in [
            "x",
            "req_",
            "req_019a",
            "%FF",
            "%00",
            "rat_019a3f0c7d5b7c0e9d8a5b6c7d8e9f01",
        ] {
            for (method, tail) in [(Method::GET, ""), (Method::POST, "/cancel")] {
                let url = format!("{}/v1/requests/{id}{tail}", stage.url);
                let answer = http::send(method, &url, &[("authorization", &bearer)], "").await;
                refused(&url, &answer, 404, "not_found", "");
            }
        }
        stage.finish().await;
    }
);
