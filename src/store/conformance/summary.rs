//! Results by group are what the rows are, at every instant: however far they are folded, whatever was corrected, taken out or
//! erased, and whoever writes meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::counted::{counted, groups};
use super::stage::{Stage, WAIT_MS, after, digit, parallel, words};
use crate::domain::request::State;
use crate::domain::statistics::grouping::{DAY_MS, Dimension, Question, SLOT_MS};
use crate::domain::trigger::{Agent, Attribution, Phase};
use crate::store::dialect::Sql;
use crate::store::{Carriage, NewRequest, Store as _};

stories!(
    migrated plainly: groups_are_what_the_rows_are, what_is_alike_is_counted_each_time, groups_are_of_one_instant_while_many_write_and_fold,
    an_erased_answer_stays_in_its_group,
);

/// Numbers that look like chance and are the same each time.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    fn roll(&mut self, sides: i64) -> i64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        i64::try_from(self.0 >> 33).unwrap() % sides
    }

    fn one_of(&mut self, words: &[&str]) -> String {
        words[usize::try_from(self.roll(i64::try_from(words.len()).unwrap())).unwrap()].to_owned()
    }
}

/// A conversation somewhere in three days, and most of what may become of it.
pub(super) async fn something(stage: &Stage, dice: &mut Dice) {
    let mut new = stage.trigger();
    new.now = after(dice.roll(3 * DAY_MS));
    new.due_at = new.now;
    new.expires_at = new.now.plus_millis(WAIT_MS);
    let phases = [Phase::Before, Phase::During, Phase::After];
    new.attribution = Attribution {
        agent: Agent {
            id: dice.one_of(&["", "a-1", "a-2"]),
            name: "Sam".to_owned(),
            ..Agent::default()
        },
        team: dice.one_of(&["network", "desktop"]),
        queue: dice.one_of(&["", "vpn"]),
        touchpoint: dice.one_of(&["closed", "shipped", ""]),
        phase: phases[usize::try_from(dice.roll(3)).unwrap()],
        topic: dice.one_of(&["vpn", "mail", "printer"]),
        language: dice.one_of(&["en", "es"]),
        ..new.attribution
    };
    new.wording = dice.one_of(&["en", "es/own", "es/own/shipped"]);
    let fate = dice.roll(10);
    if fate < 7 {
        new.carriage = Carriage::Answer;
    }
    let at = new.now.plus_millis(1_000 + dice.roll(500_000));
    let request = stage.accept(new.clone()).await;
    match fate {
        0..5 => {
            let first = digit(&request, "SM1", dice.roll(5) + 1, at);
            stage.store.record_reply(first).await.unwrap();
            if dice.roll(2) == 0 {
                let second = digit(&request, "SM2", dice.roll(5) + 1, at);
                stage.store.record_reply(second).await.unwrap();
            }
            for word in 0..dice.roll(3) {
                let said = words(
                    &request,
                    &format!("SM{}", word + 3),
                    &format!("thanks {word}"),
                    at,
                );
                stage.store.record_reply(said).await.unwrap();
            }
        }
        7 => {
            let repeated = NewRequest {
                conversation: new.conversation.clone(),
                attribution: new.attribution.clone(),
                now: new.now,
                ..stage.trigger()
            };
            stage.accept(repeated).await;
        }
        8 => {
            stage
                .store
                .cancel(stage.desk, request.id, at)
                .await
                .unwrap();
        }
        _ => {}
    }
}

fn questions() -> Vec<Question> {
    let mut all = vec![Question::default()];
    for dimension in Dimension::ALL {
        all.push(Question {
            by: vec![dimension],
            ..Question::default()
        });
    }
    let day = after(0).as_millis() / DAY_MS * DAY_MS;
    // Days of UTC, of New York and of Auckland, and weeks.
    for (hour, days) in [(0, 1), (5, 1), (11, 1), (5, 7)] {
        for by in [
            vec![],
            vec![Dimension::Team, Dimension::Touchpoint],
            vec![Dimension::Agent, Dimension::Topic],
            vec![Dimension::Agent],
        ] {
            let border = |n: i64| day + n * days * DAY_MS + hour * 2 * SLOT_MS;
            all.push(Question {
                by,
                borders: (-1..4).map(border).collect(),
                ..Question::default()
            });
        }
    }
    let only =
        |dimension: Dimension, word: &str| std::iter::once((dimension, word.to_owned())).collect();
    let during = |from: i64, to: i64| (Some(after(from)), Some(after(to)));
    for (from, to) in [
        during(0, DAY_MS),
        during(DAY_MS / 3, 2 * DAY_MS),
        during(SLOT_MS, 9 * SLOT_MS),
    ] {
        for (by, only) in [
            (
                vec![Dimension::Channel, Dimension::Touchpoint],
                only(Dimension::Team, "network"),
            ),
            (vec![Dimension::Agent], only(Dimension::Topic, "vpn")),
            (
                vec![Dimension::Topic, Dimension::Phase, Dimension::Language],
                only(Dimension::Agent, "Sam"),
            ),
            (vec![Dimension::Team], only(Dimension::Queue, "vpn")),
        ] {
            all.push(Question {
                by,
                only,
                from,
                to,
                borders: Vec::new(),
            });
        }
    }
    for question in &mut all {
        question.widen();
    }
    all
}

pub(super) async fn check(stage: &Stage) {
    for question in questions() {
        assert_eq!(
            groups(stage, &question).await,
            counted(stage, &question).await,
            "{question:?}"
        );
    }
}

