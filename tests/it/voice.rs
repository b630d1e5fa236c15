//! Calls: one key, in a call that is still going on, in a call that a flow hands over, or in a call of ours.

use serde_json::json;

use crate::story;
use crate::support::database::Database;
use crate::support::stage::{ANA, OUR_NUMBER, PUBLIC_URL, Stage};

const CALL: &str = "CA0000000000000000000000000000000a";

/// Whether every element is closed in order and no `&` or `<` stands bare. The declaration is not part of the check.
fn is_well_formed(xml: &str) -> bool {
    let (mut open, mut roots, mut rest) = (Vec::new(), 0, xml);
    while let Some(start) = rest.find('<') {
        let Some(end) = rest[start..].find('>').map(|end| start + end) else {
            return false;
        };
        let (text, tag) = (&rest[..start], &rest[start + 1..end]);
        if text
            .replace("&amp;", "")
            .replace("&lt;", "")
            .replace("&gt;", "")
            .contains('&')
            || tag.contains('<')
            || (open.is_empty() && !text.is_empty())
        {
            return false;
        }
        if let Some(name) = tag.strip_prefix('/') {
            if open.pop() != Some(name) {
                return false;
            }
        } else {
            roots += usize::from(open.is_empty());
            if !tag.ends_with('/') {
                open.push(tag.split(' ').next().unwrap_or_default());
            }
        }
        rest = &rest[end + 1..];
    }
    open.is_empty() && roots == 1 && rest.is_empty()
}

#[test]
fn the_check_of_documents_can_fail() {
    assert!(is_well_formed(
        "<Response><Say a=\"b\">Q&amp;A</Say><Hangup/></Response>"
    ));
    for bad in [
        "",
        "text",
        "<Response>",
        "<Response><Say>Q&A</Say></Response>",
        "<Response><Say>a <x> b</Say></Response>",
        "<Response></Say></Response>",
        "<Response/><Response/>",
    ] {
        assert!(!is_well_formed(bad), "{bad}");
    }
}

/// The call fetches words at `target`, or reports a key there. The document without its declaration.
async fn call(stage: &Stage, target: &str, key: Option<&str>) -> String {
    let digits = key.map(|key| ("Digits", key));
    let extra = digits.as_slice();
    let (status, twiml) = stage
        .twilio
        .call(&stage.service(), target, CALL, extra)
        .await;
    assert_eq!(status, 200, "{twiml}");
    let document = twiml.split_once("?>").unwrap().1.to_owned();
    assert!(is_well_formed(&document), "{document}");
    document
}

/// Where a prompt wants its key reported, as path and query.
fn action(prompt: &str) -> String {
    let after = prompt.split_once("action=\"").expect("a prompt").1;
    let url = after.split_once('"').unwrap().0;
    url.strip_prefix(PUBLIC_URL).unwrap().to_owned()
}

/// The live call is told to fetch our words; where, as path and query.
async fn told(stage: &Stage, id: &str) -> String {
    assert_eq!(stage.deliver().await, 1);
    let calls = stage.twilio.calls();
    assert_eq!(calls.len(), 1);
    assert_eq!((calls[0].sid.as_str(), calls[0].created), (CALL, false));
    assert_eq!(stage.request(id).await["state"], "sent");
    stage.service().target_of(&calls[0].url)
}

story!(
    a_live_call_is_answered_with_a_key,
    async |database: Database| {
        let stage = Stage::start(database).await;
        assert_eq!(stage.ratings("voice").await, [0, 0, 0]);
        let id = stage.ask("voice", CALL, "C-1").await;
        let url = told(&stage, &id).await;
        stage.pass(1);
        let prompt = call(&stage, &url, None).await;
        assert!(prompt.contains("Acme IT would like to know: how was your service with Sam?"));
        assert!(prompt.contains("numDigits=\"1\"") && prompt.contains("language=\"en-US\""));
        let request = stage.request(&id).await;
        assert_eq!(request["state"], "reached");

        let again = call(&stage, &action(&prompt), Some("*")).await;
        assert_eq!(again, prompt, "the same question at the same turn");
        stage.pass(4);
        let thanks = call(&stage, &action(&prompt), Some("4")).await;
        assert!(thanks.contains("Thank you for your rating.") && thanks.contains("<Hangup/>"));
        let request = stage.request(&id).await;
        assert_eq!(request["state"], "answered");
        assert_eq!(request["rating"], json!({"score": 4, "grade": "channel"}));

        // Twilio reports the same key once more.
        assert_eq!(call(&stage, &action(&prompt), Some("4")).await, thanks);
        assert_eq!(
            stage.database.number("select count(*) from replies").await,
            1
        );
        assert_eq!(stage.ratings("voice").await, [1, 1, 1]);
        stage.finish().await;
    }
);

story!(
    a_wrong_or_missing_key_is_asked_again_twice_and_then_let_go,
    async |database: Database| {
        let stage = Stage::start(database).await;
        let id = stage.ask("voice", CALL, "C-1").await;
        let url = told(&stage, &id).await;
        let first = call(&stage, &url, None).await;
        let second = call(&stage, &action(&first), Some("9")).await;
        assert!(second.contains("That key is not on the scale."), "{second}");
        let third = call(&stage, &action(&second), Some("")).await;
        assert!(third.contains("We did not hear a key."), "{third}");
        // Looking again at a question does not use up a turn.
        assert_eq!(
            action(&call(&stage, &action(&third), Some("*")).await),
            action(&third)
        );
        let end = call(&stage, &action(&third), Some("0")).await;
        assert!(
            end.contains("No rating was noted.") && end.contains("<Hangup/>"),
            "{end}"
        );
        assert!(!end.contains("<Gather"), "{end}");
        assert_eq!(stage.request(&id).await["state"], "reached");
        assert_eq!(stage.ratings("voice").await, [0, 0, 0]);
        stage.finish().await;
    }
);

