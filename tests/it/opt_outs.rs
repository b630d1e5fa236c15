//! Who does not want to be asked: by STOP, by page, by a mail program's click, by the provider, by the desk, and back again.

use http::Method;
use serde_json::{Value, json};

use crate::story;
use crate::support::database::Database;
use crate::support::http::{Answer, get, post_form, send};
use crate::support::returned::{self, answer, brought, mailed};
use crate::support::stage::{ANA, OUR_NUMBER, PUBLIC_URL, Stage, desk};
use crate::support::twilio::Behaviour;

const BEN: &str = "ben@example.com";

/// A call of the API with this key.
async fn call(stage: &Stage, key: &str, method: Method, path: &str, body: &str) -> Answer {
    let bearer = format!("Bearer {key}");
    let kind = if path.contains("import") {
        "text/csv"
    } else {
        "application/json"
    };
    let headers = [("authorization", bearer.as_str()), ("content-type", kind)];
    let url = format!("{}{path}", stage.url);
    send(method, &url, &headers, body.to_owned()).await
}

async fn mine(stage: &Stage, method: Method, path: &str, body: &str) -> Answer {
    call(stage, &stage.key, method, path, body).await
}

/// Ana writes to our number.
async fn text(stage: &Stage, body: &str) -> String {
    let service = stage.service();
    let answer = stage.twilio.text(&service, ANA, OUR_NUMBER, body);
    answer.await.1.split_once("?>").unwrap().1.to_owned()
}

/// What a trigger would be answered with.
async fn decision(stage: &Stage, channel: &str, to: &str) -> Value {
    let body = json!({"channel": channel, "to": to, "conversation": "dry", "dry_run": true});
    stage.trigger(&body).await.json()["reason"].clone()
}

/// The entries of an address: channel and origin.
async fn entries(stage: &Stage, address: &str) -> Vec<(String, String)> {
    let answer = mine(stage, Method::GET, &format!("/v1/opt-outs/{address}"), "").await;
    if answer.status == 404 {
        return Vec::new();
    }
    let word = |entry: &Value, field: &str| entry[field].as_str().unwrap().to_owned();
    let items = answer.json()["items"].as_array().unwrap().clone();
    items
        .iter()
        .map(|entry| (word(entry, "channel"), word(entry, "origin")))
        .collect()
}

fn entry(channel: &str, origin: &str) -> (String, String) {
    (channel.to_owned(), origin.to_owned())
}

story!(
    a_desk_puts_an_address_on_its_list_and_takes_it_off,
    async |database: Database| {
        let stage = Stage::start(database).await;
        let path = "/v1/opt-outs/%2B14155550123";
        let body = r#"{"reason": "asked us on the phone"}"#;
        let put = mine(&stage, Method::PUT, path, body).await;
        assert_eq!(put.status, 201, "{put:?}");
        let first = put.json()["items"][0].clone();
        assert_eq!(
            (&first["address"], &first["channel"], &first["origin"]),
            (&json!(ANA), &json!("*"), &json!("api"))
        );
        assert_eq!(first["reason"], "asked us on the phone");
        stage.pass(60);
        let again = mine(&stage, Method::PUT, path, body).await;
        assert_eq!((again.status, &again.json()["items"][0]), (200, &first));
        assert_eq!(decision(&stage, "sms", ANA).await, "opted_out");
        assert_eq!(decision(&stage, "voice", ANA).await, "opted_out");

        assert_eq!(mine(&stage, Method::DELETE, path, "").await.status, 204);
        assert_eq!(mine(&stage, Method::DELETE, path, "").await.status, 404);
        assert_eq!(mine(&stage, Method::GET, path, "").await.status, 404);
        assert_eq!(decision(&stage, "sms", ANA).await, Value::Null);
        let told =
            "select count(*) from events where kind in ('contact.opted_out', 'contact.opted_in')";
        assert_eq!(stage.database.number(told).await, 2);
        let totals = get(&format!("{}/metrics/totals", stage.url)).await.body;
        assert!(
            totals.contains("onefive_opt_outs_total{desk=\"acme\",channel=\"*\"} 1"),
            "{totals}"
        );
        assert!(!totals.contains("onefive_ratings_total{desk=\"acme\",channel=\"*\""));
        stage.finish().await;
    }
);

