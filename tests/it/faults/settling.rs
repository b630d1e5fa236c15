//! Sends of which nobody knows whether they happened, and what settles them: callbacks, the provider's list, the contact. With a
//! clock that is turned by hand, so that an hour of looking takes no time.

use crate::story;
use crate::support::database::Database;
use crate::support::faults;
use crate::support::stage::{OUR_NUMBER, Stage};
use crate::support::twilio::{Behaviour, Listing, MESSAGING_SERVICE, POOL_NUMBER, SentMessage};

/// By then every look has been made, and a first attempt is given up.
pub(super) const WINDOW: i64 = 1_100;
pub(super) fn kind(database: &Database) -> &'static str {
    match database {
        Database::Sqlite(_) => "SQLite",
        Database::Postgres { .. } => "PostgreSQL",
    }
}

fn number(n: usize) -> String {
    format!("+1415666{n:04}")
}

/// Time passes, and every loop of the service turns.
pub(super) async fn turn(stage: &Stage, seconds: i64) {
    for _ in 0..seconds / 10 {
        stage.pass(10);
        stage.app.journey.sweep().await.unwrap();
        stage.app.journey.settle_due().await.unwrap();
        stage.deliver().await;
    }
}

async fn standing(stage: &Stage, id: &str) -> String {
    let request = stage.request(id).await;
    request["delivery"]["state"].as_str().unwrap().to_owned()
}

pub(super) async fn all_stand(stage: &Stage, ids: &[String], wanted: &str) {
    for id in ids {
        assert_eq!(
            standing(stage, id).await,
            wanted,
            "{}",
            stage.request(id).await
        );
    }
}

/// A number for the next customer, counted over a whole story.
pub(super) struct Numbers(pub(super) usize);

impl Numbers {
    /// So many sends that meet `behaviour`; the requests.
    pub(super) async fn meet(
        &mut self,
        stage: &Stage,
        behaviour: Behaviour,
        count: usize,
    ) -> Vec<String> {
        let mut ids = Vec::new();
        for _ in 0..count {
            self.0 += 1;
            stage.twilio.next(behaviour);
            let (to, conversation) = (number(self.0), format!("INC-{}", self.0));
            ids.push(stage.ask("sms", &to, &conversation).await);
        }
        // After a few failures in a row only one send at a time tries the way, and each try that fails makes the pause longer.
        let mut met = 0;
        for _ in 0..200 {
            met += stage.deliver().await;
            if met == count {
                break;
            }
            stage.pass(10);
        }
        assert_eq!(met, count);
        all_stand(stage, ids.as_slice(), "unknown").await;
        ids
    }

    /// What the numbers of the last sends got.
    pub(super) fn got(&self, stage: &Stage, count: usize) -> Vec<usize> {
        let last = self.0 - count + 1..=self.0;
        last.map(|n| stage.twilio.delivered_to(&number(n)).len())
            .collect()
    }
}

/// The newest messages of the double, one for each of the last sends.
pub(super) fn newest(stage: &Stage, count: usize) -> Vec<SentMessage> {
    let mut messages = stage.twilio.messages();
    messages.split_off(messages.len() - count)
}

pub(super) async fn tell(stage: &Stage, message: &SentMessage, word: &str) {
    let answer = stage.twilio.status(&stage.service(), message, word).await;
    assert_eq!(answer.0, 200, "{}", answer.1);
}

pub(super) async fn reply(stage: &Stage, message: &SentMessage) {
    let ours = if message.from == MESSAGING_SERVICE {
        POOL_NUMBER
    } else {
        OUR_NUMBER
    };
    let answer = stage
        .twilio
        .text(&stage.service(), &message.to, ours, "4")
        .await;
    assert_eq!(answer.0, 200, "{}", answer.1);
}

/// Nothing was asked twice, and nothing is left to do.
pub(super) async fn finish(stage: Stage) {
    assert_eq!(stage.twilio.reached_twice(), Vec::<String>::new());
    stage.finish().await;
}

story!(
    an_answer_that_is_lost_is_found_in_the_list_within_a_minute,
    async |database: Database| {
        let kind = kind(&database);
        let stage = Stage::start(database).await;
        let mut numbers = Numbers(0);
        let count = 6;
        for (id, fault, behaviour) in [
            ("F4", "answer lost", Behaviour::LoseAnswer),
            ("F5", "500 after accepting", Behaviour::Fail500AfterAccept),
            ("F5", "201 with a broken body", Behaviour::Malformed2xx),
        ] {
            // Twilio's clock need not be ours.
            for offset in [0, -100_000, 100_000] {
                stage.twilio.set_offset_ms(offset);
                let ids = numbers.meet(&stage, behaviour, count).await;
                turn(&stage, 60).await;
                all_stand(&stage, &ids, "accepted").await;
                assert_eq!(numbers.got(&stage, count), vec![1; count]);
                turn(&stage, 20).await;
            }
            let result = "all bound by the list within 60 s, 0 sent again";
            faults::record(id, &format!("{fault}, {kind}"), 3 * count, result);
        }
        stage.twilio.set_offset_ms(0);
        let ids = numbers.meet(&stage, Behaviour::LoseAnswer, count).await;
        for (n, message) in newest(&stage, count).iter().enumerate() {
            if n % 2 == 0 {
                tell(&stage, message, "delivered").await;
            } else {
                reply(&stage, message).await;
            }
        }
        all_stand(&stage, &ids, "accepted").await;
        let looks = stage.twilio.looks();
        turn(&stage, WINDOW).await;
        assert_eq!(
            stage.twilio.looks(),
            looks,
            "what is settled is not looked for"
        );
        let result = "all bound at once by callback or reply, 0 sent again";
        faults::record("F4", &format!("answer lost, {kind}"), count, result);
        finish(stage).await;
    }
);

