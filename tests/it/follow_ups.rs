//! A low score is known at once and stays open until somebody takes it, tells the customer, and closes it.

#![expect(clippy::float_cmp, reason = "whole numbers, as Prometheus shows them")]

use ::http::Method;
use serde_json::{Value, json};

use crate::story;
use crate::summary::chat;
use crate::support::database::Database;
use crate::support::http::{self, Answer};
use crate::support::stage::{ANA, OUR_NUMBER, Stage, desk};

async fn post(stage: &Stage, key: &str, path: &str, body: Value) -> Answer {
    let bearer = format!("Bearer {key}");
    let url = format!("{}/v1/follow-ups/{path}", stage.url);
    http::post_json(&url, &[("authorization", &bearer)], &body).await
}

async fn list(stage: &Stage, query: &str) -> Vec<Value> {
    let page = stage.api(&format!("/v1/follow-ups{query}")).await;
    page["items"].as_array().unwrap().clone()
}

const LOW: &str = "select count(*) from events where kind = 'rating.low'";

story!(
    a_low_score_is_taken_told_and_closed,
    async |database: Database| {
        let stage = Stage::start(database).await;
        for (n, score) in [5, 1, 3, 2, 4].into_iter().enumerate() {
            chat(
                &stage,
                &format!("INC-{n}"),
                json!({"team": "network"}),
                Some(score),
            )
            .await;
            stage.pass(10);
        }
        assert_eq!(stage.database.number(LOW).await, 2);
        let open = list(&stage, "?state=open").await;
        let seen: Vec<&Value> = open
            .iter()
            .map(|one| &one["rating"]["conversation"])
            .collect();
        assert_eq!(seen, ["INC-1", "INC-3"]);
        assert_eq!(
            (&open[0]["score"], &open[0]["rating"]["team"]),
            (&json!(1), &json!("network"))
        );
        assert_eq!(
            stage
                .metric(r#"onefive_follow_ups{desk="acme",state="open"}"#)
                .await,
            2.0
        );
        assert_eq!(
            stage
                .metric(r#"onefive_low_ratings_total{desk="acme",channel="chat",touchpoint=""}"#)
                .await,
            2.0
        );

        let id = open[0]["id"].as_str().unwrap();
        let (key, sam) = (&stage.key, json!({"owner": "Sam"}));
        stage.pass(40);
        let taken = post(&stage, key, &format!("{id}/take"), sam.clone()).await;
        assert_eq!(
            (taken.status, &taken.json()["state"]),
            (200, &json!("taken"))
        );
        let again = post(&stage, key, &format!("{id}/take"), json!({"owner": "Kim"})).await;
        assert_eq!(
            (again.status, &again.json()["code"]),
            (409, &json!("follow_up_taken"))
        );
        let over = json!({"owner": "Kim", "handover": true});
        assert_eq!(
            post(&stage, key, &format!("{id}/take"), over).await.status,
            200
        );
        stage.pass(60);
        let told = post(
            &stage,
            key,
            &format!("{id}/told"),
            json!({"note": "called back"}),
        )
        .await;
        assert_eq!(told.json()["told_note"], "called back");
        stage.pass(60);
        for _ in 0..2 {
            let closed = post(
                &stage,
                key,
                &format!("{id}/close"),
                json!({"note": "refunded"}),
            )
            .await;
            assert_eq!(
                (closed.status, &closed.json()["closed_by"]),
                (200, &json!("owner"))
            );
        }
        let late = post(&stage, key, &format!("{id}/take"), sam.clone()).await;
        assert_eq!(
            (late.status, &late.json()["code"]),
            (409, &json!("follow_up_closed"))
        );
        assert_eq!(list(&stage, "?state=closed").await.len(), 1);
        assert_eq!(list(&stage, "").await.len(), 2);
        // 30 s passed in the conversations after it, then each step.
        for (step, seconds) in [("taken", 80.0), ("told", 140.0), ("closed", 200.0)] {
            let sum = format!(r#"onefive_follow_up_seconds_sum{{desk="acme",step="{step}"}}"#);
            assert_eq!(stage.metric(&sum).await, seconds, "{step}");
            let count = format!(r#"onefive_follow_up_seconds_count{{desk="acme",step="{step}"}}"#);
            assert_eq!(stage.metric(&count).await, 1.0, "{step}");
        }

        let (_, other) = desk(&stage.app, "other", "Other").await;
        for (key, path, body, status) in [
            (&other, format!("{id}/take"), sam, 404),
            (
                key,
                format!("{id}/told"),
                json!({"note": "x".repeat(1001)}),
                400,
            ),
            (key, format!("{id}/take"), json!({"owner": " "}), 400),
            (key, format!("{id}/take"), json!({"owner": "a\u{0}b"}), 400),
            (key, format!("{id}/take"), json!({"name": "Sam"}), 400),
            (key, "fol_1/take".to_owned(), json!({"owner": "Sam"}), 404),
        ] {
            assert_eq!(
                post(&stage, key, &path, body).await.status,
                status,
                "{path}"
            );
        }
        let bearer = format!("Bearer {key}");
        let url = format!("{}/v1/follow-ups?state=lost", stage.url);
        let wrong = http::send(Method::GET, &url, &[("authorization", &bearer)], "").await;
        assert_eq!(wrong.json()["field"], "state");
        stage.finish().await;
    }
);

story!(
    a_correction_opens_and_closes_a_follow_up,
    async |database: Database| {
        let stage = Stage::start(database).await;
        stage.ask("sms", ANA, "INC-1").await;
        stage.deliver().await;
        let say = async |words: &str| {
            stage.pass(10);
            let service = stage.service();
            let (status, _) = stage.twilio.text(&service, ANA, OUR_NUMBER, words).await;
            assert_eq!(status, 200);
        };
        let states = async || {
            let all = list(&stage, "").await;
            all.iter()
                .map(|one| {
                    (
                        one["state"].as_str().unwrap().to_owned(),
                        one["score"].as_i64().unwrap(),
                    )
                })
                .collect::<Vec<_>>()
        };
        let (open, closed) = (|n| ("open".to_owned(), n), |n| ("closed".to_owned(), n));
        say("4").await;
        assert_eq!(states().await, []);
        say("1").await;
        assert_eq!(states().await, [open(1)]);
        say("2").await;
        assert_eq!(states().await, [open(2)], "still low, and one is enough");
        say("5").await;
        assert_eq!(states().await, [closed(2)]);
        assert_eq!(list(&stage, "").await[0]["closed_by"], "corrected");
        say("1").await;
        assert_eq!(states().await, [closed(2), open(1)]);
        assert_eq!(stage.database.number(LOW).await, 2);
        stage.finish().await;
    }
);

story!(
    what_is_low_is_the_desks_choice,
    async |database: Database| {
        let stage = Stage::start(database).await;
        for (at_most, score, low) in [(0, 1, 0), (3, 3, 1), (1, 2, 1), (1, 1, 2)] {
            stage
                .database
                .execute(match at_most {
                    0 => r#"update desks set settings = '{"low_scores":{"at_most":0}}'"#,
                    1 => r#"update desks set settings = '{"low_scores":{"at_most":1}}'"#,
                    _ => r#"update desks set settings = '{"low_scores":{"at_most":3}}'"#,
                })
                .await;
            chat(
                &stage,
                &format!("INC-{at_most}-{score}"),
                json!({}),
                Some(score),
            )
            .await;
            assert_eq!(
                list(&stage, "?state=open").await.len(),
                low,
                "{score} where {at_most}"
            );
        }
        stage.finish().await;
    }
);

story!(
    what_is_taken_out_needs_nobody,
    async |database: Database| {
        let stage = Stage::start(database).await;
        stage.ask("sms", ANA, "INC-1").await;
        stage.deliver().await;
        let say = async |words: &str| {
            stage.pass(10);
            let service = stage.service();
            stage.twilio.text(&service, ANA, OUR_NUMBER, words).await;
        };
        say("1").await;
        let rating = stage.api("/v1/ratings").await["items"][0]["id"].clone();
        let act = async |act: &str| {
            stage.pass(10);
            let url = format!(
                "{}/v1/ratings/{}/{act}",
                stage.url,
                rating.as_str().unwrap()
            );
            let headers = [("authorization", format!("Bearer {}", stage.key))];
            let headers = headers
                .each_ref()
                .map(|(name, value)| (*name, value.as_str()));
            let answer = http::post_json(&url, &headers, &json!({"reason": "a test"})).await;
            assert_eq!(answer.status, 200, "{answer:?}");
        };
        let states = async || {
            let all = list(&stage, "").await;
            let of = |one: &Value| (one["state"].clone(), one["closed_by"].clone());
            all.iter().map(of).collect::<Vec<_>>()
        };
        let open = || (json!("open"), Value::Null);
        let closed = |by: &str| (json!("closed"), json!(by));
        assert_eq!(states().await, [open()]);
        act("exclude").await;
        assert_eq!(states().await, [closed("excluded")]);
        assert_eq!(list(&stage, "?state=open").await.len(), 0);
        // A correction of what does not count calls nobody.
        say("2").await;
        assert_eq!(states().await, [closed("excluded")]);
        act("restore").await;
        let low = list(&stage, "").await;
        assert_eq!(states().await, [open()]);
        assert_eq!(low[0]["score"], 2, "as it is by now");
        assert_eq!(stage.database.number(LOW).await, 1, "the desk knows of it");
        // Somebody has it, and has it again.
        let id = low[0]["id"].as_str().unwrap();
        let sam = json!({"owner": "Sam"});
        post(&stage, &stage.key, &format!("{id}/take"), sam).await;
        act("exclude").await;
        act("restore").await;
        assert_eq!(states().await, [(json!("taken"), Value::Null)]);
        // It is good when it comes back, and stays closed; then low, and is opened anew.
        act("exclude").await;
        say("5").await;
        act("restore").await;
        assert_eq!(states().await, [closed("corrected")]);
        act("exclude").await;
        say("1").await;
        act("restore").await;
        assert_eq!(states().await, [closed("corrected"), open()]);
        // What its owner closed stays so.
        let last = list(&stage, "?state=open").await[0]["id"].clone();
        let path = format!("{}/close", last.as_str().unwrap());
        post(&stage, &stage.key, &path, json!({"note": "called"})).await;
        act("exclude").await;
        act("restore").await;
        assert_eq!(states().await, [closed("corrected"), closed("owner")]);
        stage.finish().await;
    }
);

story!(
    the_newest_come_first_where_that_is_asked_for,
    async |database: Database| {
        let stage = Stage::start(database).await;
        for n in 0..7 {
            let about = if n % 2 == 0 {
                json!({"team": "network", "queue": "vpn", "touchpoint": "incident.resolved"})
            } else {
                json!({"team": "workplace", "queue": "printers", "touchpoint": "hardware.swap"})
            };
            chat(&stage, &format!("INC-{n}"), about, Some(1)).await;
            stage.pass(10);
        }
        let all = list(&stage, "").await;
        let taken = all[6]["id"].as_str().unwrap();
        let sam = json!({"owner": "Sam"});
        post(&stage, &stage.key, &format!("{taken}/take"), sam).await;
        let read = async |query: &str| {
            let (mut found, mut cursor) = (Vec::new(), String::new());
            loop {
                let path = format!("/v1/follow-ups?limit=2{query}{cursor}");
                let page = stage.api(&path).await;
                for item in page["items"].as_array().unwrap() {
                    let name = item["rating"]["conversation"].as_str().unwrap();
                    found.push(name.trim_start_matches("INC-").parse::<u8>().unwrap());
                }
                match page["next"].as_str() {
                    Some(next) => cursor = format!("&cursor={next}"),
                    None => return found,
                }
            }
        };
        for (query, expected) in [
            ("", &[0, 1, 2, 3, 4, 5, 6][..]),
            ("&order=oldest", &[0, 1, 2, 3, 4, 5, 6]),
            ("&order=newest", &[6, 5, 4, 3, 2, 1, 0]),
            ("&state=open", &[0, 1, 2, 3, 4, 5]),
            ("&state=open&order=newest", &[5, 4, 3, 2, 1, 0]),
            ("&state=taken&order=newest", &[6]),
            ("&team=network&order=newest", &[6, 4, 2, 0]),
            ("&state=open&team=network&order=newest", &[4, 2, 0]),
            ("&state=open&queue=printers", &[1, 3, 5]),
            ("&touchpoint=hardware.swap&order=newest", &[5, 3, 1]),
            ("&channel=sms", &[]),
            ("&channel=chat&state=open&team=network", &[0, 2, 4]),
        ] {
            assert_eq!(read(query).await, expected, "{query}");
        }
        let bearer = format!("Bearer {}", stage.key);
        for (query, field) in [("order=random", "order"), ("team=a%00b", "team")] {
            let url = format!("{}/v1/follow-ups?{query}", stage.url);
            let wrong = http::send(Method::GET, &url, &[("authorization", &bearer)], "").await;
            assert_eq!((wrong.status, &wrong.json()["field"]), (400, &json!(field)));
        }
        stage.finish().await;
    }
);
