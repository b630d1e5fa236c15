//! Posts of providers, pages and chats that cannot be used: refused with a clear error, not stored, and nothing breaks.

use ::http::Method;
use bytes::Bytes;
use serde_json::json;

use crate::bad_input::refused;
use crate::story;
use crate::support::database::Database;
use crate::support::http;
use crate::support::stage::{ANA, OUR_NUMBER, PUBLIC_URL, Stage};
use crate::support::twilio::{ACCOUNT, TOKEN, sign};

const FORM: &str = "application/x-www-form-urlencoded";
const TYPED: &str = "application/json";
const FIELD: &str = "invalid_field";
const JSON: &str = "malformed_json";

/// The fields of a form.
type Fields = Vec<(&'static str, &'static str)>;

/// Signed posts of Twilio that lack what they must have: the target, the fields, the field that is named. One row a line.
#[rustfmt::skip]
fn hooks() -> Vec<(&'static str, Fields, &'static str)> {
    let sid = ("MessageSid", "SM00000000000000000000000000000042");
    let (from, to, body) = (("From", ANA), ("To", OUR_NUMBER), ("Body", "5"));
    let call = ("CallSid", "CA00000000000000000000000000000007");
    vec![
        ("/hooks/twilio/sms", vec![], "From"),
        ("/hooks/twilio/sms", vec![to, body, sid], "From"),
        ("/hooks/twilio/sms", vec![("From", ""), to, body, sid], "From"),
        ("/hooks/twilio/sms", vec![("From", "ana"), to, body, sid], "From"),
        ("/hooks/twilio/sms", vec![("From", "+1415\u{0}"), to, body, sid], "From"),
        ("/hooks/twilio/sms", vec![from, body, sid], "To"),
        ("/hooks/twilio/sms", vec![from, ("To", ""), body, sid], "To"),
        ("/hooks/twilio/sms", vec![from, to, sid], "Body"),
        ("/hooks/twilio/sms", vec![from, to, body, ("Body", "1"), sid], "Body"),
        ("/hooks/twilio/sms", vec![from, to, body], "MessageSid"),
        ("/hooks/twilio/sms", vec![from, to, body, ("MessageSid", "SM1")], "MessageSid"),
        ("/hooks/twilio/sms", vec![from, to, body, ("MessageSid", call.1)], "MessageSid"),
        ("/hooks/twilio/voice/TOKEN", vec![], "CallSid"),
        ("/hooks/twilio/voice/TOKEN", vec![("CallSid", "CA1")], "CallSid"),
        ("/hooks/twilio/voice/TOKEN?turn=x", vec![call], "turn"),
        ("/hooks/twilio/voice/TOKEN?turn=256", vec![call], "turn"),
        ("/hooks/twilio/voice/TOKEN?turn=-1", vec![call], "turn"),
        ("/hooks/twilio/status/TOKEN", vec![], "MessageSid"),
        ("/hooks/twilio/status/TOKEN", vec![sid], "MessageStatus"),
        ("/hooks/twilio/status/TOKEN", vec![call], "CallStatus"),
        ("/hooks/twilio/status/TOKEN", vec![("CallSid", "x")], "CallSid"),
    ]
}

story!(
    a_genuine_hook_that_lacks_something_names_it_and_is_not_stored,
    async |database: Database| {
        let stage = Stage::start(database).await;
        stage.ask("sms", ANA, "INC-1").await;
        stage.deliver().await;
        let before = stage.database.rows().await;
        let hooks = hooks();
        assert!(hooks.len() >= 20);
        for (target, fields, field) in hooks {
            let mut params = vec![("AccountSid", ACCOUNT)];
            params.extend(fields);
            let signature = sign(&format!("{PUBLIC_URL}{target}"), &params, TOKEN);
            let body = serde_urlencoded::to_string(&params).unwrap();
            let headers = [
                ("content-type", FORM),
                ("x-twilio-signature", signature.as_str()),
            ];
            let url = format!("{}{target}", stage.url);
            let answer = http::send(Method::POST, &url, &headers, body).await;
            refused(&format!("{target} {params:?}"), &answer, 400, FIELD, field);
        }
        let url = format!("{}/hooks/twilio/sms", stage.url);
        let answer = http::send(Method::POST, &url, &[], "x".repeat(64 * 1024 + 1)).await;
        refused("64 KiB", &answer, 413, "too_large", "");
        assert_eq!(stage.database.rows().await, before);
        stage.finish().await;
    }
);

