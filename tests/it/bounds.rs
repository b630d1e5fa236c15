//! What holds whatever goes wrong elsewhere: a provider that is down gets few messages, a day has a ceiling of sends, and one replica
//! at a time does a scheduled duty.

use std::time::Duration;

use onefive::domain::time::Timestamp;
use onefive::journey::Duty;
use tokio_util::sync::CancellationToken;

use crate::story;
use crate::support::database::Database;
use crate::support::http;
use crate::support::stage::{ANA, Stage};
use crate::support::twilio::Behaviour;

fn number(n: usize) -> String {
    format!("+1415777{n:04}")
}

/// The value of a series of the process's own metrics.
async fn own(stage: &Stage, series: &str) -> f64 {
    let metrics = http::get(&format!("{}/metrics", stage.url)).await.body;
    let line = metrics
        .lines()
        .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{series} is not in\n{metrics}"))
        .parse()
        .unwrap()
}

/// Whether the process shows a series.
async fn has(stage: &Stage, series: &str) -> bool {
    let metrics = http::get(&format!("{}/metrics", stage.url)).await.body;
    metrics.lines().any(|line| line.starts_with(series))
}

story!(
    a_provider_that_is_down_gets_few_messages_and_the_others_go_on,
    async |database: Database| {
        let stage = Stage::start(database).await;
        let open = r#"onefive_provider_circuit_open{provider="twilio"}"#;
        assert!(own(&stage, open).await.abs() < f64::EPSILON);
        // An hour in which every answer is lost, with a new request every ten seconds.
        for n in 0..360 {
            stage.twilio.next(Behaviour::Fail500WithoutAccept);
            stage.ask("sms", &number(n), &format!("INC-{n}")).await;
            if n == 100 {
                stage.ask("email", "ana@example.com", "MAIL-1").await;
            }
            stage.pass(10);
            stage.deliver().await;
        }
        assert_eq!(stage.mail.mails().len(), 1, "mail is not concerned");
        let tried = stage.twilio.requests();
        assert!(tried < 60, "{tried} of 360 were put at risk");
        assert!((own(&stage, open).await - 1.0).abs() < f64::EPSILON);
        // What waits is still there, and goes out when the provider is back.
        stage.twilio.forget_plan();
        stage.pass(121);
        for _ in 0..200 {
            stage.deliver().await;
        }
        assert!(own(&stage, open).await.abs() < f64::EPSILON);
        assert_eq!(stage.twilio.messages().len(), 360 - tried);
        let queue = stage.metric(r#"onefive_deliveries{state="queued"}"#).await;
        assert!(queue.abs() < f64::EPSILON);
        // What was put at risk is looked for, and lost when it is nowhere.
        for _ in 0..200 {
            stage.pass(10);
            stage.app.journey.settle_due().await.unwrap();
        }
        let lost = stage.metric(r#"onefive_deliveries{state="lost"}"#).await;
        assert!((lost - f64::from(u32::try_from(tried).unwrap())).abs() < f64::EPSILON);
        stage.finish().await;
    }
);

story!(
    a_person_is_not_written_to_above_the_ceiling_of_a_day,
    async |database: Database| {
        let stage = Stage::with(database, &[("REQUESTS__SENDS_PER_ADDRESS", "2")]).await;
        for n in 0..3 {
            let id = stage.ask("sms", ANA, &format!("INC-{n}")).await;
            stage.deliver().await;
            let request = stage.request(&id).await;
            if n < 2 {
                assert_eq!(request["state"], "sent", "{request}");
                let canceled = stage.cancel(&id).await;
                assert_eq!(canceled.status, 200, "{canceled:?}");
            } else {
                assert_eq!(request["state"], "failed", "{request}");
                let delivery = &request["delivery"];
                assert_eq!(delivery["code"], "ceiling_address");
                assert_eq!(delivery["class"], "ceiling");
            }
        }
        assert_eq!(stage.twilio.messages().len(), 2);
        let refused = r#"onefive_ceiling_refusals_total{ceiling="address"}"#;
        assert!((own(&stage, refused).await - 1.0).abs() < f64::EPSILON);
        stage.finish().await;
    }
);

story!(
    a_providers_code_is_readable_at_the_request,
    async |database: Database| {
        let stage = Stage::start(database).await;
        for (n, http, code, class) in [
            (0, 400, 21_211, "invalid_address"),
            (1, 400, 21_610, "unsubscribed"),
            (2, 400, 21_408, "account"),
        ] {
            stage.twilio.next(Behaviour::Reject { http, code });
            let id = stage.ask("sms", &number(n), &format!("INC-{n}")).await;
            stage.deliver().await;
            let delivery = stage.request(&id).await["delivery"].clone();
            assert_eq!(delivery["code"], code.to_string());
            assert_eq!(delivery["class"], class);
            assert!(delivery["meaning"].as_str().unwrap().len() > 10);
        }
        // Twilio says that the second does not want to be written to: that is an opt-out.
        let body = serde_json::json!({"channel": "sms", "to": number(1), "conversation": "INC-9"});
        let refused = stage.trigger(&body).await;
        assert_eq!(refused.json()["reason"], "opted_out");
        stage.finish().await;
    }
);

story!(
    scheduled_duties_are_done_by_one_replica,
    async |database: Database| {
        let stage = Stage::start(database).await;
        let store = &stage.app.journey.store;
        let mine = store.hold_duty("reconcile", "another", 60_000).await;
        assert!(mine.unwrap().is_some());
        // The list is not asked while another replica has the duty.
        assert_eq!(stage.app.journey.reconcile().await.unwrap(), 0);
        assert_eq!(stage.twilio.requests(), 0);
        store.release("another").await.unwrap();
        assert_eq!(stage.app.journey.reconcile().await.unwrap(), 0);
        assert_eq!(stage.twilio.looks(), 1);
        stage.finish().await;
    }
);

story!(
    events_are_folded_although_nothing_can_expire,
    async |database: Database| {
        let stage = Stage::start(database).await;
        stage.ask("sms", ANA, "INC-1").await;
        stage.deliver().await;
        let pending = "select count(*) from streams s where s.seq > \
            coalesce((select m.seq from sink_marks m where m.desk_id = s.desk_id and m.sink = 'totals'), 0)";
        assert!(stage.database.number(pending).await > 0);
        let spoil = "alter table requests rename column listen_until to spoiled";
        stage.database.execute(spoil).await;
        assert!(stage.app.journey.tidy().await.is_err());
        assert_eq!(stage.database.number(pending).await, 0);
        let mend = "alter table requests rename column spoiled to listen_until";
        stage.database.execute(mend).await;
        stage.finish().await;
    }
);

story!(
    what_bounds_nothing_is_forgotten_although_the_audit_fails,
    async |database: Database| {
        let stage = Stage::start(database).await;
        let long_ago = Timestamp::from_millis(0);
        let journey = &stage.app.journey;
        journey
            .store
            .add_stray("twilio", "SM1", long_ago)
            .await
            .unwrap();
        let spoil = "alter table ratings rename to spoiled";
        stage.database.execute(spoil).await;
        let stop = CancellationToken::new();
        let unanswered = r#"onefive_invariant_violations{invariant="rating_unanswered"}"#;
        let last = r#"onefive_invariant_violations{invariant="lease_overdue"}"#;
        let asked = async {
            // The last one is asked although another could not be.
            let mut look = tokio::time::interval(Duration::from_millis(20));
            let strays = "select count(*) from strays";
            while !has(&stage, last).await || stage.database.number(strays).await > 0 {
                look.tick().await;
            }
            stop.cancel();
        };
        let done = async {
            tokio::join!(
                journey.run_duty(Duty::Audit, stop.clone()),
                journey.run_duty(Duty::Prune, stop.clone()),
                asked
            )
        };
        tokio::time::timeout(Duration::from_secs(20), done)
            .await
            .unwrap();
        assert!((own(&stage, unanswered).await + 1.0).abs() < f64::EPSILON);
        assert!(own(&stage, last).await.abs() < f64::EPSILON);
        let strays = stage.database.number("select count(*) from strays").await;
        assert_eq!(strays, 0);
        let mend = "alter table spoiled rename to ratings";
        stage.database.execute(mend).await;
        stage.finish().await;
    }
);

story!(
    pruning_goes_on_until_nothing_old_is_left,
    async |database: Database| {
        let stage = Stage::start(database).await;
        let body = serde_json::json!({"channel": "chat", "to": "v-1", "conversation": "C-1"});
        stage.trigger(&body).await;
        stage.app.journey.publish().await.unwrap();
        let old = match &stage.database {
            Database::Sqlite(_) => {
                "with recursive n (i) as (select 1 union all select i + 1 from n where i < 5000) \
                 insert into events (desk_id, id, request_id, kind, at, channel, touchpoint, entered, reason, score, bucket, \
                 elapsed_ms, folded_early, seq) select d.id, unhex(printf('%032x', n.i)), d.id, 'request.sent', 0, 'chat', '', 0, '', 0, \
                 -1, 0, 1, n.i + 10 from n, desks d"
            }
            Database::Postgres { .. } => {
                "insert into events (desk_id, id, request_id, kind, at, channel, touchpoint, entered, reason, score, bucket, \
                 elapsed_ms, folded_early, seq) select d.id, lpad(to_hex(i), 32, '0')::uuid, d.id, 'request.sent', 0, 'chat', '', 0, '', \
                 0, -1, 0, 1, i + 10 from generate_series(1, 5000) i, desks d"
            }
        };
        stage.database.execute(old).await;
        let folded = "insert into sink_marks (desk_id, sink, seq) select id, 'totals', 5010 from desks where true \
            on conflict (desk_id, sink) do update set seq = excluded.seq";
        stage.database.execute(folded).await;
        let stop = CancellationToken::new();
        let gone = async {
            let mut look = tokio::time::interval(Duration::from_millis(20));
            let left = "select count(*) from events where seq > 10";
            while stage.database.number(left).await > 0 {
                look.tick().await;
            }
            stop.cancel();
        };
        let journey = &stage.app.journey;
        let done = async { tokio::join!(journey.run_duty(Duty::Prune, stop.clone()), gone) };
        // The pause between two rounds alone is far longer.
        tokio::time::timeout(Duration::from_secs(30), done)
            .await
            .unwrap();
        stage.finish().await;
    }
);
