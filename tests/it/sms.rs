//! Text messages: asked once, answered with a digit and words, stopped with a word.

use serde_json::{Value, json};

use crate::story;
use crate::support::database::Database;
use crate::support::http;
use crate::support::stage::{ANA, OUR_NUMBER, PUBLIC_URL, Stage};
use crate::support::twilio::ACCOUNT;

const SILENCE: &str = "<Response/>";

/// Ana writes to our number. What we answer, without the XML declaration.
async fn text(stage: &Stage, body: &str) -> String {
    text_to(stage, OUR_NUMBER, body).await
}

async fn text_to(stage: &Stage, ours: &str, body: &str) -> String {
    let (status, twiml) = stage.twilio.text(&stage.service(), ANA, ours, body).await;
    assert_eq!(status, 200, "{twiml}");
    twiml.split_once("?>").unwrap().1.to_owned()
}

/// A request that Ana has on her phone.
async fn sent(stage: &Stage, conversation: &str) -> String {
    let id = stage.ask("sms", ANA, conversation).await;
    assert_eq!(stage.deliver().await, 1);
    id
}

/// What a further trigger for Ana is answered with.
async fn decision(stage: &Stage, conversation: &str) -> Value {
    let body = json!({"channel": "sms", "to": ANA, "conversation": conversation});
    let answer = stage.trigger(&body).await.json();
    json!([answer["state"], answer["reason"]])
}

async fn cancel(stage: &Stage, id: &str) -> http::Answer {
    let bearer = format!("Bearer {}", stage.key);
    let url = format!("{}/v1/requests/{id}/cancel", stage.url);
    http::post_json(&url, &[("authorization", &bearer)], &Value::Null).await
}

async fn events(stage: &Stage, kind: &str) -> i64 {
    let all = match kind {
        "rating.changed" => "select count(*) from events where kind = 'rating.changed'",
        "rating.commented" => "select count(*) from events where kind = 'rating.commented'",
        "reply.unrecognized" => "select count(*) from events where kind = 'reply.unrecognized'",
        "contact.opted_out" => "select count(*) from events where kind = 'contact.opted_out'",
        _ => panic!("no statement for {kind}"),
    };
    stage.database.number(all).await
}

story!(
    a_text_message_is_answered_with_a_digit,
    async |database: Database| {
        let stage = Stage::start(database).await;
        assert_eq!(stage.ratings("sms").await, [0, 0, 0]);
        let id = sent(&stage, "INC-1").await;
        let messages = stage.twilio.messages();
        assert_eq!(messages.len(), 1);
        let message = &messages[0];
        assert_eq!(
            (message.to.as_str(), message.from.as_str()),
            (ANA, OUR_NUMBER)
        );
        assert!(message.body.contains("Acme IT") && message.body.contains("Sam"));
        let callback = format!("{PUBLIC_URL}/hooks/twilio/status/");
        assert!(
            message.status_callback.len() > callback.len()
                && message.status_callback.starts_with(&callback)
        );
        assert_eq!(stage.request(&id).await["state"], "sent");

        stage.pass(2);
        let service = stage.service();
        let news = stage.twilio.status(&service, message, "delivered").await;
        assert_eq!(news.0, 200);
        let request = stage.request(&id).await;
        assert_eq!(request["state"], "delivered");
        assert_eq!(request["delivered_at"], "2026-11-21T18:00:02.000Z");

        stage.pass(60);
        let answer = text(&stage, "4 but slow").await;
        assert_eq!(
            answer,
            "<Response><Message>Thank you for your rating and your words.</Message></Response>"
        );
        let request = stage.request(&id).await;
        assert_eq!(request["state"], "answered");
        assert_eq!(
            request["rating"],
            json!({"score": 4, "grade": "channel", "comment": "but slow"})
        );
        assert_eq!(stage.ratings("sms").await, [1, 1, 1]);
        let series =
            r#"onefive_ratings_total{desk="acme",channel="sms",touchpoint="test",score="4"}"#;
        assert!((stage.metric(series).await - 1.0).abs() < f64::EPSILON);
        stage.finish().await;
    }
);

