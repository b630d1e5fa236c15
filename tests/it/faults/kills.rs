//! `kill -9` at every point between the claim and the report, with several sends at that point at once. The program has no
//! switch for it: the point is reached by holding up what comes next, outside the program.
//!
//! Whatever the point, no number gets two messages; what Twilio had is settled by evidence, what it never had is not sent again.

use crate::story;
use crate::support::database::Database;
use crate::support::faults;
use crate::support::http as plain;
use crate::support::proxy::{Deed, Plan, Spot};
use crate::support::stage::OUR_NUMBER;
use crate::support::twilio::Behaviour;

use super::scene::{Asked, Lock, Scene, until};

/// Sends at the point of the kill; fewer than go out at once.
const SENDS: usize = 8;

/// What every kill has to leave: each number has `messages`, and the request stands so.
async fn left(scene: &Scene, asked: &[Asked], messages: usize, states: &[&str]) {
    for one in asked {
        let got = scene.twilio.delivered_to(&one.number).len();
        let standing = scene.standing(one).await;
        assert!(
            got == messages && states.contains(&standing.as_str()),
            "{}: {got} messages, {standing}; {}",
            one.number,
            scene.program.log()
        );
    }
}

/// The three kinds of evidence, one after the other: Twilio calls back, the contact answers, or Twilio's list shows the message.
async fn settled(scene: &Scene, asked: &[Asked]) {
    let service = scene.program.service();
    for (n, one) in asked.iter().enumerate() {
        let message = scene.message(one);
        let answer = match n % 3 {
            0 => scene.twilio.status(&service, &message, "delivered").await,
            1 => {
                let (from, to) = (&one.number, OUR_NUMBER);
                scene.twilio.text(&service, from, to, "4").await
            }
            _ => {
                let seen = async || scene.standing(one).await == "accepted";
                until("found in the list", seen).await;
                continue;
            }
        };
        assert_eq!(answer.0, 200, "{}", answer.1);
    }
    left(scene, asked, 1, &["accepted"]).await;
}

/// Nothing was asked twice, by what Twilio has; and the program still asks.
async fn finish(mut scene: Scene, sent: usize) {
    let marker = scene.ask(1).await;
    until("the marker is sent", async || {
        !scene.twilio.delivered_to(&marker[0].number).is_empty()
    })
    .await;
    assert_eq!(scene.twilio.reached_twice(), Vec::<String>::new());
    assert_eq!(scene.twilio.messages().len(), sent + 1);
    assert_eq!(scene.twilio.failures(), Vec::<String>::new());
    let twice = "select count(*) from (select request_id from attempts where state = 'accepted' \
        group by request_id having count(*) > 1) t";
    assert_eq!(scene.database.number(twice).await, 0);
}

fn note(point: &str, where_: &str, kills: usize, result: &str) {
    let fault = format!("kill -9 at {point}, {where_}");
    let result = format!("{kills} kills with {SENDS} sends each: {result}");
    faults::record("F1", &fault, kills * SENDS, &result);
}

fn kind(database: &Database) -> &'static str {
    match database {
        Database::Sqlite(_) => "SQLite",
        Database::Postgres { .. } => "PostgreSQL",
    }
}

story!(
    a_claim_that_dies_before_the_point_of_no_return_is_sent_once,
    async |database: Database| {
        let kind = kind(&database);
        let mut scene = Scene::start(database).await;
        let kills = faults::count(2, 20);
        for kill in 0..kills {
            // The way to the provider does not open, so the claim is all that there is.
            scene.proxy.reset_all();
            scene.proxy.ignore().await;
            let asked = scene.ask(SENDS).await;
            scene.claimed(SENDS).await;
            let mut lock = None;
            if kill % 2 == 1 {
                // The way opens, and the point of no return cannot be committed.
                lock = Some(Lock::take(&scene.database).await);
                let before = scene.proxy.connections();
                scene.proxy.accept();
                until("open ways", async || {
                    scene.proxy.connections() >= before + SENDS
                })
                .await;
            }
            scene
                .kill_and_serve(async |scene| {
                    if let Some(lock) = lock {
                        lock.free().await;
                    }
                    scene.proxy.accept();
                })
                .await;
            left(&scene, &asked, 1, &["accepted"]).await;
        }
        finish(scene, kills * SENDS).await;
        note("K1, claimed", kind, kills, "all sent once");
    }
);