story!(
    a_late_key_in_the_last_turn_still_counts,
    async |database: Database| {
        let stage = Stage::start(database).await;
        let id = stage.ask("voice", CALL, "C-1").await;
        let url = told(&stage, &id).await;
        let mut prompt = call(&stage, &url, None).await;
        for key in ["", "#"] {
            prompt = call(&stage, &action(&prompt), Some(key)).await;
        }
        call(&stage, &action(&prompt), Some("1")).await;
        assert_eq!(stage.request(&id).await["rating"]["score"], 1);
        assert_eq!(stage.ratings("voice").await, [1, 1, 1]);
        stage.finish().await;
    }
);

story!(
    names_are_spoken_and_never_markup,
    async |database: Database| {
        let stage = Stage::start(database).await;
        let body = json!({"channel": "voice", "to": CALL, "conversation": "C-1", "agent": {"name": "Q&A <x>"}});
        let answer = stage.trigger(&body).await;
        assert_eq!(answer.status, 202, "{answer:?}");
        let id = answer.json()["id"].as_str().unwrap().to_owned();
        let url = told(&stage, &id).await;
        let prompt = call(&stage, &url, None).await;
        assert!(prompt.contains("with Q&amp;A &lt;x&gt;?"), "{prompt}");
        call(&stage, &action(&prompt), Some("5")).await;
        stage.finish().await;
    }
);

story!(
    a_call_that_is_over_is_not_asked,
    async |database: Database| {
        let stage = Stage::start(database).await;
        let id = stage.ask("voice", CALL, "C-1").await;
        let url = told(&stage, &id).await;
        // A live call waits a quarter of an hour for its key and no longer.
        stage.pass(900);
        stage.app.journey.tidy().await.unwrap();
        assert_eq!(stage.request(&id).await["state"], "expired");
        assert_eq!(
            call(&stage, &url, None).await,
            "<Response><Hangup/></Response>"
        );
        let strange = "/hooks/twilio/voice/AAAAAAAAAAAAAAAAAAAAAA";
        assert_eq!(
            call(&stage, strange, None).await,
            "<Response><Hangup/></Response>"
        );
        assert_eq!(stage.ratings("voice").await, [0, 0, 0]);
        stage.finish().await;
    }
);

story!(
    a_flow_that_hands_its_call_over_makes_one_request,
    async |database: Database| {
        let stage = Stage::start(database).await;
        let flow = "/hooks/twilio/voice?desk=acme&conversation=C-1&agent=Sam&touchpoint=call";
        let prompt = call(&stage, flow, None).await;
        assert!(
            prompt.contains("how was your service with Sam?"),
            "{prompt}"
        );
        // Twilio fetches again after a lost answer.
        assert_eq!(call(&stage, flow, None).await, prompt);
        let requests = stage.api("/v1/requests?conversation=C-1").await;
        assert_eq!(requests["items"].as_array().unwrap().len(), 1);
        let request = &requests["items"][0];
        assert_eq!(
            json!([
                request["state"],
                request["channel"],
                request["touchpoint"],
                request["agent"]["name"]
            ]),
            json!(["reached", "voice", "call", "Sam"])
        );
        assert_eq!(stage.deliver().await, 0);
        assert_eq!(stage.twilio.requests(), 0, "nothing is sent");
        call(&stage, &action(&prompt), Some("2")).await;
        let request = stage.request(request["id"].as_str().unwrap()).await;
        assert_eq!(request["rating"], json!({"score": 2, "grade": "channel"}));
        assert_eq!(stage.ratings("voice").await, [1, 1, 1]);
        // The flow may come back once more; the customer is not asked again.
        assert_eq!(
            call(&stage, flow, None).await,
            "<Response><Hangup/></Response>"
        );

        let nobody = "/hooks/twilio/voice?desk=nobody&conversation=C-2";
        assert_eq!(
            call(&stage, nobody, None).await,
            "<Response><Hangup/></Response>"
        );
        assert_eq!(
            stage.database.number("select count(*) from requests").await,
            1
        );
        stage.finish().await;
    }
);

story!(
    a_number_is_called_back_only_if_that_is_on,
    async |database: Database| {
        let stage = Stage::start(Database::like(&database).await).await;
        let body = json!({"channel": "voice", "to": ANA, "conversation": "C-1"});
        let answer = stage.trigger(&body).await;
        assert_eq!(answer.status, 200);
        let answer = answer.json();
        assert_eq!(
            json!([answer["state"], answer["reason"]]),
            json!(["suppressed", "channel_not_configured"])
        );
        assert_eq!(stage.deliver().await, 0);
        assert_eq!(stage.twilio.requests(), 0);
        stage.finish().await;

        let stage = Stage::with(database, &[("PROVIDERS__TWILIO__CALL_BACK", "true")]).await;
        let id = stage.ask("voice", ANA, "C-1").await;
        assert_eq!(stage.deliver().await, 1);
        let calls = stage.twilio.calls();
        assert_eq!((calls.len(), calls[0].created), (1, true));
        for (name, value) in [("To", ANA), ("From", OUR_NUMBER)] {
            assert!(
                calls[0]
                    .params
                    .contains(&(name.to_owned(), value.to_owned())),
                "{name}"
            );
        }
        let prompt = call(&stage, &stage.service().target_of(&calls[0].url), None).await;
        call(&stage, &action(&prompt), Some("5")).await;
        assert_eq!(stage.request(&id).await["rating"]["score"], 5);
        assert_eq!(stage.ratings("voice").await, [1, 1, 1]);
        stage.finish().await;
    }
);
