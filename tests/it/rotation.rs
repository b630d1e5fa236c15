//! A newer key is put on top: everything is sealed anew while the service runs, the old key goes, and everything still opens.

use std::path::PathBuf;
use std::time::Duration;

use http::Method;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tokio::time::{interval, timeout};

use crate::story;
use crate::support::database::Database;
use crate::support::http::{Answer, post_json, send};
use crate::support::program::Program;
use crate::support::receiver::Receiver;

/// Only a broken service comes near.
const DEADLINE: Duration = Duration::from_mins(1);

fn key_file(database: &Database) -> PathBuf {
    match database {
        Database::Sqlite(folder) => folder.path().join("onefive.keys"),
        Database::Postgres { folder, .. } => folder.path().join("keys"),
    }
}

/// Puts a key on top of the file, as an operator does.
fn rotate(file: &PathBuf) {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_onefive"))
        .args(["key", "file", "--rotate"])
        .arg(file)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
}

/// Waits until a key seals nothing any more.
async fn unused(program: &Program, key: &str) {
    let done = async {
        let mut ticks = interval(Duration::from_millis(100));
        loop {
            ticks.tick().await;
            let used = program.run(&["key", "used"]);
            assert!(!used.contains("not in the key file"), "{used}");
            let line = format!("{key}\t0 values");
            let plain = used.lines().any(|line| line.starts_with("-\t"));
            if !plain && used.lines().any(|known| known.starts_with(&line)) {
                break;
            }
        }
    };
    let done = timeout(DEADLINE, done).await;
    assert!(done.is_ok(), "{}", program.run(&["key", "used"]));
}

/// Ends it as an operator does: its duties are free at once.
async fn end(program: &mut Program) {
    program.signal("TERM");
    assert!(program.end().await.success());
}

async fn request(program: &Program, key: &str, id: &str) -> Answer {
    let bearer = format!("Bearer {key}");
    let url = format!("{}/v1/requests/{id}", program.url);
    send(Method::GET, &url, &[("authorization", &bearer)], "").await
}

const SAID: &str = "select count(*) from events where length(detail) > 0";
const SAID_WITH_K3: &str = "select count(*) from events where substr(detail, 1, 3) = x'026b33'";
const SAID_WITH_K3_POSTGRES: &str =
    "select count(*) from events where substr(detail, 1, 3) = '\\x026b33'";

/// A webhook in the middle of changing its secret; its identifier.
async fn subscribed(program: &Program, headers: &[(&str, &str)], receiver: &Receiver) -> String {
    let url = format!("{}/v1/webhooks", program.url);
    let hook = post_json(&url, headers, &json!({"url": receiver.url, "types": []})).await;
    assert_eq!(hook.status, 201, "{hook:?}");
    let id = hook.json()["id"].as_str().unwrap().to_owned();
    let rotated = post_json(&format!("{url}/{id}/rotate"), headers, &json!({})).await;
    assert_eq!(rotated.status, 200, "{rotated:?}");
    id
}

