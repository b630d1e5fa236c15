//! Replies that an outage kept from us: read from the provider's list afterwards and taken in once, as if they had come.

use serde_json::json;

use crate::story;
use crate::support::database::Database;
use crate::support::stage::{ANA, OUR_NUMBER, Stage};
use crate::support::twilio::{Listing, MESSAGING_SERVICE, POOL_NUMBER};

const BEN: &str = "+14155550124";

async fn asked(stage: &Stage, to: &str, conversation: &str) -> String {
    let id = stage.ask("sms", to, conversation).await;
    assert_eq!(stage.deliver().await, 1);
    stage.pass(30);
    id
}

/// What has just been sent may still be on its way, so it is fetched a minute later.
async fn reconcile(stage: &Stage) -> usize {
    stage.pass(60);
    stage.app.journey.reconcile().await.unwrap()
}

async fn rows(stage: &Stage, sql: &'static str) -> i64 {
    stage.database.number(sql).await
}

story!(
    a_reply_that_never_reached_us_is_fetched_once,
    async |database: Database| {
        let stage = Stage::start(database).await;
        let id = asked(&stage, ANA, "INC-1").await;
        let heard = asked(&stage, BEN, "INC-2").await;
        stage.twilio.unheard_text(ANA, OUR_NUMBER, "4 thank you");
        let service = stage.service();
        stage.twilio.text(&service, BEN, OUR_NUMBER, "5").await;
        assert_eq!(stage.ratings("sms").await, [1, 1, 1]);

        stage.pass(240);
        assert_eq!(reconcile(&stage).await, 1);
        let request = stage.request(&id).await;
        assert_eq!(
            (&request["state"], &request["rating"]["score"]),
            (&json!("answered"), &json!(4))
        );
        assert_eq!(request["rating"]["comment"], "thank you");
        assert_eq!(stage.request(&heard).await["rating"]["score"], 5);
        assert_eq!(stage.ratings("sms").await, [2, 2, 2]);

        // Again and again, also long after the correction window: nothing changes.
        for pass in [0, 180, 3_600] {
            stage.pass(pass);
            stage.app.journey.tidy().await.unwrap();
            assert_eq!(reconcile(&stage).await, 0);
        }
        assert_eq!(stage.ratings("sms").await, [2, 2, 2]);
        stage.finish().await;
    }
);

story!(
    what_was_written_before_an_ask_is_no_answer_to_it,
    async |database: Database| {
        let stage = Stage::start(database).await;
        let first = asked(&stage, ANA, "INC-1").await;
        stage
            .twilio
            .text(&stage.service(), ANA, OUR_NUMBER, "2")
            .await;
        stage
            .twilio
            .unheard_text(BEN, OUR_NUMBER, "1 of 5 printers works");
        stage.pass(60);
        let second = asked(&stage, ANA, "INC-2").await;
        let third = asked(&stage, BEN, "INC-3").await;
        assert_eq!(reconcile(&stage).await, 0);
        assert_eq!(stage.request(&first).await["rating"]["score"], 2);
        for id in [second, third] {
            assert_eq!(stage.request(&id).await["state"], "sent");
        }
        stage.finish().await;
    }
);

story!(
    after_a_long_outage_the_list_is_read_from_where_it_was_left,
    async |database: Database| {
        let stage = Stage::start(database).await;
        assert_eq!(reconcile(&stage).await, 0);
        let id = asked(&stage, ANA, "INC-1").await;
        stage.twilio.unheard_text(ANA, OUR_NUMBER, "3");
        stage.pass(2 * 86_400);
        // The provider's list is away as well, and what was not read is not taken for read.
        for listing in [
            Listing::Fail500,
            Listing::Malformed,
            Listing::TooMany { retry_after: 5 },
        ] {
            stage.twilio.next_list(listing);
            assert_eq!(reconcile(&stage).await, 0, "{listing:?}");
        }
        assert_eq!(reconcile(&stage).await, 1);
        assert_eq!(stage.request(&id).await["rating"]["score"], 3);
        stage.finish().await;
    }
);