story!(
    a_send_that_never_happened_ends_as_lost_and_is_counted,
    async |database: Database| {
        let kind = kind(&database);
        let stage = Stage::start(database).await;
        let mut numbers = Numbers(0);
        let count = 6;
        let ids = numbers
            .meet(&stage, Behaviour::Fail500WithoutAccept, count)
            .await;
        turn(&stage, 500).await;
        all_stand(&stage, &ids, "unknown").await;
        turn(&stage, WINDOW).await;
        all_stand(&stage, &ids, "lost").await;
        let lost = "select count(*) from requests where delivery = 'lost'";
        let counted = stage.database.number(lost).await;
        assert_eq!(counted, i64::try_from(count).unwrap());
        turn(&stage, 4 * WINDOW).await;
        assert_eq!(stage.twilio.requests(), count);
        let result = "all lost, shown to the desk, 0 sent again";
        let fault = format!("500 without accepting, strict, {kind}");
        faults::record("F6", &fault, count, result);
        finish(stage).await;
    }
);

story!(late_news_turn_what_was_lost, async |database: Database| {
    let kind = kind(&database);
    let stage = Stage::start(database).await;
    let mut numbers = Numbers(0);
    let count = 6;
    stage.twilio.lists(Listing::EmptyLie);
    let ids = numbers.meet(&stage, Behaviour::LoseAnswer, count).await;
    turn(&stage, WINDOW).await;
    all_stand(&stage, &ids, "lost").await;
    for (n, message) in newest(&stage, count).iter().enumerate() {
        if n % 2 == 0 {
            tell(&stage, message, "sent").await;
        } else {
            reply(&stage, message).await;
        }
    }
    all_stand(&stage, &ids, "accepted").await;
    let lost = "select count(*) from requests where delivery = 'lost'";
    assert_eq!(stage.database.number(lost).await, 0);
    turn(&stage, WINDOW).await;
    assert_eq!(stage.twilio.requests(), count);
    let result = "all accepted after all, 0 sent again";
    let fault = format!("K8, callback or reply after lost, {kind}");
    faults::record("F1", &fault, count, result);
    finish(stage).await;
});

story!(
    a_list_that_is_late_or_silent_makes_nothing_lost_early,
    async |database: Database| {
        let kind = kind(&database);
        let stage = Stage::start(database).await;
        let mut numbers = Numbers(0);
        let count = 4;
        stage.twilio.lists_after(90);
        let ids = numbers.meet(&stage, Behaviour::LoseAnswer, count).await;
        turn(&stage, 60).await;
        all_stand(&stage, &ids, "unknown").await;
        turn(&stage, 120).await;
        all_stand(&stage, &ids, "accepted").await;
        let fault = format!("list shows the message after 90 s, {kind}");
        faults::record("F9", &fault, count, "all bound, none lost early");

        stage.twilio.lists_after(0);
        for listing in [
            Listing::Fail500,
            Listing::LoseAnswer,
            Listing::Malformed,
            Listing::TooMany { retry_after: 60 },
        ] {
            stage.twilio.lists(listing);
            let ids = numbers.meet(&stage, Behaviour::LoseAnswer, count).await;
            turn(&stage, 3_600).await;
            all_stand(&stage, &ids, "unknown").await;
            stage.twilio.lists(Listing::Truth);
            turn(&stage, 1_000).await;
            all_stand(&stage, &ids, "accepted").await;
        }
        let fault = format!("no list for an hour: 500, no answer, nonsense, 429, {kind}");
        faults::record(
            "F9",
            &fault,
            4 * count,
            "all bound when it is back, none lost",
        );

        // An account that keeps no texts: what is seen is no proof, neither for nor against.
        stage.twilio.redact(true);
        let ids = numbers.meet(&stage, Behaviour::LoseAnswer, count).await;
        turn(&stage, 5 * WINDOW).await;
        for id in &ids {
            assert_ne!(standing(&stage, id).await, "accepted");
        }
        for message in &newest(&stage, count) {
            tell(&stage, message, "delivered").await;
        }
        all_stand(&stage, &ids, "accepted").await;
        let fault = format!("list without texts, {kind}");
        faults::record(
            "F9",
            &fault,
            count,
            "never bound by a guess; bound by callbacks",
        );
        finish(stage).await;
    }
);
