//! A manager takes a rating out of the reports and puts it back: with a reason, written down, and nothing is deleted.

use ::http::Method;
use serde_json::{Value, json};

use crate::story;
use crate::support::database::Database;
use crate::support::http::{self, Answer};
use crate::support::stage::{Stage, desk};

/// A chat that was answered; the rating's id, and where its chat posts.
async fn rated(stage: &Stage, conversation: &str, score: i64) -> (String, String) {
    let body = json!({"channel": "chat", "to": conversation, "conversation": conversation});
    let token = stage.trigger(&body).await.json()["token"].clone();
    let door = format!("{}/w/{}", stage.url, token.as_str().unwrap());
    http::post_json(&door, &[], &json!({"score": score})).await;
    let list = stage
        .api(&format!("/v1/ratings?conversation={conversation}"))
        .await;
    (list["items"][0]["id"].as_str().unwrap().to_owned(), door)
}

async fn act(stage: &Stage, id: &str, act: &str, body: &Value) -> Answer {
    let bearer = format!("Bearer {}", stage.key);
    let headers = [("authorization", bearer.as_str())];
    let url = format!("{}/v1/ratings/{id}/{act}", stage.url);
    http::post_json(&url, &headers, body).await
}

async fn notes(stage: &Stage, act: &str) -> i64 {
    let series =
        format!("onefive_rating_notes_total{{desk=\"acme\",channel=\"chat\",act=\"{act}\"}}");
    #[expect(clippy::cast_possible_truncation, reason = "a small count")]
    let count = stage.metric(&series).await as i64;
    count
}

story!(
    a_rating_is_excluded_with_a_reason_and_restored,
    async |database: Database| {
        let stage = Stage::start(database).await;
        let (id, _) = rated(&stage, "C-1", 1).await;
        stage.pass(1);
        rated(&stage, "C-2", 5).await;
        stage.pass(60);
        let at = stage.now();
        let why = json!({"reason": "about another company", "by": "Kim"});
        let excluded = act(&stage, &id, "exclude", &why).await;
        assert_eq!(excluded.status, 200, "{excluded:?}");
        let note = json!({"at": at, "by": "Kim", "reason": "about another company"});
        assert_eq!(excluded.json()["excluded"], note);
        assert_eq!(notes(&stage, "excluded").await, 1);
        assert_eq!(notes(&stage, "restored").await, 0);

        // Again is no second act, whatever it says.
        stage.pass(60);
        let again = act(&stage, &id, "exclude", &json!({"reason": "other"})).await;
        assert_eq!(again.json(), excluded.json());
        assert_eq!(notes(&stage, "excluded").await, 1);

        // It stays in the list, marked, and the counter of first answers stays.
        let list = stage.api("/v1/ratings").await;
        assert_eq!(list["items"].as_array().unwrap().len(), 2);
        assert_eq!(list["items"][0]["excluded"], note);
        assert!(list["items"][1].get("excluded").is_none());
        assert_eq!(stage.ratings("chat").await, [2, 2, 2]);

        let restored = act(&stage, &id, "restore", &json!({"reason": "it was us"})).await;
        assert_eq!(restored.status, 200);
        assert!(restored.json().get("excluded").is_none());
        act(&stage, &id, "restore", &json!({"reason": "it was us"})).await;
        assert_eq!(notes(&stage, "restored").await, 1);
        act(&stage, &id, "exclude", &json!({"reason": "after all"})).await;
        assert_eq!(notes(&stage, "excluded").await, 2);
        assert_eq!(stage.ratings("chat").await, [2, 2, 2]);
        // Every act is written down, in order.
        for log in [
            "select count(*) from rating_log where n = 1 and act = 'excluded' and actor = 'Kim' and reason = 'about another company'",
            "select count(*) from rating_log where n = 2 and act = 'restored' and actor = '' and reason = 'it was us'",
            "select count(*) from rating_log where n = 3 and act = 'excluded' and reason = 'after all'",
        ] {
            assert_eq!(stage.database.number(log).await, 1, "{log}");
        }
        let all = "select count(*) from rating_log";
        assert_eq!(stage.database.number(all).await, 3);
        stage.finish().await;
    }
);

story!(
    the_contact_may_correct_an_excluded_rating_and_it_stays_excluded,
    async |database: Database| {
        let stage = Stage::start(database).await;
        let (id, door) = rated(&stage, "C-1", 1).await;
        act(&stage, &id, "exclude", &json!({"reason": "a test"})).await;
        http::post_json(&door, &[], &json!({"score": 4})).await;
        let rating = &stage.api("/v1/ratings").await["items"][0];
        assert_eq!(
            json!([rating["score"], rating["excluded"]["reason"]]),
            json!([4, "a test"])
        );
        stage.finish().await;
    }
);

story!(
    only_a_manager_of_the_desk_excludes_and_only_with_a_reason,
    async |database: Database| {
        let stage = Stage::start(database).await;
        let (id, _) = rated(&stage, "C-1", 1).await;
        for word in ["exclude", "restore"] {
            for (body, field) in [
                (json!({}), "reason"),
                (json!({"reason": ""}), "reason"),
                (json!({"reason": 5}), "reason"),
                (json!({"reason": "x", "by": "y".repeat(101)}), "by"),
                (json!({"reason": "x", "score": 5}), "score"),
            ] {
                let answer = act(&stage, &id, word, &body).await;
                assert_eq!(answer.status, 400, "{body}");
                assert!(answer.body.contains(field), "{answer:?}");
            }
            let why = json!({"reason": "x"});
            for unknown in ["rat_019a3f0c7d5b7c0e9d8a5b6c7d8e9f01", "x"] {
                assert_eq!(act(&stage, unknown, word, &why).await.status, 404);
            }
            let (_, key) = desk(&stage.app, word, "Other").await;
            let bearer = format!("Bearer {key}");
            let url = format!("{}/v1/ratings/{id}/{word}", stage.url);
            let headers = [("authorization", bearer.as_str())];
            assert_eq!(http::post_json(&url, &headers, &why).await.status, 404);
            let body = http::send(Method::POST, &url, &headers, "reason=x").await;
            assert_eq!(body.status, 415);
        }
        let all = "select count(*) from rating_log";
        assert_eq!(stage.database.number(all).await, 0);
        stage.finish().await;
    }
);
