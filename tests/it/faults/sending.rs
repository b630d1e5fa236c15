//! A provider that misbehaves: answers that are lost or wrong, refusals in bursts, news in any order. In process, with a clock
//! that is turned by hand.

use onefive::domain::delivery::{DeliveryState, Evidence, Outcome, Position, Status, step};
use onefive::domain::request::State;
use onefive::domain::time::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::story;
use crate::support::database::Database;
use crate::support::faults;
use crate::support::stage::Stage;
use crate::support::twilio::{Auto, Behaviour};

/// A customer whom nobody has asked before.
fn number(n: usize) -> String {
    format!("+1415999{n:04}")
}

fn kind(database: &Database) -> &'static str {
    match database {
        Database::Sqlite(_) => "SQLite",
        Database::Postgres { .. } => "PostgreSQL",
    }
}

/// What the API says about a request: its state, and how carrying it stands.
async fn standing(stage: &Stage, id: &str) -> (String, String) {
    let request = stage.request(id).await;
    let word = |value: &Value| value.as_str().unwrap().to_owned();
    (word(&request["state"]), word(&request["delivery"]["state"]))
}

/// Pairs of sends that went out the other way round than they were due, as a part of all pairs.
fn disorder(order: &[usize]) -> f64 {
    let pairs = order.iter().enumerate().flat_map(|(at, first)| {
        let later = order[at + 1..].iter();
        later.map(move |second| first > second)
    });
    let (all, wrong) = pairs.fold((0.0, 0.0), |(all, wrong), swapped| {
        (all + 1.0, wrong + f64::from(u8::from(swapped)))
    });
    wrong / all
}

story!(
    a_burst_of_refusals_delays_and_neither_loses_nor_repeats,
    async |database: Database| {
        const REQUESTS: usize = 120;
        let kind = kind(&database);
        let stage = Stage::start(database).await;
        // More in a row would be an outage of an hour for the circuit breaker, and that is another story.
        let burst = 12;
        for n in 0..REQUESTS {
            let trigger = json!({"channel": "sms", "to": number(n), "conversation": format!("INC-{n}"), "delay_seconds": n * 10});
            assert_eq!(stage.trigger(&trigger).await.status, 202);
        }
        let mut refused = 0;
        for turn in 0..500 {
            if turn == 40 {
                for n in 0..burst {
                    let retry_after = 5 + u32::try_from(n % 3).unwrap() * 5;
                    stage.twilio.next(Behaviour::TooMany { retry_after });
                }
                refused = stage.twilio.requests() - stage.twilio.messages().len();
            }
            stage.deliver().await;
            stage.pass(5);
        }
        let messages = stage.twilio.messages();
        assert_eq!(messages.len(), REQUESTS);
        assert_eq!(stage.twilio.requests() - REQUESTS - refused, burst);
        assert_eq!(stage.twilio.reached_twice(), Vec::<String>::new());
        let order: Vec<usize> = messages
            .iter()
            .map(|message| message.to[8..].parse().unwrap())
            .collect();
        let disorder = disorder(&order);
        assert!(disorder < 0.1, "{disorder}: {order:?}");
        let result = format!(
            "all {REQUESTS} sent once, {:.1} % of the pairs out of order",
            disorder * 100.0
        );
        faults::record("F7", &format!("429 burst, {kind}"), burst, &result);
        stage.finish().await;
    }
);

/// News as Twilio tells them, and the worker's own view of its call, in any order.
fn evidence() -> impl Strategy<Value = Evidence> {
    let failed = Status::Failed {
        code: "30005".to_owned(),
        opted_out: false,
    };
    let accepted = Outcome::Accepted {
        provider_id: "SM1".to_owned(),
    };
    let unknown = Outcome::Unknown {
        code: "timeout".to_owned(),
    };
    prop_oneof![
        4 => Just(Evidence::Status(Status::Taken)),
        4 => Just(Evidence::Status(Status::Delivered)),
        2 => Just(Evidence::Status(failed)),
        2 => Just(Evidence::Outcome(accepted)),
        1 => Just(Evidence::Outcome(unknown)),
        1 => Just(Evidence::Silence),
    ]
}

/// Where a request stands after all of it, from the point of no return on.
fn told(all: &[Evidence]) -> (DeliveryState, State) {
    let now = Timestamp::from_millis(1_000_000);
    let mut at = Position {
        delivery: DeliveryState::Dispatching,
        state: State::Scheduled,
        attempt: 1,
        send_at: None,
        doubt: false,
        now,
        expires_at: now.plus_millis(86_400_000),
        jitter: 500,
    };
    for one in all {
        // Twice each: what was heard before changes nothing.
        for repeated in [false, true] {
            let Some(step) = step(at, one) else { continue };
            assert!(!repeated, "{one:?} counts twice at {at:?}");
            assert_ne!(step.delivery, DeliveryState::Queued, "{all:?}");
            at.delivery = step.delivery;
            at.state = step.state.unwrap_or(at.state);
        }
        at.now = at.now.plus_millis(600_000);
    }
    (at.delivery, at.state)
}

const SEQUENCES: u32 = 10_000;