/// As a manager would: each rating of 3 is taken out, and then every second one put back.
macro_rules! threes {
    ($id:literal, $kind:literal, $later:literal, $which:literal) => {
        concat!(
            "insert into events (desk_id, id, request_id, kind, at, channel, touchpoint, entered, reason, score, bucket, \
             elapsed_ms, folded_early, seq) select r.desk_id, ",
            $id,
            ", request_id, '",
            $kind,
            "', answered_at + ",
            $later,
            ", 'sms', '', 0, '', score, 0, 0, 0, s.seq + row_number() over (partition by r.desk_id) \
             from ratings r join streams s on s.desk_id = r.desk_id where score = 3",
            $which
        )
    };
}

pub(super) const EXCLUDE: Sql = Sql::each(
    threes!("randomblob(16)", "rating.excluded", 1, ""),
    threes!("gen_random_uuid()", "rating.excluded", 1, ""),
);
const RESTORE: Sql = Sql::each(
    threes!(
        "randomblob(16)",
        "rating.restored",
        2,
        " and elapsed_ms % 2 = 0"
    ),
    threes!(
        "gen_random_uuid()",
        "rating.restored",
        2,
        " and elapsed_ms % 2 = 0"
    ),
);

/// Writes events by hand, and lets the streams end behind them.
pub(super) async fn by_hand(stage: &Stage, events: Sql) {
    const LENGTHEN: Sql = Sql::both(
        "update streams set seq = (select max(e.seq) from events e where e.desk_id = streams.desk_id)",
    );
    stage.execute(events).await;
    stage.execute(LENGTHEN).await;
}

async fn groups_are_what_the_rows_are(stage: Arc<Stage>) {
    let mut dice = Dice(7);
    for round in 0..60 {
        something(&stage, &mut dice).await;
        if round % 7 == 0 {
            stage.store.fold(dice.roll(9) + 1).await.unwrap();
        }
    }
    let late = after(5 * DAY_MS);
    stage.store.expire(late, late, 20).await.unwrap();
    check(&stage).await;
    by_hand(&stage, EXCLUDE).await;
    check(&stage).await;
    stage.store.fold(25).await.unwrap();
    check(&stage).await;
    by_hand(&stage, RESTORE).await;
    while stage.store.fold(40).await.unwrap() > 0 {
        check(&stage).await;
    }
    check(&stage).await;
    let all = groups(&stage, &Question::default()).await;
    let all = all.values().next().unwrap();
    assert!(
        all.n() > 10 && all.excluded > 0 && all.comments > 3,
        "{all:?}"
    );
    assert!(
        all.states[1] > 0 && all.states[6] > 0 && all.states[7] > 0,
        "{all:?}"
    );
}

/// The database adds up what is counted alike before it is folded: the same score in a time that lasts about as long.
async fn what_is_alike_is_counted_each_time(stage: Arc<Stage>) {
    for n in 0..12 {
        let mut new = stage.trigger();
        new.carriage = Carriage::Answer;
        let at = new.now.plus_millis(6_000 + n);
        let request = stage.accept(new).await;
        let score = if n % 4 == 0 { 2 } else { 5 };
        let reply = digit(&request, "SM1", score, at);
        stage.store.record_reply(reply).await.unwrap();
    }
    while stage.store.fold(100).await.unwrap() > 0 {}
    check(&stage).await;
    let all = groups(&stage, &Question::default()).await;
    let all = all.values().next().unwrap();
    assert_eq!((all.n(), all.triggers()), (12, 12), "{all:?}");
}

async fn groups_are_of_one_instant_while_many_write_and_fold(stage: Arc<Stage>) {
    let writing = Arc::new(AtomicUsize::new(3));
    parallel(6, |n| {
        let (stage, writing) = (Arc::clone(&stage), Arc::clone(&writing));
        async move {
            match n {
                0..3 => {
                    let mut dice = Dice(n as u64);
                    for _ in 0..20 {
                        something(&stage, &mut dice).await;
                    }
                    writing.fetch_sub(1, Ordering::SeqCst);
                }
                3..5 => {
                    while writing.load(Ordering::SeqCst) > 0
                        || stage.store.fold(9).await.unwrap() > 0
                    {
                        stage.store.fold(5).await.unwrap();
                    }
                }
                _ => {
                    let question = Question {
                        by: vec![Dimension::Team],
                        ..Question::default()
                    };
                    let mut before = 0;
                    while writing.load(Ordering::SeqCst) > 0 {
                        let mut triggers = 0;
                        for ((team, ..), counts) in groups(&stage, &question).await {
                            let answered = counts.entered(State::Answered);
                            assert_eq!(counts.n(), answered, "{team:?} is torn: {counts:?}");
                            triggers += counts.triggers();
                        }
                        assert!(triggers >= before, "from {before} to {triggers}");
                        before = triggers;
                    }
                }
            }
        }
    })
    .await;
    check(&stage).await;
}

async fn an_erased_answer_stays_in_its_group(stage: Arc<Stage>) {
    let mut dice = Dice(3);
    for _ in 0..20 {
        something(&stage, &mut dice).await;
    }
    while stage.store.fold(100).await.unwrap() > 0 {}
    let mut before = Vec::new();
    for question in questions() {
        before.push(groups(&stage, &question).await);
    }
    for erase in [
        Sql::both("delete from events"),
        Sql::both("update ratings set comment = ''"),
        Sql::each(
            "update requests set contact = x''",
            "update requests set contact = '\\x'",
        ),
        Sql::both("delete from ratings"),
        Sql::both("delete from requests"),
    ] {
        stage.execute(erase).await;
    }
    for (question, before) in questions().into_iter().zip(before) {
        assert_eq!(groups(&stage, &question).await, before, "{question:?}");
    }
}
