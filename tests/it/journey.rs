//! One story per channel: a trigger becomes a request, a reply, a rating and a number.

use serde_json::json;

use crate::story;
use crate::support::database::Database;
use crate::support::stage::{ANA, OUR_NUMBER, Stage};

story!(
    a_text_message_is_answered_with_a_digit,
    async |database: Database| {
        let stage = Stage::start(database).await;
        let id = stage.ask("sms", ANA, "INC-1").await;
        stage.deliver().await;
        let sent = stage.twilio.messages();
        assert_eq!(
            (sent.len(), sent[0].to.as_str(), sent[0].from.as_str()),
            (1, ANA, OUR_NUMBER)
        );
        assert!(
            sent[0].body.contains("Acme IT") && sent[0].body.contains("Sam"),
            "{}",
            sent[0].body
        );
        assert_eq!(stage.request(&id).await["state"], "sent");

        let before = stage
            .metric(
                r#"onefive_ratings_total{desk="acme",channel="sms",touchpoint="test",score="4"}"#,
            )
            .await;
        stage.pass(60);
        let (status, twiml) = stage
            .twilio
            .text(&stage.service(), ANA, OUR_NUMBER, "4 but slow")
            .await;
        assert_eq!(status, 200);
        assert!(twiml.contains("<Message>"), "{twiml}");
        let request = stage.request(&id).await;
        assert_eq!(request["state"], "answered");
        assert_eq!(
            request["rating"],
            json!({"score": 4, "grade": "channel", "comment": "but slow"})
        );
        let after = stage
            .metric(
                r#"onefive_ratings_total{desk="acme",channel="sms",touchpoint="test",score="4"}"#,
            )
            .await;
        assert!(
            (after - before - 1.0).abs() < f64::EPSILON,
            "{before} -> {after}"
        );
        assert_eq!(
            stage
                .database
                .number("select count(*) from events where kind = 'rating.created'")
                .await,
            1
        );
        stage.finish().await;
    }
);
