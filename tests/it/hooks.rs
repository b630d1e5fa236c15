//! The doors of providers: what does not prove itself is refused with one and the same answer, and leaves no trace.

use ::http::Method;

use crate::story;
use crate::support::database::Database;
use crate::support::http::{self, Answer};
use crate::support::stage::{ANA, OUR_NUMBER, PUBLIC_URL, Stage};
use crate::support::twilio::{ACCOUNT, TOKEN, sign};

const CALL: &str = "CA00000000000000000000000000000007";
/// What a proxy, or whoever pretends to be one, may claim about the address that was called.
const LIES: &[(&str, &str)] = &[
    ("host", "evil.example"),
    ("x-forwarded-host", "evil.example"),
    ("x-forwarded-proto", "https"),
    ("x-original-url", "https://evil.example/hooks/twilio/sms"),
    ("forwarded", "host=evil.example;proto=https"),
];

type Params<'a> = Vec<(&'a str, &'a str)>;

/// What is wrong, the target, the fields, the signatures and further headers.
type Forgery<'a> = (
    &'a str,
    &'a str,
    &'a Params<'a>,
    Vec<&'a str>,
    &'a [(&'a str, &'a str)],
);

/// A form post with these signatures and further headers.
async fn post(
    stage: &Stage,
    target: &str,
    params: &[(&str, &str)],
    signatures: &[&str],
    more: &[(&str, &str)],
) -> Answer {
    let mut headers = vec![("content-type", "application/x-www-form-urlencoded")];
    headers.extend(signatures.iter().map(|text| ("x-twilio-signature", *text)));
    headers.extend_from_slice(more);
    let body = serde_urlencoded::to_string(params).unwrap();
    http::send(
        Method::POST,
        &format!("{}{target}", stage.url),
        &headers,
        body,
    )
    .await
}

/// The right signature.
fn signed(target: &str, params: &[(&str, &str)]) -> String {
    sign(&format!("{PUBLIC_URL}{target}"), params, TOKEN)
}

fn text(body: &str) -> Params<'_> {
    vec![
        ("AccountSid", ACCOUNT),
        ("MessageSid", "SM00000000000000000000000000000042"),
        ("From", ANA),
        ("To", OUR_NUMBER),
        ("Body", body),
    ]
}

fn refused(what: &str, answer: &Answer, status: u16, code: &str) {
    assert_eq!(answer.status, status, "{what}: {answer:?}");
    assert_eq!(
        answer.header("content-type"),
        "application/problem+json",
        "{what}"
    );
    assert_eq!(answer.json()["code"], code, "{what}: {answer:?}");
}

/// One open text message and one open call; the targets of every hook, each with the form that Twilio would send.
async fn open(stage: &Stage) -> Vec<(String, Params<'static>)> {
    stage.ask("sms", ANA, "INC-1").await;
    stage.ask("voice", CALL, "INC-2").await;
    stage.deliver().await;
    let service = stage.service();
    let message: &'static _ = Box::leak(Box::new(stage.twilio.messages().remove(0)));
    let call = stage.twilio.calls().remove(0);
    let key = vec![("AccountSid", ACCOUNT), ("CallSid", CALL), ("Digits", "5")];
    let news = vec![
        ("AccountSid", ACCOUNT),
        ("MessageSid", message.sid.as_str()),
        ("MessageStatus", "delivered"),
    ];
    vec![
        ("/hooks/twilio/sms".to_owned(), text("5")),
        (service.target_of(&message.status_callback), news),
        (service.target_of(&call.url), key),
    ]
}

