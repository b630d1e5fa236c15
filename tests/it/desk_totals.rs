//! The totals of one desk: asked for by name, or all that a key may see.

use ::http::Method;
use serde_json::json;

use crate::story;
use crate::support::database::Database;
use crate::support::http::{self, Answer};
use crate::support::stage::{Stage, desk};

/// A chat that is asked by the desk with this key.
async fn ask(stage: &Stage, key: &str, conversation: &str) {
    let body = json!({"channel": "chat", "to": format!("visitor-{conversation}"), "conversation": conversation});
    let bearer = format!("Bearer {key}");
    let headers = [("authorization", bearer.as_str())];
    let url = format!("{}/v1/requests", stage.url);
    let answer = http::post_json(&url, &headers, &body).await;
    assert_eq!(answer.status, 202, "{answer:?}");
}

async fn totals(stage: &Stage, query: &str, key: Option<&str>) -> Answer {
    let bearer = key.map(|key| format!("Bearer {key}"));
    let headers: Vec<(&str, &str)> = bearer
        .iter()
        .map(|bearer| ("authorization", bearer.as_str()))
        .collect();
    let url = format!("{}/metrics/totals{query}", stage.url);
    http::send(Method::GET, &url, &headers, "").await
}

/// The desks that have a series.
fn desks(answer: &Answer) -> Vec<&str> {
    assert_eq!(answer.status, 200, "{answer:?}");
    let named = answer.body.lines().filter_map(|line| {
        let (_, rest) = line.split_once("desk=\"")?;
        Some(rest.split_once('"')?.0)
    });
    let mut named: Vec<&str> = named.collect();
    named.sort_unstable();
    named.dedup();
    named
}

story!(
    totals_of_one_desk_are_a_target_of_their_own,
    async |database: Database| {
        let stage = Stage::start(database).await;
        let (_, other) = desk(&stage.app, "beta", "Beta Clinic").await;
        ask(&stage, &stage.key, "A-1").await;
        ask(&stage, &other, "B-1").await;
        assert_eq!(desks(&totals(&stage, "", None).await), ["acme", "beta"]);
        assert_eq!(
            desks(&totals(&stage, "?desk=beta", None).await),
            ["beta"],
            "and nobody else's"
        );
        for wrong in ["?desk=gamma", "?desc=beta"] {
            let answer = totals(&stage, wrong, None).await;
            assert_eq!(
                (answer.status, &answer.json()["code"]),
                (400, &json!("invalid_parameter")),
                "{wrong}"
            );
        }
        stage.finish().await;
    }
);

story!(
    where_metrics_want_a_key_each_sees_its_own_desk,
    async |database: Database| {
        let stage = Stage::with(database, &[("SERVER__METRICS_KEY", "true")]).await;
        let (_, other) = desk(&stage.app, "beta", "Beta Clinic").await;
        ask(&stage, &stage.key, "A-1").await;
        ask(&stage, &other, "B-1").await;
        assert_eq!(totals(&stage, "", None).await.status, 401);
        assert_eq!(totals(&stage, "?desk=beta", None).await.status, 401);
        for query in ["", "?desk=beta"] {
            let answer = totals(&stage, query, Some(&other)).await;
            assert_eq!(desks(&answer), ["beta"], "{query}");
        }
        let theirs = totals(&stage, "?desk=acme", Some(&other)).await;
        assert_eq!(theirs.status, 403, "{theirs:?}");
        let metrics = http::get(&format!("{}/metrics", stage.url)).await;
        assert_eq!(metrics.status, 401);
    }
);
