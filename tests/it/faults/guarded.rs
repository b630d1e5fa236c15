//! The second, revocable attempt for a send of which nobody knows whether it happened: made once, and taken back as soon as
//! anything is heard of the first.

use crate::story;
use crate::support::database::Database;
use crate::support::faults;
use crate::support::stage::Stage;
use crate::support::twilio::{Behaviour, Listing, MESSAGING_SERVICE};

use super::settling::{Numbers, WINDOW, all_stand, finish, kind, newest, reply, tell, turn};

/// The setting that makes a second, revocable attempt at the end.
const GUARDED: &[(&str, &str)] = &[
    ("SETTLING__POLICY", "guarded"),
    (
        "PROVIDERS__TWILIO__MESSAGING_SERVICE_SID",
        MESSAGING_SERVICE,
    ),
];
/// By then a second attempt has gone out, if it was not taken back.
const SECOND: i64 = 600;

/// Time passes until each of the last sends has a second attempt.
async fn until_guarded(stage: &Stage, before: usize, count: usize) {
    for _ in 0..2 * WINDOW / 10 {
        if stage.twilio.messages().len() == before + count {
            assert_eq!(seconds(stage, count), vec!["scheduled"; count]);
            return;
        }
        turn(stage, 10).await;
    }
    panic!("no second attempt: {:?}", stage.twilio.messages());
}

/// The state of each of the last second attempts, by Twilio.
fn seconds(stage: &Stage, count: usize) -> Vec<String> {
    let second = newest(stage, count);
    assert!(second.iter().all(|one| one.send_at.is_some()), "{second:?}");
    second.into_iter().map(|one| one.status).collect()
}

story!(
    guarded_asks_once_more_if_the_first_never_happened,
    async |database: Database| {
        let kind = kind(&database);
        let stage = Stage::with(database, GUARDED).await;
        let mut numbers = Numbers(0);
        let count = faults::count(6, 30);
        let ids = numbers
            .meet(&stage, Behaviour::Fail500WithoutAccept, count)
            .await;
        until_guarded(&stage, 0, count).await;
        turn(&stage, SECOND).await;
        all_stand(&stage, &ids, "accepted").await;
        assert_eq!(numbers.got(&stage, count), vec![1; count]);
        let fault = format!("500 without accepting, guarded, {kind}");
        faults::record(
            "F6",
            &fault,
            count,
            "one second attempt each, all arrived once",
        );

        // If nobody knows of the second one either, there is no third.
        let ids = numbers
            .meet(&stage, Behaviour::Fail500WithoutAccept, count)
            .await;
        for _ in 0..count {
            stage.twilio.next(Behaviour::Fail500WithoutAccept);
        }
        turn(&stage, 10 * WINDOW).await;
        all_stand(&stage, &ids, "lost").await;
        assert_eq!(numbers.got(&stage, count), vec![0; count]);
        assert_eq!(stage.twilio.requests(), 4 * count);
        let fault = format!("500 without accepting, twice, guarded, {kind}");
        faults::record(
            "F6",
            &fault,
            2 * count,
            "no third attempt, all lost and counted",
        );
        finish(stage).await;
    }
);

story!(
    evidence_for_the_first_takes_the_second_back,
    async |database: Database| {
        let kind = kind(&database);
        let stage = Stage::with(database, GUARDED).await;
        let mut numbers = Numbers(0);
        let count = faults::count(4, 20);
        let mut injected = 0;
        for evidence in ["callback", "list", "reply"] {
            for taking_back in [
                Behaviour::Accept,
                Behaviour::LoseAnswer,
                Behaviour::Fail500WithoutAccept,
                Behaviour::TooMany { retry_after: 30 },
            ] {
                stage.twilio.lists(Listing::EmptyLie);
                let ids = numbers.meet(&stage, Behaviour::LoseAnswer, count).await;
                let first = newest(&stage, count);
                until_guarded(&stage, stage.twilio.messages().len(), count).await;
                for _ in 0..count {
                    stage.twilio.next(taking_back);
                }
                for message in &first {
                    match evidence {
                        "callback" => tell(&stage, message, "sent").await,
                        "reply" => reply(&stage, message).await,
                        _ => stage.twilio.lists(Listing::Truth),
                    }
                }
                turn(&stage, 200).await;
                assert_eq!(
                    seconds(&stage, count),
                    vec!["canceled"; count],
                    "{evidence}, {taking_back:?}"
                );
                turn(&stage, SECOND).await;
                all_stand(&stage, &ids, "accepted").await;
                assert_eq!(numbers.got(&stage, count), vec![1; count]);
                injected += count;
            }
        }
        let ratings = stage.database.number("select count(*) from ratings").await;
        assert_eq!(ratings, i64::try_from(4 * count).unwrap());
        let fault = format!("evidence for the first after the second was scheduled, {kind}");
        let result = "every second attempt taken back, all arrived once";
        faults::record("F10", &fault, injected, result);
        finish(stage).await;
    }
);

story!(
    a_second_attempt_in_doubt_is_found_and_taken_back_too,
    async |database: Database| {
        let kind = kind(&database);
        let stage = Stage::with(database, GUARDED).await;
        let mut numbers = Numbers(0);
        // Five sends in a row without an answer would hold up the further ones for minutes.
        let count = 4;
        stage.twilio.lists(Listing::EmptyLie);
        let ids = numbers.meet(&stage, Behaviour::LoseAnswer, count).await;
        let first = newest(&stage, count);
        for _ in 0..count {
            stage.twilio.next(Behaviour::LoseAnswer);
        }
        until_guarded(&stage, stage.twilio.messages().len(), count).await;
        stage.twilio.lists(Listing::Truth);
        for message in &first {
            tell(&stage, message, "delivered").await;
        }
        turn(&stage, 300).await;
        assert_eq!(seconds(&stage, count), vec!["canceled"; count]);
        turn(&stage, SECOND).await;
        all_stand(&stage, &ids, "accepted").await;
        assert_eq!(numbers.got(&stage, count), vec![1; count]);
        let fault = format!("answer to the second attempt lost too, {kind}");
        let result = "found in the list and taken back, all arrived once";
        faults::record("F10", &fault, 2 * count, result);
        finish(stage).await;
    }
);