story!(
    a_callback_with_a_false_signature_or_token_changes_nothing,
    async |database: Database| {
        let stage = Stage::start(database).await;
        let id = sent(&stage, "INC-1").await;
        let message = stage.twilio.messages().remove(0);
        let service = stage.service();
        let params = [
            ("AccountSid", ACCOUNT),
            ("MessageSid", message.sid.as_str()),
            ("MessageStatus", "delivered"),
        ];
        let target = service.target_of(&message.status_callback);
        let forged = stage
            .twilio
            .post_signed(&service, &target, &params, "AAAA")
            .await;
        assert_eq!(forged.0, 403);
        // Signed, but the last letter of the token is another one.
        let other = if target.ends_with('x') { "y" } else { "x" };
        let elsewhere = format!("{}{other}", &target[..target.len() - 1]);
        assert_eq!(
            stage.twilio.post(&service, &elsewhere, &params).await.0,
            200
        );
        // The right token with the news of another message.
        let strange = [
            params[0],
            ("MessageSid", "SM0000000000000000000000000000ffff"),
            params[2],
        ];
        assert_eq!(stage.twilio.post(&service, &target, &strange).await.0, 200);
        assert_eq!(stage.request(&id).await["state"], "sent");
        stage.finish().await;
    }
);

story!(
    a_rating_alone_invites_one_comment_and_the_next_text_is_it,
    async |database: Database| {
        let stage = Stage::start(database).await;
        let id = sent(&stage, "INC-1").await;
        let answer = text(&stage, "5").await;
        assert!(
            answer.contains("5 (excellent)") && answer.contains("a few words"),
            "{answer}"
        );
        let answer = text(&stage, "Sam was very patient").await;
        assert!(answer.contains("Thank you for your words"), "{answer}");
        let expected = json!({"score": 5, "grade": "channel", "comment": "Sam was very patient"});
        assert_eq!(stage.request(&id).await["rating"], expected);
        assert_eq!(events(&stage, "rating.commented").await, 1);
        // Whatever comes then is for the desk to read, and we do not chat.
        assert_eq!(text(&stage, "are you still there").await, SILENCE);
        assert_eq!(stage.request(&id).await["rating"], expected);
        assert_eq!(events(&stage, "reply.unrecognized").await, 1);
        assert_eq!(stage.ratings("sms").await, [1, 1, 1]);
        stage.finish().await;
    }
);

story!(
    a_correction_counts_inside_the_window_and_not_after_it,
    async |database: Database| {
        let stage = Stage::start(database).await;
        let id = sent(&stage, "INC-1").await;
        text(&stage, "1").await;
        stage.pass(15 * 60);
        let answer = text(&stage, "5").await;
        assert!(answer.contains("changed your rating to 5"), "{answer}");
        assert_eq!(stage.request(&id).await["rating"]["score"], 5);
        stage.pass(1);
        assert_eq!(text(&stage, "2").await, SILENCE);
        assert_eq!(stage.request(&id).await["rating"]["score"], 5);
        assert_eq!(events(&stage, "rating.changed").await, 1);
        assert_eq!(stage.ratings("sms").await, [1, 1, 1]);
        // The counter of first answers says what was said first.
        let series =
            r#"onefive_ratings_total{desk="acme",channel="sms",touchpoint="test",score="1"}"#;
        assert!((stage.metric(series).await - 1.0).abs() < f64::EPSILON);
        stage.finish().await;
    }
);

story!(
    a_repeated_webhook_makes_no_second_rating_and_gets_no_second_answer,
    async |database: Database| {
        let stage = Stage::start(database).await;
        let id = sent(&stage, "INC-1").await;
        let service = stage.service();
        let sid = "SM000000000000000000000000000000aa";
        let first = stage
            .twilio
            .text_as(&service, sid, ANA, OUR_NUMBER, "3")
            .await;
        assert!(first.1.contains("<Message>"), "{}", first.1);
        // A change of mind in between does not make the first text a new one.
        text(&stage, "4").await;
        let again = stage
            .twilio
            .text_as(&service, sid, ANA, OUR_NUMBER, "3")
            .await;
        assert_eq!(again.0, 200);
        assert!(again.1.ends_with(SILENCE), "{}", again.1);
        assert_eq!(stage.request(&id).await["rating"]["score"], 4);
        let replies = stage.database.number("select count(*) from replies").await;
        assert_eq!(replies, 2);
        assert_eq!(stage.ratings("sms").await, [1, 1, 1]);
        stage.finish().await;
    }
);

