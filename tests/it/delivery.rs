//! Never twice: what a misbehaving provider leads to, and what settles a doubt.

use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::story;
use crate::support::database::Database;
use crate::support::stage::{ANA, OUR_NUMBER, Stage};
use crate::support::twilio::Behaviour;

/// A day in seconds.
const DAY: i64 = 86_400;

/// What the API says about carrying it: the request's state, the delivery's state and code.
async fn standing(stage: &Stage, id: &str) -> Value {
    let request = stage.request(id).await;
    json!([
        request["state"],
        request["delivery"]["state"],
        request["delivery"]["code"]
    ])
}

/// A request that met `behaviour` when it was sent.
async fn met(stage: &Stage, behaviour: Behaviour) -> String {
    stage.twilio.next(behaviour);
    let id = stage.ask("sms", ANA, "INC-1").await;
    assert_eq!(stage.deliver().await, 1);
    id
}

/// However often and however late we look: nothing more goes to the provider.
async fn is_never_sent_again(stage: &Stage) {
    let before = stage.twilio.requests();
    for _ in 0..5 {
        stage.app.journey.sweep().await.unwrap();
        assert_eq!(stage.deliver().await, 0);
        stage.pass(DAY / 2);
    }
    assert_eq!(stage.twilio.requests(), before);
}

story!(
    too_many_requests_is_tried_again_after_the_wait_and_sent_once,
    async |database: Database| {
        let stage = Stage::start(database).await;
        let id = met(&stage, Behaviour::TooMany { retry_after: 90 }).await;
        assert_eq!(
            standing(&stage, &id).await,
            json!(["scheduled", "queued", "429"])
        );
        stage.pass(89);
        assert_eq!(stage.deliver().await, 0);
        stage.pass(1);
        assert_eq!(stage.deliver().await, 1);
        assert_eq!(stage.deliver().await, 0);
        assert_eq!(
            standing(&stage, &id).await,
            json!(["sent", "accepted", null])
        );
        assert_eq!(stage.request(&id).await["delivery"]["attempts"], 2);
        assert_eq!(stage.twilio.messages().len(), 1);
        stage.finish().await;
    }
);

story!(
    a_refusal_is_final_and_its_code_can_be_read,
    async |database: Database| {
        let stage = Stage::start(database).await;
        let behaviour = Behaviour::Reject {
            http: 400,
            code: 21211,
        };
        let id = met(&stage, behaviour).await;
        assert_eq!(
            standing(&stage, &id).await,
            json!(["failed", "rejected", "21211"])
        );
        is_never_sent_again(&stage).await;
        let opt_outs = stage.database.number("select count(*) from opt_outs").await;
        assert_eq!(opt_outs, 0);
        stage.finish().await;
    }
);

story!(
    a_refusal_for_an_opt_out_puts_the_number_on_the_list,
    async |database: Database| {
        let stage = Stage::start(database).await;
        let behaviour = Behaviour::Reject {
            http: 400,
            code: 21610,
        };
        let id = met(&stage, behaviour).await;
        assert_eq!(
            standing(&stage, &id).await,
            json!(["failed", "rejected", "21610"])
        );
        let body = json!({"channel": "sms", "to": ANA, "conversation": "INC-2"});
        let answer = stage.trigger(&body).await;
        assert_eq!(
            (answer.status, &answer.json()["reason"]),
            (200, &json!("opted_out"))
        );
        is_never_sent_again(&stage).await;
        stage.finish().await;
    }
);

story!(
    a_message_in_doubt_is_never_sent_again_and_settled_by_its_callback,
    async |database: Database| {
        for (behaviour, code) in [
            (Behaviour::Fail500AfterAccept, "http_500"),
            (Behaviour::LoseAnswer, "reset"),
            (Behaviour::Malformed2xx, "http_201_malformed"),
        ] {
            let stage = Stage::start(Database::like(&database).await).await;
            let id = met(&stage, behaviour).await;
            assert_eq!(
                standing(&stage, &id).await,
                json!(["scheduled", "unknown", code]),
                "{behaviour:?}"
            );
            is_never_sent_again(&stage).await;
            let message = stage.twilio.messages().remove(0);
            let service = stage.service();
            for news in ["sent", "delivered", "sent"] {
                assert_eq!(stage.twilio.status(&service, &message, news).await.0, 200);
            }
            assert_eq!(
                standing(&stage, &id).await,
                json!(["delivered", "accepted", null]),
                "{behaviour:?}"
            );
            assert_eq!(stage.deliver().await, 0);
            assert_eq!(stage.twilio.messages().len(), 1, "{behaviour:?}");
            stage.finish().await;
        }
    }
);