/// The low score is cared for.
async fn noted(program: &Program, headers: &[(&str, &str)]) {
    let url = format!("{}/v1/follow-ups", program.url);
    let open = send(Method::GET, &url, headers, "").await.json();
    let id = open["items"][0]["id"].as_str().unwrap();
    for (step, note) in [("told", "we called back"), ("close", "we paid it back")] {
        let step = format!("{url}/{id}/{step}");
        let answer = post_json(&step, headers, &json!({"note": note})).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
}

story!(
    a_key_is_rotated_while_the_service_runs,
    async |database: Database| {
        let http = Client::builder(TokioExecutor::new()).build_http();
        let mut program = Program::new(&database);
        program.set("server.drain_grace_seconds", "0");
        program.set("sinks.webhook.allow_networks", "[\"127.0.0.0/8\"]");
        program.set("sinks.webhook.allow_http", "true");
        program.serve(&http).await;
        program.desk();
        let key = program.run(&[
            "key",
            "create",
            "--desk",
            "acme",
            "--scopes",
            "send,read,admin",
        ]);
        let bearer = format!("Bearer {key}");
        let headers = [("authorization", bearer.as_str())];
        let body = json!({"channel": "chat", "to": "visitor-7", "conversation": "CH-1", "metadata": {"a": "b"}});
        let asked = post_json(&format!("{}/v1/requests", program.url), &headers, &body).await;
        let asked = asked.json();
        let (id, token) = (
            asked["id"].as_str().unwrap(),
            asked["token"].as_str().unwrap(),
        );
        let press = json!({"score": 1, "comment": "words of a visitor"});
        let ask = format!("{}/w/{token}", program.url);
        assert_eq!(post_json(&ask, &[], &press).await.status, 200);
        let path = format!("{}/v1/opt-outs/ben@example.com", program.url);
        assert_eq!(send(Method::PUT, &path, &headers, "").await.status, 201);
        let receiver = Receiver::start().await;
        let hook = subscribed(&program, &headers, &receiver).await;
        noted(&program, &headers).await;
        // A comment, a note and settings from before such texts were sealed.
        database
            .execute("update follow_ups set told_note = 'we called back'")
            .await;
        database
            .execute("update ratings set comment = 'words of a visitor'")
            .await;
        database
            .execute("update desks set settings = '{\"language\":\"de\"}'")
            .await;
        end(&mut program).await;
        assert!(
            program
                .run(&["key", "used"])
                .contains("-\t3 values that are not sealed yet")
        );

        let file = key_file(&database);
        rotate(&file);
        program.serve(&http).await;
        unused(&program, "k1").await;
        end(&mut program).await;
        rotate(&file);
        program.serve(&http).await;
        unused(&program, "k2").await;
        assert!(
            program
                .run(&["key", "used"])
                .contains("k1\t0 values\tstays")
        );
        let plain = "select count(*) from ratings where comment like '%visitor%'";
        assert_eq!(database.number(plain).await, 0);

        // The contact's words stand in two events: the rating, and that it is low.
        assert_eq!(database.number(SAID).await, 2);
        let newest = match &database {
            Database::Sqlite(_) => SAID_WITH_K3,
            Database::Postgres { .. } => SAID_WITH_K3_POSTGRES,
        };
        assert_eq!(
            database.number(newest).await,
            2,
            "also what is said in events"
        );

        // The key in the middle goes.
        let text = std::fs::read_to_string(&file).unwrap();
        let kept: Vec<&str> = text
            .lines()
            .filter(|line| !line.starts_with("k2 "))
            .collect();
        assert_eq!(kept.len(), 2);
        std::fs::write(&file, kept.join("\n")).unwrap();
        program.serve(&http).await;
        let read = request(&program, &key, id).await.json();
        assert_eq!(
            (&read["rating"]["comment"], &read["to"]),
            (&json!("words of a visitor"), &json!("handle …"))
        );
        assert_eq!(read["metadata"], json!({"a": "b"}));
        let listed = send(Method::GET, &path, &headers, "").await.json();
        assert_eq!(listed["items"][0]["address"], "ben@example.com");
        let still: Value = send(Method::GET, &ask, &[], "").await.json();
        assert_eq!(still["score"], 1, "the link works as before");
        let url = format!("{}/v1/webhooks/{hook}", program.url);
        let read = send(Method::GET, &url, &headers, "").await;
        assert_eq!(read.json()["url"], receiver.url, "{read:?}");
        let url = format!("{}/v1/follow-ups", program.url);
        let read = send(Method::GET, &url, &headers, "").await.json();
        let item = &read["items"][0];
        assert_eq!(
            (&item["told_note"], &item["close_note"]),
            (&json!("we called back"), &json!("we paid it back"))
        );

        // Without the key that seals nothing opens, and the log says which one is missing.
        let only = kept[1].to_owned();
        std::fs::write(&file, only).unwrap();
        program.serve(&http).await;
        assert_ne!(request(&program, &key, id).await.status, 200);
        let missing = "the key k3, which is not in the key file";
        assert!(program.log().contains(missing), "{}", program.log());
    }
);