story!(
    an_unclear_text_is_clarified_once_and_then_met_with_silence,
    async |database: Database| {
        let stage = Stage::start(database).await;
        let id = sent(&stage, "INC-1").await;
        let answer = text(&stage, "who is this").await;
        assert!(answer.contains("one digit from 1"), "{answer}");
        assert_eq!(text(&stage, "I do not know you").await, SILENCE);
        assert_eq!(events(&stage, "reply.unrecognized").await, 2);
        assert_eq!(stage.ratings("sms").await, [0, 0, 0]);
        // It is still waited for.
        assert_eq!(stage.request(&id).await["state"], "sent");
        text(&stage, "ok, 4").await;
        assert_eq!(stage.request(&id).await["state"], "answered");
        assert_eq!(stage.ratings("sms").await, [1, 1, 1]);
        stage.finish().await;
    }
);

story!(
    stop_is_heard_before_everything_else,
    async |database: Database| {
        for words in ["STOP", "stop texting me", "Stop 5"] {
            let stage = Stage::start(Database::like(&database).await).await;
            let id = sent(&stage, "INC-1").await;
            // One confirmation in all: Twilio's own for its words, ours for any other wording.
            let said = text(&stage, words).await;
            let by_twilio = words == "STOP";
            assert_eq!(said == SILENCE, by_twilio, "{words}: {said}");
            assert!(
                by_twilio || said.contains("no more messages"),
                "{words}: {said}"
            );
            assert_eq!(stage.request(&id).await["state"], "cancelled", "{words}");
            assert_eq!(events(&stage, "contact.opted_out").await, 1, "{words}");
            assert_eq!(
                decision(&stage, "INC-2").await,
                json!(["suppressed", "opted_out"]),
                "{words}"
            );
            assert_eq!(stage.deliver().await, 0, "{words}");
            assert_eq!(text(&stage, "5").await, SILENCE, "{words}");
            assert_eq!(stage.ratings("sms").await, [0, 0, 0], "{words}");

            assert_eq!(text(&stage, "START").await, SILENCE, "{words}");
            assert_eq!(
                decision(&stage, "INC-3").await,
                json!(["scheduled", null]),
                "{words}"
            );
            assert_eq!(stage.deliver().await, 1, "{words}");
            assert_eq!(stage.twilio.messages().len(), 2, "{words}");
            stage.finish().await;
        }
    }
);

story!(
    stop_after_the_rating_leaves_the_rating_and_ends_the_asking,
    async |database: Database| {
        let stage = Stage::start(database).await;
        let id = sent(&stage, "INC-1").await;
        text(&stage, "2").await;
        assert_eq!(text(&stage, "Unsubscribe").await, SILENCE);
        assert_eq!(stage.request(&id).await["rating"]["score"], 2);
        assert_eq!(
            decision(&stage, "INC-2").await,
            json!(["suppressed", "opted_out"])
        );
        assert_eq!(stage.ratings("sms").await, [1, 1, 1]);
        stage.finish().await;
    }
);

story!(
    stop_from_a_number_that_nobody_asked_is_heard_too,
    async |database: Database| {
        let stage = Stage::start(database).await;
        assert_eq!(text(&stage, "STOP").await, SILENCE);
        assert_eq!(
            decision(&stage, "INC-1").await,
            json!(["suppressed", "opted_out"])
        );
        assert_eq!(text(&stage, "start").await, SILENCE);
        assert_eq!(decision(&stage, "INC-2").await, json!(["scheduled", null]));
        assert_eq!(stage.deliver().await, 1);
        stage.finish().await;
    }
);