story!(
    a_reply_to_a_message_in_doubt_counts_and_settles_it,
    async |database: Database| {
        let stage = Stage::start(database).await;
        let id = met(&stage, Behaviour::LoseAnswer).await;
        let (status, _) = stage
            .twilio
            .text(&stage.service(), ANA, OUR_NUMBER, "5")
            .await;
        assert_eq!(status, 200);
        assert_eq!(
            standing(&stage, &id).await,
            json!(["answered", "accepted", null])
        );
        assert_eq!(stage.ratings("sms").await, [1, 1, 1]);
        is_never_sent_again(&stage).await;
        stage.finish().await;
    }
);

story!(
    an_error_that_hides_whether_anything_happened_is_not_tried_again,
    async |database: Database| {
        let stage = Stage::start(database).await;
        let id = met(&stage, Behaviour::Fail500WithoutAccept).await;
        assert_eq!(
            standing(&stage, &id).await,
            json!(["scheduled", "unknown", "http_500"])
        );
        is_never_sent_again(&stage).await;
        assert_eq!(stage.twilio.messages(), vec![]);
        stage.pass(3 * DAY);
        stage.app.journey.tidy().await.unwrap();
        assert_eq!(stage.request(&id).await["state"], "expired");
        is_never_sent_again(&stage).await;
        stage.finish().await;
    }
);

story!(
    a_callback_of_failure_ends_the_request,
    async |database: Database| {
        let stage = Stage::start(database).await;
        let id = met(&stage, Behaviour::Accept).await;
        let message = stage.twilio.messages().remove(0);
        let service = stage.service();
        stage.twilio.status(&service, &message, "undelivered").await;
        assert_eq!(
            standing(&stage, &id).await,
            json!(["failed", "rejected", "30005"])
        );
        is_never_sent_again(&stage).await;
        stage.finish().await;
    }
);

/// A port that refuses connections until somebody listens on it; nobody else can take it meanwhile.
fn closed_port() -> (TcpSocket, String) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let url = format!("http://{}", socket.local_addr().unwrap());
    (socket, url)
}

/// Leads every connection to the double.
async fn lead(listener: TcpListener, to: String) {
    let address = to.strip_prefix("http://").unwrap().to_owned();
    while let Ok((mut near, _)) = listener.accept().await {
        let mut far = TcpStream::connect(&address).await.unwrap();
        tokio::spawn(async move { tokio::io::copy_bidirectional(&mut near, &mut far).await });
    }
}

story!(
    an_absent_provider_is_tried_again_and_gets_the_message_once,
    async |database: Database| {
        let (socket, url) = closed_port();
        let stage = Stage::with(database, &[("PROVIDERS__TWILIO__BASE_URL", &url)]).await;
        let id = stage.ask("sms", ANA, "INC-1").await;
        // The pauses are 5 s and 10 s, spread by a fifth.
        for pause in [6, 12] {
            assert_eq!(stage.deliver().await, 1);
            assert_eq!(
                standing(&stage, &id).await,
                json!(["scheduled", "queued", "connect"])
            );
            stage.pass(pause / 2);
            assert_eq!(stage.deliver().await, 0);
            stage.pass(pause - pause / 2);
        }
        let listener = socket.listen(8).unwrap();
        let road = tokio::spawn(lead(listener, stage.twilio.base_url().to_owned()));
        assert_eq!(stage.deliver().await, 1);
        assert_eq!(
            standing(&stage, &id).await,
            json!(["sent", "accepted", null])
        );
        is_never_sent_again(&stage).await;
        assert_eq!(stage.twilio.messages().len(), 1);
        road.abort();
        stage.finish().await;
    }
);

