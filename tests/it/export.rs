//! Everything that a desk has, as a file: the same rows in each format, no formula in it, and half a file is not taken for a whole.

use ::http::Method;
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use parquet::record::Field;
use serde_json::{Value, json};

use crate::story;
use crate::summary::chat;
use crate::support::database::Database;
use crate::support::http::{self, Answer};
use crate::support::stage::{Stage, desk};

async fn export(stage: &Stage, key: &str, path: &str, accept: &str) -> Answer {
    let bearer = format!("Bearer {key}");
    let headers = [("authorization", bearer.as_str()), ("accept", accept)];
    http::send(Method::GET, &format!("{}{path}", stage.url), &headers, "").await
}

/// The lines of CSV by the names of their columns.
fn table(csv: &str) -> Vec<Value> {
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let rows = reader.deserialize::<std::collections::BTreeMap<String, String>>();
    rows.map(|row| json!(row.unwrap())).collect()
}

story!(
    an_export_has_what_the_pages_have,
    async |database: Database| {
        let stage = Stage::start(database).await;
        for n in 0..7 {
            let about = json!({"team": "=cmd|' /C calc'!A0", "agent": {"id": "a-1", "name": "Sam"}, "topic": "a,\"b\";c"});
            chat(&stage, &format!("INC-{n}"), about, (n < 4).then_some(5)).await;
            stage.pass(10);
        }
        let key = stage.key.clone();
        for (list, count) in [("ratings", 4), ("requests", 7)] {
            let path = format!("/v1/{list}");
            let items = stage.api(&path).await["items"].as_array().unwrap().clone();
            assert_eq!(items.len(), count);

            let lines = export(&stage, &key, &path, "application/x-ndjson").await;
            assert_eq!(lines.header("content-type"), "application/x-ndjson");
            let read: Vec<Value> = lines
                .body
                .lines()
                .map(|line| serde_json::from_str(line).unwrap())
                .collect();
            assert_eq!(read, items, "JSON lines are what a page has");

            let csv = export(&stage, &key, &path, "text/csv").await;
            assert_eq!(
                csv.header("content-disposition"),
                format!("attachment; filename=\"{list}.csv\"")
            );
            let rows = table(&csv.body);
            assert_eq!(rows.len(), count);
            for (row, item) in rows.iter().zip(&items) {
                for name in ["id", "conversation", "topic", "phase"] {
                    assert_eq!(row[name], item[name], "{name}");
                }
                assert_eq!(row["agent_name"], "Sam");
                assert_eq!(row["team"], "'=cmd|' /C calc'!A0", "no formula");
            }
            if list == "ratings" {
                assert_eq!(
                    (&rows[0]["score"], &rows[0]["answered_at"]),
                    (&json!("5"), &items[0]["answered_at"])
                );
            } else {
                assert_eq!(
                    (&rows[6]["answered_at"], &rows[6]["state"]),
                    (&json!(""), &items[6]["state"])
                );
            }

            // Documented are the columns that there are.
            let document = stage.api("/openapi.json").await;
            let documented = document["paths"][&path]["get"]["description"]
                .as_str()
                .unwrap()
                .to_owned();
            for name in rows[0].as_object().unwrap().keys() {
                assert!(
                    documented.contains(&format!("`{name}`")),
                    "{name} is not in {documented}"
                );
            }
        }
        stage.finish().await;
    }
);

story!(parquet_reads_back, async |database: Database| {
    let stage = Stage::start(database).await;
    for n in 0..5 {
        chat(
            &stage,
            &format!("INC-{n}"),
            json!({"team": "network"}),
            (n < 3).then_some(4),
        )
        .await;
    }
    let bearer = format!("Bearer {}", stage.key);
    let headers = [
        ("authorization", bearer.as_str()),
        ("accept", "application/vnd.apache.parquet"),
    ];
    for (list, count) in [("ratings", 3), ("requests", 5)] {
        let items = stage.api(&format!("/v1/{list}")).await["items"]
            .as_array()
            .unwrap()
            .clone();
        let url = format!("{}/v1/{list}", stage.url);
        let (status, bytes) = http::bytes(&url, &headers).await;
        assert_eq!(status, 200);
        let reader = SerializedFileReader::new(bytes).unwrap();
        let rows: Vec<_> = reader
            .get_row_iter(None)
            .unwrap()
            .map(Result::unwrap)
            .collect();
        assert_eq!(rows.len(), count);
        for (row, item) in rows.iter().zip(&items) {
            let fields: std::collections::BTreeMap<&str, &Field> = row
                .get_column_iter()
                .map(|(name, field)| (name.as_str(), field))
                .collect();
            assert_eq!(
                fields["id"],
                &Field::Str(item["id"].as_str().unwrap().to_owned())
            );
            assert_eq!(fields["team"], &Field::Str("network".to_owned()));
            let answered = if let Field::TimestampMillis(at) = fields["answered_at"] {
                json!(onefive::domain::time::Timestamp::from_millis(*at).to_rfc3339())
            } else {
                assert_eq!(fields["answered_at"], &Field::Null);
                Value::Null
            };
            assert_eq!(answered, item["answered_at"]);
            if list == "ratings" {
                assert_eq!(fields["score"], &Field::Long(4));
            }
        }
    }
    stage.finish().await;
});