story!(
    what_twilio_did_not_sign_is_refused_and_leaves_no_trace,
    async |database: Database| {
        let stage = Stage::start(database).await;
        let hooks = open(&stage).await;
        let before = stage.database.rows().await;
        for (target, params) in &hooks {
            let right = signed(target, params);
            let mut changed = params.clone();
            changed.last_mut().unwrap().1 = "1";
            let mut extra = params.clone();
            extra.push(("Extra", "1"));
            let mut twice = params.clone();
            twice.push((twice.last().unwrap().0, "1"));
            let fewer = params[..params.len() - 1].to_vec();
            let other_token = sign(&format!("{PUBLIC_URL}{target}"), params, "another-token");
            let empty_token = sign(&format!("{PUBLIC_URL}{target}"), params, "");
            let elsewhere = sign(&format!("https://evil.example{target}"), params, TOKEN);
            let plain = PUBLIC_URL.replace("https", "http");
            let by_http = sign(&format!("{plain}{target}"), params, TOKEN);
            let real = sign(&format!("{}{target}", stage.url), params, TOKEN);
            let other_door = signed("/hooks/twilio/other", params);
            let query = format!(
                "{target}{}extra=1",
                if target.contains('?') { '&' } else { '?' }
            );
            let longer = format!("{target}/");
            let forged: Vec<Forgery<'_>> = vec![
                ("no signature", target, params, vec![], &[]),
                ("an empty signature", target, params, vec![""], &[]),
                ("no base64", target, params, vec!["it was me!"], &[]),
                (
                    "zeroes",
                    target,
                    params,
                    vec!["AAAAAAAAAAAAAAAAAAAAAAAAAAA="],
                    &[],
                ),
                ("cut short", target, params, vec![&right[..20]], &[]),
                ("another token", target, params, vec![&other_token], &[]),
                ("an empty token", target, params, vec![&empty_token], &[]),
                ("another host", target, params, vec![&elsewhere], LIES),
                ("the real address", target, params, vec![&real], &[]),
                (
                    "no TLS",
                    target,
                    params,
                    vec![&by_http],
                    &[("x-forwarded-proto", "http")],
                ),
                ("another door", target, params, vec![&other_door], &[]),
                ("an extra field", target, &extra, vec![&right], &[]),
                ("a second value", target, &twice, vec![&right], &[]),
                ("a missing field", target, &fewer, vec![&right], &[]),
                ("a changed field", target, &changed, vec![&right], &[]),
                ("an added query", &query, params, vec![&right], &[]),
                ("an added slash", &longer, params, vec![&right], &[]),
                ("two signatures", target, params, vec![&right, &right], &[]),
                (
                    "one false of two",
                    target,
                    params,
                    vec![&right, "AAAA"],
                    &[],
                ),
                (
                    "a key that we do not share",
                    target,
                    params,
                    vec![&right],
                    &[(
                        "x-twilio-webhooks-signature-settings",
                        "keyName=mine;algorithm=sha256",
                    )],
                ),
            ];
            for (what, target, params, signatures, more) in forged {
                let answer = post(&stage, target, params, &signatures, more).await;
                refused(&format!("{what} at {target}"), &answer, 403, "forged");
                assert_eq!(answer.json()["detail"], serde_json::Value::Null, "{what}");
            }
        }
        assert_eq!(stage.database.rows().await, before);
        // The same forms, signed for the address that we are configured with, are believed whatever the headers say.
        for (target, params) in &hooks {
            let answer = post(&stage, target, params, &[&signed(target, params)], LIES).await;
            assert_eq!(answer.status, 200, "{target}: {answer:?}");
        }
        assert_eq!(
            stage.database.number("select count(*) from ratings").await,
            2
        );
        stage.finish().await;
    }
);

story!(
    another_account_cannot_speak_for_ours,
    async |database: Database| {
        let stage = Stage::start(database).await;
        open(&stage).await;
        let before = stage.database.rows().await;
        for account in ["AC00000000000000000000000000000002", ""] {
            let mut params = text("5");
            params[0].1 = account;
            let signature = signed("/hooks/twilio/sms", &params);
            let answer = post(&stage, "/hooks/twilio/sms", &params, &[&signature], &[]).await;
            refused("another account", &answer, 403, "forged");
        }
        assert_eq!(stage.database.rows().await, before);
        stage.finish().await;
    }
);