/// Posts of a chat: what is wrong, the body, the code, the field. One row a line.
#[rustfmt::skip]
fn presses() -> Vec<(&'static str, Bytes, &'static str, &'static str)> {
    let text = |text: &str| Bytes::from(text.to_owned());
    vec![
        ("nothing", text(""), JSON, ""),
        ("no JSON", text("score=5"), JSON, ""),
        ("cut short", text("{\"score\":"), JSON, ""),
        ("rest behind it", text("{\"score\":5}}"), JSON, ""),
        ("no UTF-8", Bytes::from(&b"{\"score\":5,\"comment\":\"\xff\"}"[..]), JSON, ""),
        ("a deep tree", text(&"[".repeat(10_000)), JSON, ""),
        ("a deep comment", text(&format!("{{\"score\":5,\"comment\":{}", "[".repeat(10_000))), FIELD, "comment"),
        ("a list", text("[5]"), JSON, ""),
        ("a number", text("5"), JSON, ""),
        ("no score", text("{}"), FIELD, "~score"),
        ("null", text("{\"score\":null}"), FIELD, "score"),
        ("zero", text("{\"score\":0}"), FIELD, "~score"),
        ("six", text("{\"score\":6}"), FIELD, "~score"),
        ("below zero", text("{\"score\":-5}"), FIELD, "score"),
        ("a half", text("{\"score\":4.5}"), FIELD, "score"),
        ("beyond numbers", text("{\"score\":1e400}"), JSON, ""),
        ("a text", text("{\"score\":\"5\"}"), FIELD, "score"),
        ("two scores", text("{\"score\":5,\"score\":1}"), FIELD, "~score"),
        ("a comment of numbers", text("{\"score\":5,\"comment\":7}"), FIELD, "comment"),
        ("an unknown field", text("{\"score\":5,\"stars\":5}"), FIELD, "stars"),
    ]
}

story!(
    a_press_in_a_chat_that_cannot_be_used_is_not_stored,
    async |database: Database| {
        let stage = Stage::start(database).await;
        let ask = json!({"channel": "chat", "to": "visitor-7", "conversation": "INC-1"});
        let token = stage.trigger(&ask).await.json()["token"]
            .as_str()
            .unwrap()
            .to_owned();
        let before = stage.database.rows().await;
        let url = format!("{}/w/{token}", stage.url);
        for (what, body, code, field) in presses() {
            let answer = http::send(Method::POST, &url, &[("content-type", TYPED)], body).await;
            refused(what, &answer, 400, code, field);
            assert_eq!(answer.header("access-control-allow-origin"), "*", "{what}");
        }
        let post = async |url: String, kind: &'static str, body: String| {
            http::send(Method::POST, &url, &[("content-type", kind)], body).await
        };
        let good = json!({"score": 5}).to_string();
        let answer = post(url.clone(), "text/plain", good.clone()).await;
        refused("a text", &answer, 415, "unsupported_media_type", "");
        let answer = post(
            url.clone(),
            TYPED,
            json!({"score": 5, "comment": "x".repeat(16 * 1024)}).to_string(),
        )
        .await;
        refused("16 KiB", &answer, 413, "too_large", "");
        for stranger in [
            "x",
            "%00",
            "%FF",
            &"a".repeat(5000),
            &token[1..],
            &token.to_lowercase().replace('a', "b"),
        ] {
            for tail in ["", "/shown"] {
                let answer = post(
                    format!("{}/w/{stranger}{tail}", stage.url),
                    TYPED,
                    good.clone(),
                )
                .await;
                refused(stranger, &answer, 404, "not_found", "");
            }
        }
        assert_eq!(stage.database.rows().await, before);
        // Odd but honest words are taken, without what no database can keep.
        let odd = json!({"score": 5, "comment": "fine\u{0}\u{7} \u{202e}👍"}).to_string();
        let answer = post(url, TYPED, odd).await;
        assert_eq!(
            (answer.status, &answer.json()["state"]),
            (200, &json!("answered")),
            "{answer:?}"
        );
        assert!(
            !answer.json()["comment"]
                .as_str()
                .unwrap()
                .contains(char::is_control)
        );
        stage.finish().await;
    }
);

