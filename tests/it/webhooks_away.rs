//! Webhooks whose address fails, answers oddly, cannot be read or must not be called: tried again or given up, and no other waits.

use ::http::Method;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use onefive::journey::Duty;

use crate::events::{LOCAL, call, subscribe};
use crate::story;
use crate::support::database::Database;
use crate::support::receiver::{Manner, Receiver};
use crate::support::stage::Stage;
use crate::webhooks::{ask, post, publish, view};

story!(
    an_address_that_answers_410_is_told_no_more_until_it_is_enabled_again,
    async |database: Database| {
        let stage = Stage::with(database, &LOCAL).await;
        let receiver = Receiver::start().await;
        let hook = subscribe(&stage, &receiver.url, &[]).await;
        receiver.status(410);
        ask(&stage, "C-1").await;
        publish(&stage).await;
        receiver.status(204);
        ask(&stage, "C-2").await;
        publish(&stage).await;
        assert_eq!(receiver.told().len(), 1);
        assert_eq!(view(&stage, &hook).await["state"], "gone");
        let path = format!("/v1/webhooks/{}", hook["id"].as_str().unwrap());
        let wish = json!({"url": receiver.url});
        let answer = call(&stage, Method::PUT, &path, &wish).await;
        assert_eq!(
            (answer.status, &answer.json()["state"]),
            (200, &json!("enabled"))
        );
        publish(&stage).await;
        assert_eq!(receiver.told().len(), 2, "it gets what it has missed");
        stage.finish().await;
    }
);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redirect_is_a_failure_and_nobody_follows_it() {
    let stage = Stage::with(Database::sqlite(), &LOCAL).await;
    let (receiver, inside) = (Receiver::start().await, Receiver::start().await);
    let hook = subscribe(&stage, &receiver.url, &[]).await;
    for status in [301, 302, 303, 307, 308] {
        receiver.answer(Manner::Status(
            status,
            vec![("location", inside.url.clone())],
        ));
        let tried = post(&stage, &hook, "test", &Value::Null).await;
        assert_eq!(
            (&tried["status"], &tried["error"]),
            (&json!(status), &json!("redirect"))
        );
    }
    assert_eq!(receiver.told().len(), 5);
    assert!(inside.told().is_empty());
    stage.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_without_end_and_one_that_never_comes_are_cut_off() {
    let mut settings = LOCAL.to_vec();
    settings.push(("SINKS__WEBHOOK__TIMEOUT_SECONDS", "1"));
    let stage = Stage::with(Database::sqlite(), &settings).await;
    let receiver = Receiver::start().await;
    let hook = subscribe(&stage, &receiver.url, &[]).await;
    receiver.answer(Manner::Endless(64 * 1024 * 1024));
    let tried = post(&stage, &hook, "test", &Value::Null).await;
    assert_eq!(tried["status"], 200, "what counts is the status: {tried}");
    receiver.answer(Manner::Never);
    let tried = post(&stage, &hook, "test", &Value::Null).await;
    assert_eq!(
        (&tried["status"], &tried["error"]),
        (&json!(0), &json!("timeout"))
    );
    let event = receiver.told().pop().unwrap().json();
    assert_eq!(
        (&event["type"], &event["seq"]),
        (&json!("webhook.test"), &json!(0))
    );
    stage.finish().await;
}

story!(
    a_dead_address_holds_up_no_other_is_left_alone_and_then_gets_everything,
    async |database: Database| {
        let stage = Stage::with(database, &LOCAL).await;
        let (dead, healthy) = (Receiver::start().await, Receiver::start().await);
        let hook = subscribe(&stage, &dead.url, &[]).await;
        subscribe(&stage, &healthy.url, &[]).await;
        dead.status(503);
        let mut asked = 0;
        for hour in 0..6 {
            for n in 0..10 {
                ask(&stage, &format!("C-{hour}-{n}")).await;
                asked += 1;
            }
            publish(&stage).await;
            stage.pass(3_600);
        }
        assert_eq!(healthy.told().len(), asked);
        // The first window fails whole, then only one is tried now and then.
        assert!(dead.told().len() <= 10 + 6, "{} calls", dead.told().len());
        let shown = view(&stage, &hook).await;
        assert_eq!(shown["state"], "enabled");
        let waiting = stage
            .database
            .number("select count(*) from webhook_retries")
            .await;
        assert!(waiting <= 16, "{waiting} wait to be tried again");
        dead.status(204);
        // Left alone for five minutes at most, and then nothing waits for its time.
        stage.pass(330);
        publish(&stage).await;
        let (mut told, mut wanted) = (dead.ids(), healthy.ids());
        for ids in [&mut told, &mut wanted] {
            ids.sort();
            ids.dedup();
        }
        assert_eq!(told, wanted);
        assert_eq!(
            stage
                .database
                .number("select count(*) from webhook_retries")
                .await,
            0
        );
        stage.finish().await;
    }
);

story!(
    an_address_that_takes_nothing_for_five_days_is_given_up,
    async |database: Database| {
        let stage = Stage::with(database, &LOCAL).await;
        let dead = Receiver::start().await;
        let hook = subscribe(&stage, &dead.url, &[]).await;
        dead.status(404);
        for n in 0..10 {
            ask(&stage, &format!("C-{n}")).await;
        }
        for _ in 0..11 {
            publish(&stage).await;
            stage.pass(12 * 3_600);
        }
        assert_eq!(view(&stage, &hook).await["state"], "failing");
        let calls = dead.told().len();
        publish(&stage).await;
        assert_eq!(dead.told().len(), calls);
        stage.finish().await;
    }
);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_inside_is_refused_when_it_is_given_and_when_it_is_dialled() {
    let database = Database::sqlite();
    let mut settings = database.settings();
    settings.push(("SINKS__WEBHOOK__ALLOW_HTTP".to_owned(), "true".to_owned()));
    let stage = Stage::with(database, &[("SINKS__WEBHOOK__ALLOW_HTTP", "true")]).await;
    let receiver = Receiver::start().await;
    let port = receiver.url.rsplit_once(':').unwrap().1;
    for url in [
        receiver.url.clone(),
        // A name that resolves to an address inside.
        format!("http://localhost:{port}"),
        format!("http://[::1]:{port}"),
        format!("http://[::ffff:127.0.0.1]:{port}"),
        "http://169.254.169.254/latest/meta-data/".to_owned(),
        "https://10.0.0.1/".to_owned(),
        "https://100.64.0.1/".to_owned(),
        "https://[64:ff9b::7f00:1]/".to_owned(),
        "https://[2002:7f00:1::1]/".to_owned(),
        "https://[fd00:ec2::254]/".to_owned(),
        "ftp://example.com/".to_owned(),
        "https://user:password@example.com/".to_owned(),
    ] {
        let answer = call(&stage, Method::POST, "/v1/webhooks", &json!({"url": url})).await;
        assert_eq!(
            (answer.status, &answer.json()["field"]),
            (400, &json!("url")),
            "{url}"
        );
    }
    assert!(receiver.told().is_empty());
    stage.finish().await;
}

story!(
    a_webhook_that_does_not_open_is_left_alone_and_holds_up_no_other,
    async |database: Database| {
        let stage = Stage::with(database, &LOCAL).await;
        let (sealed, open) = (Receiver::start().await, Receiver::start().await);
        subscribe(&stage, &sealed.url, &[]).await;
        // What is sealed for another column does not open.
        let spoil = "update webhooks set url = secret";
        assert_eq!(stage.database.execute(spoil).await, 1);
        subscribe(&stage, &open.url, &[]).await;
        ask(&stage, "C-1").await;
        publish(&stage).await;
        assert_eq!((sealed.told().len(), open.told().len()), (0, 1));
        let store = &stage.app.journey.store;
        let busy = async || store.busy_webhooks(stage.now(), 9).await.unwrap().len();
        assert_eq!(busy().await, 0, "it has to wait");
        stage.pass(120);
        assert_eq!(busy().await, 1, "and is looked at again");
        stage.finish().await;
    }
);

story!(
    an_event_is_tried_by_the_schedule_and_given_up_after_the_last_try,
    async |database: Database| {
        const HOUR: i64 = 3_600;
        const WAITS: [i64; 9] = [
            5,
            300,
            1_800,
            2 * HOUR,
            5 * HOUR,
            10 * HOUR,
            14 * HOUR,
            20 * HOUR,
            24 * HOUR,
        ];
        let stage = Stage::with(database, &LOCAL).await;
        let receiver = Receiver::start().await;
        let hook = subscribe(&stage, &receiver.url, &[]).await;
        receiver.status(500);
        ask(&stage, "C-1").await;
        publish(&stage).await;
        for (before, wait) in (1..).zip(WAITS) {
            stage.pass(wait - 1);
            publish(&stage).await;
            assert_eq!(receiver.told().len(), before, "not before its time");
            // Up to a tenth later than the schedule says.
            stage.pass(wait / 10 + 2);
            publish(&stage).await;
            assert_eq!(receiver.told().len(), before + 1);
        }
        let waiting = "select count(*) from webhook_retries";
        assert_eq!(stage.database.number(waiting).await, 0);
        let published = &stage.app.journey.metrics.streams.published;
        let given_up = published.with_label_values(&["webhook", "gave_up"]);
        assert_eq!(given_up.get(), 1);
        assert_eq!(view(&stage, &hook).await["state"], "enabled");
        receiver.status(204);
        stage.pass(86_400);
        ask(&stage, "C-2").await;
        publish(&stage).await;
        let ids = receiver.ids();
        assert_eq!(ids.len(), 11);
        assert!(ids[..10].iter().all(|id| *id == ids[0]) && ids[10] != ids[0]);
        stage.finish().await;
    }
);

story!(
    an_event_that_an_address_refuses_is_given_up_soon_where_others_are_taken,
    async |database: Database| {
        let stage = Stage::with(database, &LOCAL).await;
        let receiver = Receiver::start().await;
        subscribe(&stage, &receiver.url, &[]).await;
        receiver.answer(Manner::Refuses("request.cancelled"));
        let waiting = "select count(*) from webhook_retries";
        for n in 0..250 {
            let asked = ask(&stage, &format!("C-{n}")).await;
            let path = format!("/v1/requests/{asked}/cancel");
            let answer = call(&stage, Method::POST, &path, &json!({})).await;
            assert_eq!(answer.status, 200, "{answer:?}");
        }
        publish(&stage).await;
        let told = receiver.told();
        let taken = told
            .iter()
            .filter(|told| told.json()["type"] != "request.cancelled");
        assert_eq!(taken.count(), 250, "none of them holds up another");
        let waits = stage.database.number(waiting).await;
        assert!((1..=132).contains(&waits), "{waits} wait");
        for n in 0..3 {
            stage.pass(400);
            ask(&stage, &format!("L-{n}")).await;
            publish(&stage).await;
        }
        assert_eq!(
            stage.database.number(waiting).await,
            0,
            "three refusals are enough"
        );
        let before = receiver.told().len();
        receiver.answer(Manner::Refuses("request.sent"));
        ask(&stage, "A-1").await;
        for _ in 0..4 {
            publish(&stage).await;
            stage.pass(400);
        }
        assert_eq!(
            receiver.told().len(),
            before + 3,
            "who takes nothing is believed less"
        );
        assert_eq!(stage.database.number(waiting).await, 1);
        stage.finish().await;
    }
);

story!(
    an_address_that_asks_for_time_is_left_alone_for_so_long,
    async |database: Database| {
        let stage = Stage::with(database, &LOCAL).await;
        let receiver = Receiver::start().await;
        subscribe(&stage, &receiver.url, &[]).await;
        let later = vec![("retry-after", "120".to_owned())];
        receiver.answer(Manner::Status(429, later));
        ask(&stage, "C-1").await;
        publish(&stage).await;
        receiver.status(204);
        ask(&stage, "C-2").await;
        stage.pass(119);
        publish(&stage).await;
        assert_eq!(receiver.told().len(), 1, "other events wait as well");
        stage.pass(2);
        publish(&stage).await;
        assert_eq!(receiver.told().len(), 3);
        stage.finish().await;
    }
);

/// The duty goes round again and again while the slow one has not answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_address_is_called_once_and_others_are_told_meanwhile() {
    let stage = Stage::with(Database::sqlite(), &LOCAL).await;
    let (slow, quick) = (Receiver::start().await, Receiver::start().await);
    for receiver in [&slow, &quick] {
        subscribe(&stage, &receiver.url, &[]).await;
    }
    slow.answer(Manner::Never);
    let (journey, stop) = (&stage.app.journey, CancellationToken::new());
    let story = async {
        for n in 1..=4 {
            ask(&stage, &format!("C-{n}")).await;
            quick.wait(|told| told.len() >= n).await;
        }
        slow.wait(|told| !told.is_empty()).await;
        stop.cancel();
    };
    tokio::join!(journey.run_duty(Duty::Webhooks, stop.clone()), story);
    assert_eq!(slow.told().len(), 1);
    stage.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_is_https_and_judged_again_when_it_is_changed() {
    let stage = Stage::start(Database::sqlite()).await;
    let refused = |answer: crate::support::http::Answer| {
        assert_eq!(
            (answer.status, &answer.json()["field"]),
            (400, &json!("url"))
        );
    };
    let plain = json!({"url": "http://93.184.216.34/"});
    refused(call(&stage, Method::POST, "/v1/webhooks", &plain).await);
    let hook = subscribe(&stage, "https://93.184.216.34/", &[]).await;
    let path = format!("/v1/webhooks/{}", hook["id"].as_str().unwrap());
    refused(call(&stage, Method::PUT, &path, &plain).await);
    let inside = json!({"url": "https://10.0.0.1/"});
    refused(call(&stage, Method::PUT, &path, &inside).await);
    assert_eq!(view(&stage, &hook).await["url"], "https://93.184.216.34/");
    stage.finish().await;
}
