//! Chats: the answer to the trigger holds the ask, and the token in it is the proof.

use http::Method;
use serde_json::{Value, json};

use crate::story;
use crate::support::database::Database;
use crate::support::http::{Answer, get, post_json, send};
use crate::support::stage::{PUBLIC_URL, Stage};

fn trigger() -> Value {
    json!({
        "channel": "chat", "to": "visitor-7", "conversation": "CH-1", "agent": {"name": "Sam"}, "touchpoint": "test"
    })
}

/// The request's id and the real address of its ask.
async fn asked(stage: &Stage) -> (String, String) {
    let answer = stage.trigger(&trigger()).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    let answer = answer.json();
    let url = stage.real(answer["ask"]["url"].as_str().unwrap());
    (answer["id"].as_str().unwrap().to_owned(), url)
}

/// A chat lives on the desk's own page: whoever has the token may call from there, with no cookie.
fn is_open_to_other_origins(answer: &Answer) {
    assert_eq!(answer.header("access-control-allow-origin"), "*");
    assert_eq!(answer.header("access-control-allow-credentials"), "");
}

async fn press(url: &str, body: &Value) -> Answer {
    let answer = post_json(url, &[("origin", "https://desk.example")], body).await;
    is_open_to_other_origins(&answer);
    answer
}

story!(
    a_chat_is_answered_with_a_button,
    async |database: Database| {
        let stage = Stage::start(database).await;
        assert_eq!(stage.ratings("chat").await, [0, 0, 0]);
        let first = stage.trigger(&trigger()).await;
        assert_eq!(first.status, 202);
        let answer = first.json();
        let token = answer["token"].as_str().unwrap();
        assert_eq!(answer["state"], "sent");
        assert_eq!(answer["ask"]["url"], format!("{PUBLIC_URL}/w/{token}"));
        assert_eq!(answer["ask"]["buttons"].as_array().unwrap().len(), 5);
        // The same trigger again: the same request with the same token, said to be a repetition.
        let again = stage.trigger(&trigger()).await;
        assert_eq!(
            (
                first.header("idempotent-replayed"),
                again.header("idempotent-replayed")
            ),
            ("", "true")
        );
        assert_eq!(again.json(), answer);
        // Nobody is handed the token later.
        let id = answer["id"].as_str().unwrap();
        let request = stage.request(id).await;
        assert_eq!(
            json!([request["token"], request["ask"]]),
            json!([null, null])
        );

        let url = stage.real(&format!("{PUBLIC_URL}/w/{token}"));
        let ask = get(&url).await;
        is_open_to_other_origins(&ask);
        let ask = ask.json();
        assert_eq!(
            json!([ask["state"], ask["lang"], ask["score"]]),
            json!(["open", "en", null])
        );
        assert_eq!(ask["text"], "How was your service with Sam?");
        assert_eq!(ask["buttons"][4], json!({"score": 5, "label": "excellent"}));
        assert_eq!(
            stage.request(id).await["state"],
            "sent",
            "a GET writes nothing"
        );

        let shown = send(Method::POST, &format!("{url}/shown"), &[], "").await;
        is_open_to_other_origins(&shown);
        assert_eq!(shown.status, 204);
        assert_eq!(stage.request(id).await["state"], "reached");

        stage.pass(3);
        let pressed = press(&url, &json!({"score": 5})).await;
        assert_eq!(pressed.status, 200);
        assert_eq!(pressed.json()["state"], "answered");
        let pressed = press(&url, &json!({"score": 5, "comment": "quick"})).await;
        assert_eq!(pressed.json()["comment"], "quick");
        let request = stage.request(id).await;
        assert_eq!(request["state"], "answered");
        let expected = json!({"score": 5, "grade": "channel", "comment": "quick"});
        assert_eq!(request["rating"], expected);
        assert_eq!(stage.ratings("chat").await, [1, 1, 1]);
        assert_eq!(stage.deliver().await, 0, "nothing is carried");
        stage.finish().await;
    }
);

story!(
    a_press_may_be_corrected_inside_the_window,
    async |database: Database| {
        let stage = Stage::start(database).await;
        let (id, url) = asked(&stage).await;
        press(&url, &json!({"score": 2})).await;
        press(&url, &json!({"score": 4})).await;
        assert_eq!(stage.request(&id).await["rating"]["score"], 4);
        stage.pass(15 * 60 + 1);
        assert_eq!(
            press(&url, &json!({"score": 1})).await.json()["state"],
            "closed"
        );
        assert_eq!(get(&url).await.json()["state"], "closed");
        assert_eq!(stage.request(&id).await["rating"]["score"], 4);
        assert_eq!(stage.ratings("chat").await, [1, 1, 1]);
        stage.finish().await;
    }
);

story!(
    what_is_no_press_is_refused_and_stores_nothing,
    async |database: Database| {
        let stage = Stage::start(database).await;
        let (id, url) = asked(&stage).await;
        for body in [
            json!({"score": 0}),
            json!({"score": 6}),
            json!({"score": 4.5}),
            json!({"score": "five"}),
            json!({}),
            json!({"score": 5, "grade": "channel"}),
        ] {
            assert_eq!(press(&url, &body).await.status, 400, "{body}");
        }
        assert_eq!(stage.request(&id).await["state"], "sent");

        let unknown = format!("{}/w/AAAAAAAAAAAAAAAAAAAAAA", stage.url);
        let shown = send(Method::POST, &format!("{unknown}/shown"), &[], "").await;
        for answer in [
            get(&unknown).await,
            press(&unknown, &json!({"score": 5})).await,
            shown,
        ] {
            is_open_to_other_origins(&answer);
            assert_eq!(answer.status, 404);
            assert_eq!(answer.json()["code"], "not_found");
        }
        assert_eq!(stage.ratings("chat").await, [0, 0, 0]);
        stage.finish().await;
    }
);

story!(
    a_browser_may_ask_before_it_posts,
    async |database: Database| {
        let stage = Stage::start(database).await;
        let (_, url) = asked(&stage).await;
        let headers = [
            ("origin", "https://desk.example"),
            ("access-control-request-method", "POST"),
            ("access-control-request-headers", "content-type"),
        ];
        for url in [url.clone(), format!("{url}/shown")] {
            let answer = send(Method::OPTIONS, &url, &headers, "").await;
            is_open_to_other_origins(&answer);
            assert_eq!(answer.status, 204);
            assert!(
                answer
                    .header("access-control-allow-methods")
                    .contains("POST")
            );
            assert!(
                answer
                    .header("access-control-allow-headers")
                    .contains("content-type")
            );
        }
        stage.finish().await;
    }
);

story!(
    a_chat_is_asked_at_once_or_not_at_all,
    async |database: Database| {
        let stage = Stage::start(database).await;
        let mut late = trigger();
        late["delay_seconds"] = json!(60);
        let answer = stage.trigger(&late).await;
        assert_eq!(answer.status, 400);
        assert_eq!(answer.json()["field"], "delay_seconds");
        assert_eq!(
            stage.database.number("select count(*) from requests").await,
            0
        );
        stage.finish().await;
    }
);