story!(
    a_post_of_a_page_that_cannot_be_used_is_not_stored,
    async |database: Database| {
        let stage = Stage::start(database).await;
        stage.ask("email", "ana@example.com", "INC-1").await;
        stage.ask("email", "ben@example.com", "INC-2").await;
        let ids: Vec<_> = stage.api("/v1/requests").await["items"]
            .as_array()
            .unwrap()
            .clone();
        stage.deliver().await;
        stage.pass(60);
        let mint = &stage.app.journey.mint;
        let link = |at: usize| {
            mint.link(
                ids[at]["id"].as_str().unwrap().parse().unwrap(),
                onefive::domain::token::LinkLength::Full,
            )
        };
        let (token, other) = (link(0), link(1));
        let view = mint.view(&token, stage.now(), [7; 8]);
        let foreign = mint.view(&other, stage.now(), [7; 8]);
        let old = mint.view(&token, stage.now().plus_millis(-25 * 3_600_000), [7; 8]);
        let before = stage.database.rows().await;
        let url = format!("{}/r/{token}", stage.url);
        let post =
            async |url: &str, fields: &[(&str, &str)]| http::post_form(url, fields, TYPED).await;
        for score in [
            "",
            "0",
            "6",
            "-1",
            "5.0",
            "55",
            "five",
            "5 4",
            "\u{0}",
            "٥",
            &"5".repeat(1000),
        ] {
            refused(
                score,
                &post(&url, &[("view", &view), ("score", score)]).await,
                400,
                FIELD,
                "score",
            );
        }
        refused(
            "no score",
            &post(&url, &[("view", &view)]).await,
            400,
            FIELD,
            "score",
        );
        refused("nothing", &post(&url, &[]).await, 400, FIELD, "score");
        for stale in [
            "",
            ".",
            "\u{0}",
            "1.2.3",
            &view[1..],
            &foreign,
            &old,
            &"x".repeat(5000),
        ] {
            refused(
                stale,
                &post(&url, &[("view", stale), ("score", "5")]).await,
                400,
                FIELD,
                "view",
            );
            let page = http::post_form(&url, &[("view", stale), ("score", "5")], "text/html").await;
            assert_eq!(
                (page.status, page.header("content-type")),
                (400, "text/html; charset=utf-8")
            );
        }
        let twice = [("view", view.as_str()), ("score", "5"), ("score", "1")];
        refused(
            "two scores",
            &post(&url, &twice).await,
            400,
            FIELD,
            "~score",
        );
        let long = "x".repeat(16 * 1024 + 1);
        let fields = [("view", view.as_str()), ("score", "5"), ("comment", &long)];
        refused("16 KiB", &post(&url, &fields).await, 413, "too_large", "");
        let opt_out = format!("{}/u/{token}", stage.url);
        let answer = http::send(Method::POST, &opt_out, &[("content-type", FORM)], long).await;
        refused("16 KiB", &answer, 413, "too_large", "");
        let json = [("content-type", TYPED)];
        let answer = http::send(Method::POST, &url, &json, "{\"score\":5}").await;
        refused("JSON", &answer, 415, "unsupported_media_type", "");
        for stranger in ["x", "%00", &"a".repeat(5000), &token[1..]] {
            for door in ["r", "u"] {
                let url = format!("{}/{door}/{stranger}", stage.url);
                let page =
                    http::post_form(&url, &[("view", &view), ("score", "5")], "text/html").await;
                assert_eq!(
                    (page.status, page.header("content-type")),
                    (404, "text/html; charset=utf-8")
                );
                assert_eq!(http::get(&url).await.status, 404, "{url}");
            }
            let url = format!("{}/r/{stranger}", stage.url);
            let answer = post(&url, &[("view", &view), ("score", "5")]).await;
            // A view belongs to its link, so that a stranger is told the same as somebody who is late.
            assert!(matches!(answer.status, 400 | 404), "{answer:?}");
        }
        for target in ["/assets/%FF", "/assets/..%2fmod.rs"] {
            refused(
                target,
                &http::get(&format!("{}{target}", stage.url)).await,
                404,
                "not_found",
                "",
            );
        }
        // A link with a broken choice is still the way to the page.
        for query in ["s=9", "s=", "s=%FF", "s=1&s=2", "s[]=1", "%"] {
            let page = http::get(&format!("{url}?{query}")).await;
            assert_eq!(page.status, 200, "{query}: {}", page.body);
        }
        assert_eq!(stage.database.rows().await, before);
        stage.pass(5);
        let fields = [
            ("view", view.as_str()),
            ("score", "5"),
            ("comment", "fine\u{0}"),
            ("event", "key"),
        ];
        let answer = post(&url, &fields).await;
        assert_eq!(
            (answer.status, &answer.json()["comment"]),
            (200, &json!("fine")),
            "{answer:?}"
        );
        stage.finish().await;
    }
);

story!(
    odd_but_genuine_texts_and_calls_break_nothing,
    async |database: Database| {
        let stage = Stage::start(database).await;
        stage.ask("sms", ANA, "INC-1").await;
        stage.deliver().await;
        let service = stage.service();
        let long = "x".repeat(20_000);
        for (at, body) in [
            "",
            "\u{0}",
            "\u{202e}👩‍👩‍👧",
            "5\u{0}5",
            &long,
            "'; drop table desks; --",
        ]
        .iter()
        .enumerate()
        {
            let sid = format!("SM{at:032x}");
            let (status, answer) = stage
                .twilio
                .text_as(&service, &sid, ANA, OUR_NUMBER, body)
                .await;
            assert_eq!(status, 200, "{body:?}: {answer}");
        }
        let (status, _) = stage.twilio.text(&service, ANA, "\u{0}", "5").await;
        assert_eq!(status, 200);
        for query in [
            "",
            "?desk=%00",
            "?desk=nobody",
            "?desk=acme&conversation=%00",
            "?desk=acme&touchpoint=Two+Words",
            "?%FF=%FF",
        ] {
            let target = format!("/hooks/twilio/voice{query}");
            let call = "CA00000000000000000000000000000007";
            let (status, answer) = stage.twilio.call(&service, &target, call, &[]).await;
            if query.is_empty() || query.starts_with("?desk") {
                assert_eq!(status, 200, "{query}: {answer}");
            }
            assert!(status < 500, "{query}: {status} {answer}");
        }
        stage.finish().await;
    }
);
