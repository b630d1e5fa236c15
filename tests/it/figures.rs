//! What the numbers of a summary leave out, and say so: rates that nothing but the answer proves, and groups beyond an answer.

use serde_json::{Value, json};

use crate::story;
use crate::summary::{chat, group};
use crate::support::database::Database;
use crate::support::stage::{ANA, OUR_NUMBER, Stage};

story!(
    what_only_an_answer_proves_is_no_rate,
    async |database: Database| {
        let stage = Stage::start(database).await;
        for n in 0..4 {
            chat(&stage, &format!("INC-{n}"), json!({}), Some(5)).await;
        }
        stage.ask("sms", ANA, "SMS-1").await;
        stage.deliver().await;
        let service = stage.service();
        stage.twilio.text(&service, ANA, OUR_NUMBER, "5").await;
        let summary = stage.api("/v1/summary?group_by=channel").await;
        let sms = group(&summary, &json!({"channel": "sms"}));
        assert_eq!(sms["asked"]["reached"], 1, "the answer proves it");
        assert_eq!(sms["response"]["of_reached"], Value::Null);
        assert_eq!(sms["response"]["left_out"]["of_reached"], json!(["sms"]));
        let total = &summary["total"]["response"];
        assert_eq!(total["left_out"], json!({"of_reached": ["sms"]}));
        let rate = &total["of_reached"];
        assert_eq!((&rate["answered"], &rate["of"]), (&json!(4), &json!(4)));
        assert_eq!(total["of_requested"]["of"], 5);
        stage.finish().await;
    }
);

story!(
    what_is_beyond_an_answer_is_no_group_of_that_name,
    async |database: Database| {
        let stage = Stage::start(database).await;
        for n in 0..502 {
            chat(
                &stage,
                &format!("INC-{n}"),
                json!({"topic": format!("t-{n:03}")}),
                None,
            )
            .await;
        }
        for n in 0..2 {
            chat(&stage, &format!("X-{n}"), json!({"topic": "_other"}), None).await;
        }
        let summary = stage.api("/v1/summary?group_by=topic").await;
        let groups = summary["groups"].as_array().unwrap();
        let other: Vec<_> = groups
            .iter()
            .filter(|group| group["by"]["topic"] == "_other")
            .map(|group| (&group["together"], &group["asked"]["triggers"]))
            .collect();
        assert_eq!(groups.len(), 500);
        assert_eq!(other, [(&Value::Null, &json!(2)), (&json!(4), &json!(4))]);
        assert_eq!(summary["total"]["asked"]["triggers"], 504);
        stage.finish().await;
    }
);