#[test]
fn news_of_a_message_lead_to_one_end_whatever_their_order() {
    let config = ProptestConfig {
        cases: SEQUENCES,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let shuffled = prop::collection::vec(evidence(), 1..10)
        .prop_flat_map(|all| (Just(all.clone()), Just(all).prop_shuffle()));
    proptest!(config, |((all, other) in shuffled)| {
        let end = told(&all);
        prop_assert_eq!(end, told(&other), "{:?} and {:?}", all, other);
        let has = |wanted: &Evidence| all.contains(wanted);
        let failed = all.iter().any(|one| matches!(one, Evidence::Status(Status::Failed { .. })));
        let accepted = all.iter().any(|one| matches!(one, Evidence::Outcome(Outcome::Accepted { .. })));
        let expected = if has(&Evidence::Status(Status::Delivered)) {
            (DeliveryState::Accepted, State::Delivered)
        } else if failed {
            (DeliveryState::Rejected, State::Failed)
        } else if accepted || has(&Evidence::Status(Status::Taken)) {
            (DeliveryState::Accepted, State::Sent)
        } else {
            (DeliveryState::Unknown, State::Scheduled)
        };
        prop_assert_eq!(end, expected, "{:?}", all);
    });
    // Nothing was done to a running service here, so nothing is counted as injected.
    let fault = "news duplicated and reordered, state machine alone";
    let result = format!("{SEQUENCES} sequences: one end whatever the order, nothing counts twice");
    faults::record("F8", fault, 0, &result);
}

story!(
    news_in_any_order_late_or_before_the_answer_end_at_delivered,
    async |database: Database| {
        let kind = kind(&database);
        let stage = Stage::start(database).await;
        let service = stage.service();
        let sequences: [&[&str]; 6] = [
            &["sent", "delivered"],
            &["delivered", "sent"],
            &["queued", "delivered", "delivered", "sent", "sending"],
            &["sent", "sent", "delivered", "sent", "delivered"],
            &["delivered", "undelivered"],
            &["undelivered", "sent", "delivered", "sent"],
        ];
        let rounds = faults::count(1, 10);
        let (mut n, mut injected) = (0, 0);
        for _ in 0..rounds {
            for news in sequences {
                for (early, late) in [(0, 0), (0, 600), (1, 0), (2, 600), (news.len(), 0)] {
                    n += 1;
                    let to = number(n);
                    stage.twilio.next(Behaviour::HoldAnswer);
                    let id = stage.ask("sms", &to, &format!("INC-{n}")).await;
                    let tell = async |words: &[&str]| {
                        let message = stage.twilio.messages().pop().unwrap();
                        for word in words {
                            let answer = stage.twilio.status(&service, &message, word).await;
                            assert_eq!(answer.0, 200, "{}", answer.1);
                        }
                    };
                    let early = early.min(news.len());
                    // Some are told before the request that made the message is answered.
                    let (carried, ()) = tokio::join!(stage.deliver(), async {
                        stage.twilio.held_once(n).await;
                        tell(&news[..early]).await;
                        stage.twilio.release();
                    });
                    assert_eq!(carried, 1);
                    stage.pass(late);
                    tell(&news[early..]).await;
                    let expected = ("delivered".to_owned(), "accepted".to_owned());
                    assert_eq!(
                        standing(&stage, &id).await,
                        expected,
                        "{news:?}, {early} early"
                    );
                    injected += news.len();
                }
            }
        }
        // And by themselves, from a provider that is faster than its own answer.
        stage.twilio.auto_callbacks(Some(Auto {
            services: vec![service.clone()],
            duplicates: 2,
            reordered: true,
            early: true,
            ..Auto::default()
        }));
        let id = stage.ask("sms", &number(0), "INC-0").await;
        assert_eq!(stage.deliver().await, 1);
        let expected = ("delivered".to_owned(), "accepted".to_owned());
        assert_eq!(standing(&stage, &id).await, expected);
        assert_eq!(stage.deliver().await, 0);
        stage.twilio.auto_callbacks(None);
        // That it was on its way does not hide that it did not arrive.
        let id = stage.ask("sms", &number(n + 1), "INC-FAILED").await;
        assert_eq!(stage.deliver().await, 1);
        let message = stage.twilio.messages().pop().unwrap();
        for word in ["sent", "undelivered", "sending", "sent", "undelivered"] {
            stage.twilio.status(&service, &message, word).await;
        }
        let expected = ("failed".to_owned(), "rejected".to_owned());
        assert_eq!(standing(&stage, &id).await, expected);
        assert_eq!(stage.request(&id).await["delivery"]["code"], "30005");
        assert_eq!(stage.twilio.messages().len(), n + 2);
        assert_eq!(stage.twilio.reached_twice(), Vec::<String>::new());
        // Each was entered once, however often it was told.
        let delivered = r#"onefive_requests_total{desk="acme",channel="sms",touchpoint="test",state="delivered",reason=""}"#;
        let counted = stage.metric(delivered).await;
        assert!(
            (counted - f64::from(u32::try_from(n + 1).unwrap())).abs() < 0.5,
            "{counted}"
        );
        let fault = format!("callbacks duplicated, reordered, late, before the answer, {kind}");
        let result = format!(
            "{} messages, each ends where it should, counted once",
            n + 2
        );
        faults::record("F8", &fault, injected, &result);
        stage.finish().await;
    }
);