story!(
    a_send_of_which_twilio_never_had_the_whole_is_not_repeated,
    async |database: Database| {
        let kind = kind(&database);
        let mut scene = Scene::start(database).await;
        let kills = faults::count(2, 20);
        let mut all = Vec::new();
        for (point, spot) in [
            ("K2, before the first byte", Spot::After(0)),
            ("K3, before the last byte", Spot::At(b"ValidityPeriod")),
        ] {
            for _ in 0..kills {
                // Before the program starts: a connection that it opened earlier would have another plan.
                let plan = Plan::up(spot, Deed::Stall);
                scene
                    .kill_and_serve(async |scene| scene.proxy.always(plan))
                    .await;
                let stalled = scene.proxy.faults() + SENDS;
                let asked = scene.ask(SENDS).await;
                scene.dispatching(SENDS).await;
                scene.proxy.faults_once(stalled).await;
                scene
                    .kill_and_serve(async |scene| {
                        scene.proxy.reset_all();
                        scene.proxy.always(Plan::PASS);
                    })
                    .await;
                left(&scene, &asked, 0, &["unknown", "lost"]).await;
                all.extend(asked);
            }
            note(point, kind, kills, "none sent again");
        }
        left(&scene, &all, 0, &["unknown", "lost"]).await;
        finish(scene, 0).await;
    }
);

story!(
    what_twilio_accepted_before_the_death_is_bound_and_not_repeated,
    async |database: Database| {
        let kind = kind(&database);
        let mut scene = Scene::start(database).await;
        let kills = faults::count(2, 20);
        for _ in 0..kills {
            let asked = held(&mut scene).await;
            scene
                .kill_and_serve(async |scene| scene.twilio.release())
                .await;
            left(&scene, &asked, 1, &["unknown", "accepted"]).await;
            settled(&scene, &asked).await;
        }
        finish(scene, kills * SENDS).await;
        note("K4, answer not read", kind, kills, "all bound, once each");
    }
);

/// So many sends that Twilio has accepted, and of which the program has no answer yet.
async fn held(scene: &mut Scene) -> Vec<Asked> {
    let before = scene.twilio.held();
    for _ in 0..SENDS {
        scene.twilio.next(Behaviour::HoldAnswer);
    }
    let asked = scene.ask(SENDS).await;
    scene.twilio.held_once(before + SENDS).await;
    asked
}

/// The answers of providers that the program has read since it was started.
async fn answers(scene: &Scene) -> usize {
    let metrics = plain::get(&format!("{}/metrics", scene.program.url)).await;
    let series = "onefive_provider_calls_total{outcome=\"accepted\",provider=\"twilio\"} ";
    let mut lines = metrics.body.lines();
    let count = lines.find_map(|line| line.strip_prefix(series));
    count.map_or(0, |count| count.parse().unwrap())
}

story!(
    an_answer_that_was_read_and_not_recorded_is_bound_and_not_repeated,
    async |database: Database| {
        let kind = kind(&database);
        let mut scene = Scene::start(database).await;
        let kills = faults::count(2, 20);
        for _ in 0..kills {
            let asked = held(&mut scene).await;
            // The answers are read, and the reports cannot be committed.
            let lock = Lock::take(&scene.database).await;
            let read = answers(&scene).await;
            scene.twilio.release();
            until("answers read", async || {
                answers(&scene).await == read + SENDS
            })
            .await;
            scene.kill_and_serve(async |_| lock.free().await).await;
            left(&scene, &asked, 1, &["unknown", "accepted"]).await;
            settled(&scene, &asked).await;
        }
        finish(scene, kills * SENDS).await;
        let point = "K5 and K6, report not committed";
        note(point, kind, kills, "all bound, once each");
    }
);

story!(
    a_callback_before_the_report_settles_it_whether_or_not_the_report_comes,
    async |database: Database| {
        let kind = kind(&database);
        let mut scene = Scene::start(database).await;
        let kills = faults::count(2, 20);
        for kill in 0..kills {
            let asked = held(&mut scene).await;
            let service = scene.program.service();
            for one in &asked {
                let message = scene.message(one);
                let told = scene.twilio.status(&service, &message, "sent").await;
                assert_eq!(told.0, 200, "{}", told.1);
            }
            left(&scene, &asked, 1, &["accepted"]).await;
            if kill % 2 == 0 {
                scene
                    .kill_and_serve(async |scene| scene.twilio.release())
                    .await;
            } else {
                let read = answers(&scene).await;
                scene.twilio.release();
                until("answers read", async || {
                    answers(&scene).await == read + SENDS
                })
                .await;
                scene.kill_and_serve(async |_| {}).await;
            }
            settled(&scene, &asked).await;
        }
        finish(scene, kills * SENDS).await;
        let point = "K7, callback before the report";
        note(point, kind, kills, "settled at once, once each");
    }
);
