//! Writes that share a transaction do what each of them does alone.

use std::sync::Arc;

use super::stage::{NOW, Stage, after, digit, text, words};
use crate::domain::reply::{Effect, Understood};
use crate::domain::request::{Request, State};
use crate::store::dialect::Sql;
use crate::store::write::{Write, Written};
use crate::store::{Accepted, NewReply, Replied, Store as _};

stories!(
    migrated: replies_taken_together_do_what_each_does_alone, a_batch_of_any_size_is_stored_whole,
);

/// All in one transaction.
async fn together(stage: &Stage, writes: &[Write]) -> Vec<Written> {
    let inner = &stage.store.inner;
    let mut tx = inner.database.begin().await.unwrap();
    let writes: Vec<&Write> = writes.iter().collect();
    let written = inner.apply_all(&mut tx, &writes).await.unwrap();
    tx.commit().await.unwrap();
    written
}

/// Its effect, whether it was repeated and something unclear came before, the state, and the rating.
type Told = (Effect, bool, bool, State, Option<(u8, String)>);

/// What a reply did, as far as two requests can have it in common.
fn told(replied: Option<&Replied>) -> Option<Told> {
    let replied = replied?;
    let rating = replied.rating.as_ref();
    Some((
        replied.effect.clone(),
        replied.repeated,
        replied.unclear_before,
        replied.request.state,
        rating.map(|rating| (rating.score.get(), rating.comment.clone())),
    ))
}

/// Replies to these eight: high and low scores, words that are no score, wishes, and a second one between the same addresses.
fn replies(to: &[Request], of: &str) -> Vec<NewReply> {
    let at = after(5_000);
    let id = |n: usize| format!("SM-{of}-{n}");
    let mut all = vec![
        digit(&to[0], &id(0), 5, at),
        digit(&to[1], &id(1), 1, at),
        words(&to[2], &id(2), "what is this", at),
        text(&to[3], &id(3), Understood::Stop, at),
        digit(&to[4], &id(4), 2, at),
        words(&to[4], &id(5), "too slow", at),
        digit(&to[5], &id(6), 3, at),
        digit(&to[5], &id(6), 3, at),
        text(&to[6], &id(7), Understood::Start, at),
        digit(&to[6], &id(8), 4, at),
        digit(&to[7], &id(9), 4, at),
    ];
    // Nobody asked this one.
    let mut stranger = digit(&to[0], &id(10), 4, at);
    if let crate::store::Find::Pair(pair) = &mut stranger.find {
        pair.ours = "+14155550999".to_owned();
    }
    all.push(stranger);
    all
}

async fn replies_taken_together_do_what_each_does_alone(stage: Arc<Stage>) {
    let mut to = Vec::new();
    for n in 0..16 {
        let request = stage.accept(stage.trigger()).await;
        stage.carry(&format!("SM{n}"), NOW).await;
        to.push(stage.look(&request).await);
    }
    let (alone, batch) = to.split_at(8);
    let before = stage.sizes().await;
    let mut expected = Vec::new();
    for reply in replies(alone, "alone") {
        let replied = stage.store.record_reply(reply).await.unwrap();
        expected.push(told(replied.as_ref()));
    }
    let between = stage.sizes().await;
    let writes: Vec<Write> = replies(batch, "batch")
        .into_iter()
        .map(|reply| Write::Reply(Box::new(reply)))
        .collect();
    let written = together(&stage, &writes).await;
    let got: Vec<_> = written
        .iter()
        .map(|written| {
            let Written::Replied(replied) = written else {
                panic!("{written:?}")
            };
            told(replied.as_deref())
        })
        .collect();
    assert_eq!(got, expected);
    let after = stage.sizes().await;
    for ((before, between), after) in before.iter().zip(&between).zip(&after) {
        assert_eq!(between.1 - before.1, after.1 - between.1, "{}", after.0);
    }
    for (alone, batch) in alone.iter().zip(batch) {
        let (alone, batch) = (stage.look(alone).await, stage.look(batch).await);
        assert_eq!(
            (alone.state, alone.delivery, &alone.history),
            (batch.state, batch.delivery, &batch.history)
        );
        for kind in ["rating.created", "rating.low", "reply.unrecognized"] {
            let (one, other) = (stage.events(&alone, kind), stage.events(&batch, kind));
            assert_eq!(one.await, other.await, "{kind}");
        }
    }
    let listening = "select count(*) as n from requests where listening = 1";
    assert_eq!(stage.count(Sql::both(listening), &[]).await, 14);
}

async fn a_batch_of_any_size_is_stored_whole(stage: Arc<Stage>) {
    let first = stage.trigger();
    let known = stage.accept(first.clone()).await;
    let mut stored = 1;
    for size in [2, 3, 4, 5, 15, 16, 17, 63, 64, 65, 70] {
        let mut writes: Vec<Write> = (1..size)
            .map(|_| stage.accepting(stage.trigger()))
            .collect();
        // In the middle of them one that came before.
        let again = stage.accepting(Stage::again(&first));
        writes.insert(writes.len() / 2, again);
        let written = together(&stage, &writes).await;
        let (mut new, mut replayed) = (0, 0);
        for written in &written {
            let Written::Accepted(accepted) = written else {
                panic!("{written:?}")
            };
            match accepted {
                Accepted::New(request) => {
                    new += 1;
                    stage.look(request).await;
                }
                Accepted::Replayed(request) => {
                    replayed += 1;
                    assert_eq!(request.id, known.id);
                }
                Accepted::KeyReused | Accepted::Considered(_) => panic!("{accepted:?}"),
            }
        }
        assert_eq!((new, replayed), (size - 1, 1));
        stored += new;
        for table in [
            "select count(*) as n from requests",
            "select count(*) as n from events",
        ] {
            assert_eq!(stage.count(Sql::both(table), &[]).await, stored, "{table}");
        }
    }
}