story!(
    an_opt_out_of_the_desk_may_name_one_channel,
    async |database: Database| {
        let stage = Stage::start(database).await;
        let path = "/v1/opt-outs/+14155550123?channel=voice";
        assert_eq!(mine(&stage, Method::PUT, path, "").await.status, 201);
        stage.ask("sms", ANA, "INC-1").await;
        assert_eq!(stage.deliver().await, 1, "text messages are not meant");
        stage
            .cancel(
                stage.api("/v1/requests").await["items"][0]["id"]
                    .as_str()
                    .unwrap(),
            )
            .await;
        assert_eq!(decision(&stage, "voice", ANA).await, "opted_out");
        assert_eq!(decision(&stage, "sms", ANA).await, Value::Null);
        let body = json!({"channel": "voice", "to": ANA, "conversation": "INC-2"});
        assert_eq!(stage.trigger(&body).await.json()["reason"], "opted_out");
        // A handle is no address by its shape.
        let handle = "/v1/opt-outs/visitor%2F7";
        assert_eq!(mine(&stage, Method::PUT, handle, "").await.status, 400);
        let chat = format!("{handle}?channel=chat");
        assert_eq!(mine(&stage, Method::PUT, &chat, "").await.status, 201);
        assert_eq!(decision(&stage, "chat", "visitor/7").await, "opted_out");
        let (bad, field) = (r#"{"channel": "fax"}"#, "channel");
        let answer = mine(&stage, Method::PUT, "/v1/opt-outs/+14155550123", bad).await;
        assert_eq!(
            (answer.status, &answer.json()["field"]),
            (400, &json!(field))
        );
        stage.finish().await;
    }
);

story!(
    what_the_contact_said_only_the_contact_takes_back,
    async |database: Database| {
        let stage = Stage::start(database).await;
        stage.ask("sms", ANA, "INC-1").await;
        assert_eq!(stage.deliver().await, 1);
        // Twilio confirms STOP by itself, so we say nothing.
        for _ in 0..2 {
            assert_eq!(text(&stage, "STOP").await, "<Response/>");
        }
        assert_eq!(entries(&stage, ANA).await, [entry("sms", "reply")]);
        let path = "/v1/opt-outs/+14155550123";
        let refused = mine(&stage, Method::DELETE, path, "").await;
        assert_eq!(
            (refused.status, &refused.json()["code"]),
            (409, &json!("opted_out_by_contact"))
        );
        // What the desk adds does not make it the desk's.
        assert_eq!(mine(&stage, Method::PUT, path, "").await.status, 201);
        assert_eq!(mine(&stage, Method::DELETE, path, "").await.status, 409);
        assert_eq!(entries(&stage, ANA).await.len(), 2);
        stage.pass(5);
        text(&stage, "START").await;
        assert_eq!(mine(&stage, Method::DELETE, path, "").await.status, 204);
        assert_eq!(entries(&stage, ANA).await, []);
        assert_eq!(decision(&stage, "sms", ANA).await, Value::Null);
        stage.finish().await;
    }
);

story!(
    a_desk_sees_a_stop_of_people_it_knows_and_of_nobody_else,
    async |database: Database| {
        let stage = Stage::start(database).await;
        let (_, other) = desk(&stage.app, "beta", "Beta Clinic").await;
        stage.ask("sms", ANA, "INC-1").await;
        stage.deliver().await;
        text(&stage, "STOP").await;
        let list = |key: String| {
            let stage = &stage;
            async move {
                let answer = call(stage, &key, Method::GET, "/v1/opt-outs", "").await;
                assert_eq!(answer.status, 200, "{answer:?}");
                answer.json()["items"].as_array().unwrap().clone()
            }
        };
        let own = list(stage.key.clone()).await;
        assert_eq!(own.len(), 1);
        assert_eq!(
            (&own[0]["address"], &own[0]["every_desk"]),
            (&json!(ANA), &json!(true))
        );
        assert_eq!(list(other.clone()).await, Vec::<Value>::new());
        let path = "/v1/opt-outs/+14155550123";
        assert_eq!(
            call(&stage, &other, Method::GET, path, "").await.status,
            404
        );
        assert_eq!(
            call(&stage, &other, Method::DELETE, path, "").await.status,
            404
        );
        // It holds there all the same, and once that desk has a request of its own it is told.
        let body = json!({"channel": "sms", "to": ANA, "conversation": "B-1"});
        let asked = call(
            &stage,
            &other,
            Method::POST,
            "/v1/requests",
            &body.to_string(),
        )
        .await;
        assert_eq!(asked.json()["reason"], "opted_out");
        assert_eq!(list(other.clone()).await.len(), 1);
        // An entry of one desk is none of another's.
        let theirs = "/v1/opt-outs/ben@example.com";
        assert_eq!(
            call(&stage, &other, Method::PUT, theirs, "").await.status,
            201
        );
        assert_eq!(entries(&stage, BEN).await, []);
        assert_eq!(decision(&stage, "email", BEN).await, Value::Null);
        stage.finish().await;
    }
);

story!(
    every_way_to_opt_out_says_which_it_was,
    async |database: Database| {
        let stage = Stage::start(database).await;
        for (n, address) in ["page@example.com", "click@example.com"].iter().enumerate() {
            stage.ask("email", address, &format!("T-{n}")).await;
        }
        stage.deliver().await;
        for mail in stage.mail.wait_for(2).await {
            let url = stage.real(mail.header("list-unsubscribe").trim_matches(['<', '>']));
            assert!(url.contains("/u/"), "{PUBLIC_URL}");
            let one_click = [("List-Unsubscribe", "One-Click")];
            stage.pass(60);
            let shown = get(&url).await;
            stage.pass(10);
            let view = shown.body.split_once("name=\"view\" value=\"").unwrap().1;
            let pressed = [
                ("view", view.split_once('"').unwrap().0),
                ("event", "button"),
            ];
            let fields: &[(&str, &str)] = if mail.header("to").contains("click") {
                &one_click
            } else {
                &pressed
            };
            assert_eq!(post_form(&url, fields, "*/*").await.status, 200);
        }
        stage.twilio.next(Behaviour::Reject {
            http: 400,
            code: 21610,
        });
        stage.ask("sms", ANA, "INC-1").await;
        stage.deliver().await;
        assert_eq!(
            entries(&stage, "page@example.com").await,
            [entry("email", "page")]
        );
        assert_eq!(
            entries(&stage, "click@example.com").await,
            [entry("email", "one_click")]
        );
        assert_eq!(entries(&stage, ANA).await, [entry("sms", "provider")]);
        for address in ["page@example.com", ANA] {
            let path = format!("/v1/opt-outs/{address}");
            assert_eq!(mine(&stage, Method::DELETE, &path, "").await.status, 409);
        }
        stage.finish().await;
    }
);

story!(
    a_file_is_taken_whole_or_not_at_all_unless_parts_are_wanted,
    async |database: Database| {
        let stage = Stage::start(database).await;
        let file = "address,channel,reason\n+14155550123,,told us\nnobody,,\nben@example.com,email,\n\
                    +14155550123,,twice\n";
        let refused = mine(&stage, Method::POST, "/v1/opt-outs/import", file).await;
        let problem = refused.json();
        assert_eq!(
            (refused.status, &problem["code"]),
            (400, &json!("invalid_lines"))
        );
        assert_eq!(problem["lines"][0]["line"], 3);
        assert_eq!(problem["lines"][0]["field"], "address");
        assert!(
            !refused.body.contains("nobody"),
            "what stands there is not repeated"
        );
        assert_eq!(
            stage.database.number("select count(*) from opt_outs").await,
            0
        );
        let path = "/v1/opt-outs/import?partial=true";
        let taken = mine(&stage, Method::POST, path, file).await.json();
        assert_eq!(
            (&taken["taken"], &taken["already"], &taken["bad"]),
            (&json!(2), &json!(1), &json!(1))
        );
        let again = mine(&stage, Method::POST, path, file).await.json();
        assert_eq!((&again["taken"], &again["already"]), (&json!(0), &json!(3)));
        assert_eq!(entries(&stage, ANA).await, [entry("*", "import")]);
        assert_eq!(entries(&stage, BEN).await, [entry("email", "import")]);

        // What goes out can come in elsewhere.
        let (_, other) = desk(&stage.app, "beta", "Beta Clinic").await;
        let bearer = format!("Bearer {}", stage.key);
        for accept in ["text/csv", "application/x-ndjson"] {
            let headers = [("authorization", bearer.as_str()), ("accept", accept)];
            let out = send(
                Method::GET,
                &format!("{}/v1/opt-outs", stage.url),
                &headers,
                "",
            )
            .await;
            assert!(out.header("content-type").starts_with(accept), "{out:?}");
            let theirs = format!("Bearer {other}");
            let headers = [("authorization", theirs.as_str()), ("content-type", accept)];
            let url = format!("{}/v1/opt-outs/import", stage.url);
            let taken = send(Method::POST, &url, &headers, out.body).await;
            assert_eq!(taken.status, 200, "{taken:?}");
        }
        // Page by page, each once.
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        loop {
            let path = format!("/v1/opt-outs?limit=1{cursor}");
            let page = mine(&stage, Method::GET, &path, "").await.json();
            seen.extend(page["items"].as_array().unwrap().clone());
            let Some(next) = page["next"].as_str() else {
                break;
            };
            cursor = format!("&cursor={next}");
        }
        assert_eq!(seen.len(), 2);
        stage.finish().await;
    }
);

story!(
    who_clicks_again_after_a_start_is_left_alone_again,
    async |database: Database| {
        let stage = returned::stage(database).await;
        let (_, mail) = mailed(&stage, "T-1").await;
        let unsubscribe = mail.header("list-unsubscribe");
        let url = stage.real(unsubscribe.trim_matches(['<', '>']));
        let told = "select count(*) from events where kind = 'contact.opted_out'";
        for ways in 1..=3 {
            for _ in 0..2 {
                let one_click = [("List-Unsubscribe", "One-Click")];
                assert_eq!(post_form(&url, &one_click, "*/*").await.status, 200);
                assert_eq!(
                    entries(&stage, BEN).await,
                    [entry("email", "one_click")],
                    "click {ways}"
                );
            }
            assert_eq!(stage.database.number(told).await, ways);
            assert_eq!(decision(&stage, "email", BEN).await, "opted_out");
            stage.pass(60);
            let start = answer(&mail, &format!("s{ways}@example.com"), BEN, "START");
            assert_eq!(brought(&stage, &start).await, "answer");
            assert_eq!(decision(&stage, "email", BEN).await, Value::Null);
        }
        let kept = "select count(*) from replies where kind = 'click'";
        assert_eq!(stage.database.number(kept).await, 1);
        stage.finish().await;
    }
);

story!(
    a_start_by_text_takes_back_what_was_said_to_one_desk_and_nothing_that_a_desk_said,
    async |database: Database| {
        let stage = Stage::start(database).await;
        let (_, other) = desk(&stage.app, "beta", "Beta Clinic").await;
        let path = "/v1/opt-outs/+14155550123";
        stage.twilio.next(Behaviour::Reject {
            http: 400,
            code: 21610,
        });
        stage.ask("sms", ANA, "INC-1").await;
        stage.deliver().await;
        assert_eq!(entries(&stage, ANA).await, [entry("sms", "provider")]);
        // Both desks have words of their own about her.
        assert_eq!(mine(&stage, Method::PUT, path, "").await.status, 201);
        let theirs = format!("{path}?channel=sms");
        let put = call(&stage, &other, Method::PUT, &theirs, "").await;
        assert_eq!(put.status, 201);
        assert_eq!(mine(&stage, Method::DELETE, path, "").await.status, 409);
        stage.pass(60);
        text(&stage, "START").await;
        assert_eq!(entries(&stage, ANA).await, [entry("*", "api")]);
        let told = "select count(*) from events where kind = 'contact.opted_in'";
        assert_eq!(stage.database.number(told).await, 1);
        let left = call(&stage, &other, Method::GET, path, "").await;
        assert_eq!(left.json()["items"][0]["origin"], "api", "{left:?}");
        assert_eq!(mine(&stage, Method::DELETE, path, "").await.status, 204);
        assert_eq!(decision(&stage, "sms", ANA).await, Value::Null);
        stage.finish().await;
    }
);