story!(
    attempts_that_did_nothing_go_on_until_there_is_no_time_left,
    async |database: Database| {
        let (_socket, url) = closed_port();
        let stage = Stage::with(database, &[("PROVIDERS__TWILIO__BASE_URL", &url)]).await;
        let trigger =
            json!({"channel": "sms", "to": ANA, "conversation": "INC-1", "expires_in": 7200});
        let id = stage.trigger(&trigger).await.json()["id"]
            .as_str()
            .unwrap()
            .to_owned();
        for attempt in 0..10 {
            assert_eq!(stage.request(&id).await["state"], "scheduled", "{attempt}");
            assert_eq!(stage.deliver().await, 1, "{attempt}");
            stage.pass(720);
        }
        stage.app.journey.tidy().await.unwrap();
        let request = stage.request(&id).await;
        assert!(
            request["state"] == "failed" || request["state"] == "expired",
            "{request}"
        );
        assert_eq!(request["delivery"]["state"], "dropped");
        assert_eq!(request["delivery"]["code"], "connect");
        assert_eq!(request["delivery"]["attempts"], 10);
        is_never_sent_again(&stage).await;
        assert_eq!(stage.twilio.requests(), 0);
        stage.finish().await;
    }
);

story!(
    a_worker_that_died_after_the_point_of_no_return_leaves_a_doubt,
    async |database: Database| {
        let stage = Stage::start(database).await;
        let id = stage.ask("sms", ANA, "INC-1").await;
        stage.twilio.next(Behaviour::Hang);
        let deliverer = std::sync::Arc::clone(&stage.app.deliverer);
        let worker = tokio::spawn(async move { deliverer.tick().await });
        stage.twilio.requests_once(1).await;
        worker.abort();
        assert!(worker.await.unwrap_err().is_cancelled());
        assert_eq!(
            standing(&stage, &id).await,
            json!(["scheduled", "dispatching", null])
        );
        // As long as the lease runs, the worker may still be alive, whatever our own clock says.
        stage.pass(600);
        assert_eq!(stage.app.journey.sweep().await.unwrap(), 0);
        assert_eq!(stage.deliver().await, 0);

        let ended = "update requests set lease_until = 1 where delivery = 'dispatching'";
        assert_eq!(stage.database.execute(ended).await, 1);
        assert_eq!(stage.app.journey.sweep().await.unwrap(), 1);
        assert_eq!(
            standing(&stage, &id).await,
            json!(["scheduled", "unknown", "no_report"])
        );
        is_never_sent_again(&stage).await;
        let (status, _) = stage
            .twilio
            .text(&stage.service(), ANA, OUR_NUMBER, "3")
            .await;
        assert_eq!(status, 200);
        assert_eq!(stage.ratings("sms").await, [1, 1, 1]);
        stage.finish().await;
    }
);

story!(
    a_worker_that_died_before_the_point_of_no_return_is_replaced,
    async |database: Database| {
        let stage = Stage::start(database).await;
        let id = stage.ask("sms", ANA, "INC-1").await;
        let store = &stage.app.journey.store;
        let claims = store
            .claim_deliveries("dead", &["sms"], 10, stage.now())
            .await;
        assert_eq!(claims.unwrap().len(), 1);
        assert_eq!(stage.app.journey.sweep().await.unwrap(), 0);
        assert_eq!(stage.deliver().await, 0);
        let ended = "update requests set lease_until = 1 where delivery = 'claimed'";
        assert_eq!(stage.database.execute(ended).await, 1);
        assert_eq!(stage.app.journey.sweep().await.unwrap(), 1);
        assert_eq!(stage.deliver().await, 1);
        assert_eq!(
            standing(&stage, &id).await,
            json!(["sent", "accepted", null])
        );
        is_never_sent_again(&stage).await;
        assert_eq!(stage.twilio.messages().len(), 1);
        stage.finish().await;
    }
);

story!(
    a_text_before_the_ask_is_out_is_about_something_else,
    async |database: Database| {
        let stage = Stage::start(database).await;
        let trigger =
            json!({"channel": "sms", "to": ANA, "conversation": "INC-1", "delay_seconds": 600});
        let id = stage.trigger(&trigger).await.json()["id"]
            .as_str()
            .unwrap()
            .to_owned();
        for words in ["2", "thanks a lot"] {
            let (status, twiml) = stage
                .twilio
                .text(&stage.service(), ANA, OUR_NUMBER, words)
                .await;
            assert_eq!(
                (status, twiml.contains("<Message>")),
                (200, false),
                "{words}: {twiml}"
            );
        }
        assert_eq!(stage.request(&id).await["state"], "scheduled");
        stage.pass(600);
        assert_eq!(stage.deliver().await, 1);
        stage
            .twilio
            .text(&stage.service(), ANA, OUR_NUMBER, "4")
            .await;
        assert_eq!(stage.request(&id).await["rating"]["score"], 4);
        stage.finish().await;
    }
);