story!(
    a_stop_that_never_reached_us_is_heard,
    async |database: Database| {
        let stage = Stage::start(database).await;
        let id = asked(&stage, ANA, "INC-1").await;
        stage.twilio.unheard_text(ANA, OUR_NUMBER, "STOP");
        stage.twilio.unheard_text(BEN, OUR_NUMBER, "Stop");
        assert_eq!(
            reconcile(&stage).await,
            1,
            "one was asked, the other was not"
        );
        assert_eq!(stage.request(&id).await["state"], "cancelled");
        assert_eq!(rows(&stage, "select count(*) from opt_outs").await, 2);
        // Ben changes his mind. The list still shows what he wrote before and not yet what he writes now.
        stage.pass(60);
        stage.twilio.lists_after(150);
        stage
            .twilio
            .text(&stage.service(), BEN, OUR_NUMBER, "START")
            .await;
        assert_eq!(rows(&stage, "select count(*) from opt_outs").await, 1);
        stage.pass(60);
        assert_eq!(reconcile(&stage).await, 0);
        assert_eq!(rows(&stage, "select count(*) from opt_outs").await, 1);
        stage.finish().await;
    }
);

story!(
    with_a_messaging_service_a_reply_to_any_of_its_numbers_is_found,
    async |database: Database| {
        let service = (
            "PROVIDERS__TWILIO__MESSAGING_SERVICE_SID",
            MESSAGING_SERVICE,
        );
        let stage = Stage::with(database, &[service]).await;
        // Twilio's clock is a minute ahead of ours.
        stage.twilio.set_offset_ms(60_000);
        let id = asked(&stage, ANA, "INC-1").await;
        stage.twilio.unheard_text(ANA, POOL_NUMBER, "5");
        assert_eq!(reconcile(&stage).await, 1);
        assert_eq!(stage.request(&id).await["rating"]["score"], 5);
        stage.finish().await;
    }
);

story!(
    the_order_in_which_things_were_said_counts_and_not_that_in_which_they_came,
    async |database: Database| {
        let stage = Stage::start(database).await;
        let service = stage.service();
        let opted_out = async || rows(&stage, "select count(*) from opt_outs").await;
        // STOP ended the request, START came after it: the list shows both again, and nothing changes.
        asked(&stage, ANA, "INC-1").await;
        stage.twilio.text(&service, ANA, OUR_NUMBER, "STOP").await;
        stage.pass(5);
        stage.twilio.text(&service, ANA, OUR_NUMBER, "START").await;
        assert_eq!(opted_out().await, 0);
        assert_eq!(reconcile(&stage).await, 0);
        assert_eq!(opted_out().await, 0);
        // A START that never reached us is older than the STOP that did.
        stage.twilio.unheard_text(BEN, OUR_NUMBER, "START");
        stage.pass(5);
        stage.twilio.text(&service, BEN, OUR_NUMBER, "STOP").await;
        assert_eq!(reconcile(&stage).await, 0);
        assert_eq!(opted_out().await, 1, "the newer wish holds");
        // A score that never reached us is older than the one that did.
        let id = asked(&stage, "+14155550125", "INC-2").await;
        stage.twilio.unheard_text("+14155550125", OUR_NUMBER, "2");
        stage.pass(5);
        stage
            .twilio
            .text(&service, "+14155550125", OUR_NUMBER, "5")
            .await;
        reconcile(&stage).await;
        assert_eq!(stage.request(&id).await["rating"]["score"], 5);
        stage.finish().await;
    }
);

story!(
    what_was_answered_in_an_outage_does_not_expire_before_it_is_fetched,
    async |database: Database| {
        let stage = Stage::start(database).await;
        reconcile(&stage).await;
        let body =
            json!({"channel": "sms", "to": ANA, "conversation": "INC-1", "expires_in": 3_600});
        let asked = stage.trigger(&body).await.json();
        let id = asked["id"].as_str().unwrap();
        assert_eq!(stage.deliver().await, 1);
        stage.pass(1_800);
        stage.twilio.unheard_text(ANA, OUR_NUMBER, "4");
        stage.pass(7_200);
        stage.app.journey.tidy().await.unwrap();
        assert_eq!(stage.request(id).await["state"], "sent", "nobody knows yet");
        assert_eq!(reconcile(&stage).await, 1);
        assert_eq!(stage.request(id).await["rating"]["score"], 4);

        let body =
            json!({"channel": "sms", "to": BEN, "conversation": "INC-2", "expires_in": 3_600});
        let silent = stage.trigger(&body).await.json();
        assert_eq!(stage.deliver().await, 1);
        stage.pass(7_200);
        assert_eq!(reconcile(&stage).await, 0);
        stage.app.journey.tidy().await.unwrap();
        let silent = stage.request(silent["id"].as_str().unwrap()).await;
        assert_eq!(silent["state"], "expired");
        stage.finish().await;
    }
);