story!(
    a_get_is_no_hook_even_when_it_is_signed,
    async |database: Database| {
        let stage = Stage::start(database).await;
        let hooks = open(&stage).await;
        let before = stage.database.rows().await;
        for (target, params) in &hooks {
            let url = format!("{}{target}", stage.url);
            refused("unsigned", &http::get(&url).await, 403, "forged");
            let query = serde_urlencoded::to_string(params).unwrap();
            let joined = format!(
                "{target}{}{query}",
                if target.contains('?') { '&' } else { '?' }
            );
            for (target, method) in [
                (target, Method::GET),
                (&joined, Method::GET),
                (target, Method::PUT),
                (target, Method::DELETE),
            ] {
                let signature = signed(target, &[]);
                let headers = [("x-twilio-signature", signature.as_str())];
                let url = format!("{}{target}", stage.url);
                let answer = http::send(method, &url, &headers, "").await;
                refused(target, &answer, 404, "not_found");
            }
        }
        assert_eq!(stage.database.rows().await, before);
        stage.finish().await;
    }
);

story!(
    doors_of_providers_that_are_not_used_do_not_exist,
    async |database: Database| {
        let stage = Stage::start(database).await;
        open(&stage).await;
        let before = stage.database.rows().await;
        let params = text("5");
        for target in [
            "/hooks/sandbox/sms",
            "/hooks/sandbox/voice/TOKEN",
            "/hooks/nobody/sms",
            "/hooks/smtp/status",
            "/hooks/twilio",
            "/hooks",
            "/hooks/%FF/sms",
        ] {
            let answer = post(&stage, target, &params, &[&signed(target, &params)], &[]).await;
            refused(target, &answer, 404, "not_found");
        }
        for target in [
            "/hooks/twilio/nothing",
            "/hooks/twilio/sms/TOKEN",
            "/hooks/twilio/status",
        ] {
            let answer = post(&stage, target, &params, &[&signed(target, &params)], &[]).await;
            refused(target, &answer, 404, "not_found");
        }
        for page in ["/sandbox", "/sandbox/config", "/sandbox/state"] {
            let answer = http::get(&format!("{}{page}", stage.url)).await;
            refused(page, &answer, 404, "not_found");
        }
        assert_eq!(stage.database.rows().await, before);
        stage.finish().await;
    }
);

story!(
    the_sandbox_too_believes_only_its_own_page,
    async |database: Database| {
        let stage = Stage::with(database, &[("CHANNELS__SMS", "sandbox")]).await;
        stage.ask("sms", "+14155550100", "INC-1").await;
        stage.deliver().await;
        let config = http::get(&format!("{}/sandbox/config", stage.url)).await;
        let key = config.json()["hook_key"].as_str().unwrap().to_owned();
        let before = stage.database.rows().await;
        let url = format!("{}/hooks/sandbox/sms", stage.url);
        let form = |key: &str| {
            let fields = [
                ("key", key),
                ("from", "+14155550100"),
                ("to", OUR_NUMBER),
                ("body", "5"),
                ("id", "1"),
            ];
            serde_urlencoded::to_string(fields).unwrap()
        };
        let typed = [("content-type", "application/x-www-form-urlencoded")];
        for forged in [
            "",
            "0",
            &key[1..],
            &key.to_uppercase()
                .replace(|c: char| c.is_ascii_digit(), "x"),
        ] {
            let answer = http::send(Method::POST, &url, &typed, form(forged)).await;
            refused("a forged key", &answer, 403, "forged");
        }
        assert_eq!(stage.database.rows().await, before);
        let answer = http::send(Method::POST, &url, &typed, form(&key)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(
            stage.database.number("select count(*) from ratings").await,
            1
        );
        stage.finish().await;
    }
);