story!(
    an_export_is_one_desks_and_may_be_narrowed,
    async |database: Database| {
        let stage = Stage::start(database).await;
        let mut starts = Vec::new();
        for n in 0..5 {
            starts.push(stage.now().to_rfc3339());
            chat(&stage, &format!("INC-{n}"), json!({}), Some(4)).await;
            stage.pass(10);
        }
        let key = stage.key.clone();
        let (_, other) = desk(&stage.app, "other", "Other").await;
        let count = async |key: &str, query: &str| {
            let answer = export(&stage, key, &format!("/v1/ratings{query}"), "text/csv").await;
            assert_eq!(answer.status, 200, "{answer:?}");
            table(&answer.body).len()
        };
        assert_eq!(count(&key, "").await, 5);
        assert_eq!(count(&other, "").await, 0);
        assert_eq!(count(&key, &format!("?from={}", starts[2])).await, 3);
        assert_eq!(count(&key, &format!("?to={}", starts[2])).await, 2);
        assert_eq!(count(&key, "?conversation=INC-3").await, 1);
        let page = stage.api("/v1/ratings?limit=2").await;
        let cursor = page["next"].as_str().unwrap();
        assert_eq!(count(&key, &format!("?cursor={cursor}")).await, 3);
        let limited = export(&stage, &key, "/v1/ratings?limit=2", "text/csv").await;
        assert_eq!(
            (limited.status, &limited.json()["field"]),
            (400, &json!("limit"))
        );
        assert_eq!(
            export(&stage, "o5_none", "/v1/ratings", "text/csv")
                .await
                .status,
            401
        );
        stage.finish().await;
    }
);

story!(
    what_is_taken_out_is_marked_in_each_format,
    async |database: Database| {
        let stage = Stage::start(database).await;
        let asked = stage.now();
        for n in 0..2 {
            chat(&stage, &format!("INC-{n}"), json!({}), Some(4)).await;
            stage.pass(10);
        }
        let key = stage.key.clone();
        let first = stage.api("/v1/ratings").await["items"][0]["id"].clone();
        let bearer = format!("Bearer {key}");
        let url = format!(
            "{}/v1/ratings/{}/exclude",
            stage.url,
            first.as_str().unwrap()
        );
        let out = stage.now();
        let why = json!({"by": "Kim", "reason": "about another company"});
        let answer = http::post_json(&url, &[("authorization", &bearer)], &why).await;
        assert_eq!(answer.status, 200, "{answer:?}");

        let lines = export(&stage, &key, "/v1/ratings", "application/x-ndjson").await;
        let lines: Vec<Value> = lines
            .body
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let note = json!({"at": out, "by": "Kim", "reason": "about another company"});
        assert_eq!(lines[0]["excluded"], note);
        assert!(lines[1].get("excluded").is_none());
        assert_eq!(lines[0]["requested_at"], json!(asked));
        let wording = lines[0]["wording"].as_str().unwrap();
        let summary = stage.api("/v1/summary?group_by=wording").await;
        assert_eq!(summary["groups"][0]["by"]["wording"], wording);

        let csv = export(&stage, &key, "/v1/ratings", "text/csv").await;
        let names = csv.body.lines().next().unwrap();
        let last = ",excluded_at,excluded_by,excluded_reason,requested_at,wording";
        assert!(names.ends_with(last), "new columns come last: {names}");
        let rows = table(&csv.body);
        let marks = |row: &Value| {
            ["excluded_at", "excluded_by", "excluded_reason"].map(|name| row[name].clone())
        };
        assert_eq!(
            marks(&rows[0]),
            [json!(out), json!("Kim"), json!("about another company")]
        );
        assert_eq!(marks(&rows[1]), [json!(""), json!(""), json!("")]);

        let accept = "application/vnd.apache.parquet";
        let headers = [("authorization", bearer.as_str()), ("accept", accept)];
        let (status, bytes) = http::bytes(&format!("{}/v1/ratings", stage.url), &headers).await;
        assert_eq!(status, 200);
        let reader = SerializedFileReader::new(bytes).unwrap();
        let text = |text: &str| Field::Str(text.to_owned());
        for (n, row) in reader.get_row_iter(None).unwrap().enumerate() {
            let row = row.unwrap();
            let fields: std::collections::BTreeMap<&str, &Field> = row
                .get_column_iter()
                .map(|(name, field)| (name.as_str(), field))
                .collect();
            let (at, by, reason) = if n == 0 {
                let at = Field::TimestampMillis(out.as_millis());
                (at, text("Kim"), text("about another company"))
            } else {
                (Field::Null, text(""), text(""))
            };
            assert_eq!(fields["excluded_at"], &at);
            assert_eq!(fields["excluded_by"], &by);
            assert_eq!(fields["excluded_reason"], &reason);
            assert_eq!(fields["wording"], &text(wording));
            assert_eq!(rows[n]["wording"], wording);
            assert_eq!(rows[n]["requested_at"], lines[n]["requested_at"]);
            let requested =
                Field::TimestampMillis(asked.as_millis() + 10_000 * i64::try_from(n).unwrap());
            assert_eq!(fields["requested_at"], &requested);
        }
        stage.finish().await;
    }
);