story!(
    a_text_from_a_number_that_nobody_asked_stores_nothing,
    async |database: Database| {
        let stage = Stage::start(database).await;
        for words in ["5", "hello?", "HELP"] {
            assert_eq!(text(&stage, words).await, SILENCE);
        }
        let rows = "select (select count(*) from requests) + (select count(*) from replies) + (select count(*) from ratings) \
             + (select count(*) from events) + (select count(*) from opt_outs)";
        assert_eq!(stage.database.number(rows).await, 0);
        stage.finish().await;
    }
);

story!(
    a_messaging_service_asks_and_is_answered,
    async |database: Database| {
        let service = "MG00000000000000000000000000000003";
        let settings = [("PROVIDERS__TWILIO__MESSAGING_SERVICE_SID", service)];
        let stage = Stage::with(database, &settings).await;
        let id = sent(&stage, "INC-1").await;
        let message = stage.twilio.messages().remove(0);
        assert_eq!(message.from, service);
        assert!(message.params.iter().all(|(name, _)| name != "From"));
        // Twilio picks a number from the pool, and names the service with each answer.
        let params = [
            ("AccountSid", ACCOUNT),
            ("MessageSid", "SM000000000000000000000000000000bb"),
            ("MessagingServiceSid", service),
            ("From", ANA),
            ("To", "+14155550177"),
            ("Body", "5"),
        ];
        let (status, _) = stage
            .twilio
            .post(&stage.service(), "/hooks/twilio/sms", &params)
            .await;
        assert_eq!(status, 200);
        assert_eq!(stage.request(&id).await["rating"]["score"], 5);
        assert_eq!(stage.ratings("sms").await, [1, 1, 1]);
        stage.finish().await;
    }
);

story!(
    a_number_is_asked_about_one_conversation_at_a_time,
    async |database: Database| {
        let stage = Stage::start(database).await;
        let first = sent(&stage, "INC-1").await;
        assert_eq!(
            decision(&stage, "INC-2").await,
            json!(["suppressed", "open_request_exists"])
        );
        assert_eq!(stage.deliver().await, 0);
        text(&stage, "4").await;
        assert_eq!(stage.request(&first).await["rating"]["score"], 4);
        // Answered: the next conversation may be asked about, and the next digit is about that one.
        let third = sent(&stage, "INC-3").await;
        text(&stage, "1").await;
        assert_eq!(stage.request(&first).await["rating"]["score"], 4);
        assert_eq!(stage.request(&third).await["rating"]["score"], 1);
        assert_eq!(stage.ratings("sms").await, [2, 2, 2]);
        stage.finish().await;
    }
);

story!(
    a_delayed_request_is_sent_when_due_and_decided_again_then,
    async |database: Database| {
        let stage = Stage::start(database).await;
        let delayed = async |conversation: &str, to: &str| {
            let body = json!({"channel": "sms", "to": to, "conversation": conversation, "delay_seconds": 600});
            let answer = stage.trigger(&body).await;
            assert_eq!(answer.status, 202, "{answer:?}");
            answer.json()["id"].as_str().unwrap().to_owned()
        };
        let sent = delayed("INC-1", "+14155550101").await;
        let cancelled = delayed("INC-2", "+14155550102").await;
        let opted_out = delayed("INC-3", ANA).await;
        stage.pass(599);
        assert_eq!(stage.deliver().await, 0);
        assert_eq!(cancel(&stage, &cancelled).await.status, 200);
        // Ana stops another number of ours, so the request itself hears nothing of it.
        text_to(&stage, "+14155550188", "STOP").await;
        assert_eq!(stage.request(&opted_out).await["state"], "scheduled");
        stage.pass(1);
        assert_eq!(stage.deliver().await, 2);
        let messages = stage.twilio.messages();
        assert_eq!(messages.len(), 1);
        assert_eq!(messages[0].to, "+14155550101");
        assert_eq!(stage.request(&sent).await["state"], "sent");
        assert_eq!(stage.request(&cancelled).await["state"], "cancelled");
        let request = stage.request(&opted_out).await;
        assert_eq!(
            json!([request["state"], request["reason"]]),
            json!(["suppressed", "opted_out"])
        );
        stage.finish().await;
    }
);
