//! A desk's own words: what they may hold, what they cost, and that what they promise is there.

use http::Method;
use serde_json::{Value, json};

use crate::decisions::Ruled;
use crate::story;
use crate::support::database::Database;
use crate::support::stage::{ANA, PUBLIC_URL, Stage};
use crate::support::surfer::{BROWSER, Surfer};

/// The settings of a desk with this text in place of each of our requests by text message.
async fn settings(desk: &Ruled<'_>, text: &str) -> Value {
    let shown = desk.call(Method::GET, "/v1/desk", &Value::Null).await;
    let mut settings = shown.json()["settings"].clone();
    let keys = ["ask_agent", "ask_agent_short", "ask_desk", "ask_short"];
    let texts = keys.map(|key| (format!("sms.{key}"), json!(text)));
    let texts: serde_json::Map<String, Value> = texts.into_iter().collect();
    settings["wording"] = json!([{"language": "en", "texts": texts}]);
    settings
}

/// What is said about these settings' text messages.
fn costs(answer: &Value) -> Vec<String> {
    let all = answer["warnings"].as_array().unwrap().iter();
    let all = all.map(|warning| warning.as_str().unwrap().to_owned());
    all.filter(|warning| warning.contains("sms.")).collect()
}

story!(
    a_link_in_a_desks_own_text_message_leads_to_its_request,
    async |database: Database| {
        let stage = Stage::start(database).await;
        let desk = Ruled::with(&stage, "own", &json!({})).await;
        let own = settings(&desk, "{desk}: rate us 1 to 5, or here: {link} STOP ends").await;
        let put = desk.call(Method::PUT, "/v1/desk", &own).await;
        assert_eq!(put.status, 200, "{put:?}");
        assert_eq!(costs(&put.json()), Vec::<String>::new());
        let request = desk.trigger(ANA, "INC-1", &json!({})).await;
        assert_eq!(stage.deliver().await, 1);

        let body = stage.twilio.messages().remove(0).body;
        let link = body.split(' ').find(|word| word.contains("/r/")).unwrap();
        let token = link.strip_prefix(PUBLIC_URL).unwrap();
        let token = token.strip_prefix("/r/").unwrap();
        assert!(
            token.len() == 12 && token.bytes().all(|b| b.is_ascii_alphanumeric()),
            "{body}"
        );
        assert_eq!(
            body,
            format!("Acme IT: rate us 1 to 5, or here: {link} STOP ends")
        );
        stage.pass(60);
        let person = Surfer::new(BROWSER);
        let page = person.open(&stage.real(link)).await;
        assert_eq!(page.answer.status, 200);
        stage.pass(5);
        let tapped = person.tap(&page, "4", "touch").await.json();
        assert_eq!(tapped["state"], "answered", "{tapped}");
        let path = format!("/v1/requests/{}", request["id"].as_str().unwrap());
        let shown = desk.call(Method::GET, &path, &Value::Null).await.json();
        assert_eq!(
            (&shown["rating"]["score"], &shown["rating"]["grade"]),
            (&json!(4), &json!("tap"))
        );
        stage.finish().await;
    }
);

story!(
    own_words_that_cost_more_are_warned_of_and_unknown_names_refused,
    async |database: Database| {
        let stage = Stage::start(database).await;
        let desk = Ruled::with(&stage, "own", &json!({})).await;
        let long = format!("{{desk}}: {} {{link}} STOP", "how was it? ".repeat(12));
        let put = desk
            .call(Method::PUT, "/v1/desk", &settings(&desk, &long).await)
            .await;
        assert_eq!(put.status, 200, "{put:?}");
        let warned = costs(&put.json());
        assert_eq!(warned.len(), 4, "{warned:?}");
        for warning in &warned {
            assert!(
                warning.starts_with("wording[0].texts.sms.")
                    && warning.contains("takes 2 text messages"),
                "{warning}"
            );
        }
        let kept = settings(&desk, &long).await;
        let mut unknown = kept.clone();
        unknown["wording"][0]["texts"]["sms.ask_desk"] = json!("{desk}: {ticket}? STOP");
        let refused = desk.call(Method::PUT, "/v1/desk", &unknown).await;
        assert_eq!(
            (refused.status, refused.json()["field"].clone()),
            (400, json!("wording[0].texts.sms.ask_desk")),
            "{refused:?}"
        );
        let shown = desk.call(Method::GET, "/v1/desk", &Value::Null).await;
        assert_eq!(shown.json()["settings"], kept, "nothing of it was taken");
        stage.finish().await;
    }
);
