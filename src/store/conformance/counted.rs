//! What groups of requests add up to, counted out of the rows of requests, ratings and replies and nothing else.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::stage::Stage;
use crate::domain::statistics::counts::{Counts, GRADES, bin};
use crate::domain::statistics::grouping::Question;
use crate::store::Summaries as _;
use crate::store::dialect::{Row, Sql, Value};

const REQUESTS: Sql = Sql::both(
    "select id, state, delivery, reason, created_at, sent_at, delivered_at, reached_at, answered_at, ended_at, channel, team, \
     queue, touchpoint, phase, language, agent_id, agent_name, topic, wording from requests where desk_id = $1",
);
/// Whether a manager took a rating out; there is no other trace of it where a story does that behind the store's back.
const NOTES: Sql = Sql::both(
    "select request_id, kind from events where desk_id = $1 and kind in ('rating.excluded', 'rating.restored') order by at",
);
const RATINGS: Sql = Sql::both(
    "select request_id, score, grade, comment, elapsed_ms from ratings where desk_id = $1",
);
const HELD: Sql = Sql::both(
    "select request_id from replies where desk_id = $1 and grade in ('auto', 'suspect') and effect = 'nothing'",
);

/// By group and by the border that its time begins with.
pub(super) type Groups = BTreeMap<(Vec<String>, i64), Counts>;

/// What the rows are, request by request, in the groups of a question.
pub(super) async fn counted(stage: &Stage, question: &Question) -> Groups {
    let desk = [Value::Id(stage.desk.uuid())];
    let id_of = |row: &Row| row.id("request_id").unwrap();
    let mut standing = BTreeMap::new();
    for note in stage.rows(NOTES, &desk).await {
        let stands = note.text("kind").unwrap() == "rating.restored";
        standing.insert(id_of(&note), stands);
    }
    let ratings = stage.rows(RATINGS, &desk).await;
    let ratings: BTreeMap<Uuid, Row> = ratings.into_iter().map(|row| (id_of(&row), row)).collect();
    let held = stage.rows(HELD, &desk).await;
    let held: BTreeSet<Uuid> = held.iter().map(id_of).collect();
    let requests = stage.rows(REQUESTS, &desk).await;
    let mut groups = Groups::new();
    let mut triggers = 0;
    for request in &requests {
        let id = request.id("id").unwrap();
        let place = place(request);
        let at = request.int("created_at").unwrap();
        if !question.takes(at, &place) {
            continue;
        }
        triggers += 1;
        let mut counts = passed(request);
        match ratings.get(&id) {
            Some(rating) => {
                let score = usize::try_from(rating.int("score").unwrap() - 1).unwrap();
                let grade = rating.text("grade").unwrap();
                let grade = GRADES.iter().position(|known| known.as_str() == grade);
                if standing.get(&id).copied().unwrap_or(true) {
                    counts.scores[score] = 1;
                    counts.grades[grade.unwrap()] = 1;
                } else {
                    counts.excluded = 1;
                }
                counts.comments = i64::from(!rating.text("comment").unwrap().is_empty());
                counts.times[bin(rating.int("elapsed_ms").unwrap())] = 1;
            }
            None => counts.suspect = i64::from(held.contains(&id)),
        }
        let by = question.by.iter().map(|by| place[by.place()].clone());
        let key = (by.collect(), question.slot_of(at));
        groups.entry(key).or_default().add(&counts);
    }
    let told: i64 = groups.values().map(Counts::triggers).sum();
    assert_eq!(told, triggers, "as many as there are requests");
    groups
}

fn place(request: &Row) -> [String; 9] {
    let text = |column| request.text(column).unwrap();
    let agent = [text("agent_id"), text("agent_name")];
    let agent = agent.into_iter().find(|name| !name.is_empty());
    [
        text("channel"),
        text("team"),
        text("queue"),
        text("touchpoint"),
        text("phase"),
        text("language"),
        agent.unwrap_or_default(),
        text("topic"),
        text("wording"),
    ]
}

/// By which states a request passed, as far as its row tells: an answer proves what comes before it.
fn passed(request: &Row) -> Counts {
    let at = |column| request.int(column).unwrap() > 0;
    let (state, delivery) = (
        request.text("state").unwrap(),
        request.text("delivery").unwrap(),
    );
    let suppressed = state == "suppressed";
    // What was never to be sent has no delivery that could be dropped.
    let later = suppressed && delivery == "dropped";
    let answered = at("answered_at");
    let reached = at("reached_at") || answered;
    let delivered = at("delivered_at") || reached;
    let sent = at("sent_at") || delivered;
    let failed = state == "failed" || (answered && at("ended_at"));
    let mut counts = Counts {
        states: [
            !suppressed || later,
            suppressed,
            sent,
            delivered,
            reached,
            answered,
            state == "expired",
            state == "cancelled",
            failed,
        ]
        .map(i64::from),
        suppressed_later: i64::from(later),
        ..Counts::default()
    };
    if suppressed {
        counts.reasons.insert(request.text("reason").unwrap(), 1);
    }
    counts
}

/// The same as the store answers it.
pub(super) async fn groups(stage: &Stage, question: &Question) -> Groups {
    let groups = stage.store.groups(stage.desk, question).await;
    let groups = groups.unwrap().unwrap();
    let mut found = Groups::new();
    for group in groups {
        let counts = found.entry((group.by, group.slot)).or_default();
        counts.add(&group.counts);
    }
    for counts in found.values_mut() {
        counts.reasons.retain(|_, n| *n != 0);
    }
    found.retain(|_, counts| !counts.is_empty());
    found
}
