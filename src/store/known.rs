//! The totals, read anew only where they changed: sums that this process has read stay here, and the number of the last fold tells which
//! others there are since.
//!
//! One statement gives the number, the sums that changed and the events that are not folded, all of one snapshot; so what is shown is
//! what the database held at that instant, whoever folds meanwhile. Where the numbers go back, or since when the totals count has
//! changed, somebody put the database back, and all is read again.

use std::cmp::Ordering;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::StoreError;
use super::dialect::{Sql, Value};
use super::sql::Inner;
use super::sums::{total, unfolded};
use crate::domain::statistics::{Total, Totals};

/// All is read again after this time, should somebody write sums by hand.
const AGAIN: Duration = Duration::from_mins(5);

/// Its first part is the numbers, the second the sums, the third the events.
macro_rules! changed {
    ($database:ident) => {
        concat!(
            "select cast(0 as bigint) as part, t.name as slug, '' as kind, '' as channel, '' as touchpoint, cast(0 as bigint) as entered, '' as reason, \
             cast(0 as bigint) as score, cast(0 as bigint) as bucket, t.mark as n, cast(0 as bigint) as elapsed_ms, cast(0 as bigint) as first_at \
             from duties t where t.name in ('epoch', 'folds') \
             union all select 1, d.slug, t.kind, t.channel, t.touchpoint, t.entered, t.reason, t.score, t.bucket, t.n, t.elapsed_ms, t.first_at \
             from totals t join desks d on d.id = t.desk_id where t.changed > $1 \
             union all select 2, d.slug, t.kind, t.channel, t.touchpoint, t.entered, t.reason, t.score, t.bucket, t.n, t.elapsed_ms, t.first_at \
             from (select e.desk_id, e.kind, e.channel, e.touchpoint, e.entered, e.reason, e.score, e.bucket, cast(count(*) as bigint) as n, \
             cast(sum(e.elapsed_ms) as bigint) as elapsed_ms, min(e.at) as first_at from ",
            unfolded!($database),
            " group by e.desk_id, e.kind, e.channel, e.touchpoint, e.entered, e.reason, e.score, e.bucket) t \
             join desks d on d.id = t.desk_id"
        )
    };
}

const CHANGED: Sql = Sql::each(changed!(sqlite), changed!(postgres));

#[cfg(test)]
pub(super) const STATEMENTS: &[(&str, Sql)] = &[("known.changed", CHANGED)];

/// The sums as they were read last, in their order.
#[derive(Default)]
pub(super) struct Known {
    totals: Vec<Arc<Totals>>,
    /// The last fold that is in them, since when they count, and when all of them were read.
    read: Option<(i64, i64, Instant)>,
}

/// Sums that one statement gave, each with its place.
#[derive(Default)]
struct Changed {
    folds: i64,
    epoch: i64,
    sums: Vec<Totals>,
    pending: Vec<Totals>,
}

impl Inner {
    /// What the events add up to, by place.
    pub(super) async fn totals(&self) -> Result<Vec<Arc<Totals>>, StoreError> {
        let mut known = self.known.lock().await;
        let since = known.read.filter(|(.., at)| at.elapsed() < AGAIN);
        let since = since.map(|(folds, epoch, _)| (folds, epoch));
        let mut changed = self.changed(since.map_or(-1, |(folds, _)| folds)).await?;
        let put_back =
            since.is_some_and(|(folds, epoch)| changed.folds < folds || changed.epoch != epoch);
        if put_back {
            changed = self.changed(-1).await?;
        }
        let read = if since.is_none() || put_back {
            known.totals.clear();
            Instant::now()
        } else {
            known.read.map_or_else(Instant::now, |(.., at)| at)
        };
        merge(&mut known.totals, changed.sums, |sum, new| *sum = new);
        known.read = Some((changed.folds, changed.epoch, read));
        let mut totals = known.totals.clone();
        merge(&mut totals, changed.pending, |sum, pending| {
            sum.count += pending.count;
            sum.elapsed_ms += pending.elapsed_ms;
            sum.first_at = sum.first_at.min(pending.first_at);
        });
        Ok(totals)
    }

    async fn changed(&self, since: i64) -> Result<Changed, StoreError> {
        let mut changed = Changed::default();
        for row in self.database.rows(CHANGED, &[Value::Int(since)]).await? {
            match row.int("part")? {
                0 if row.text("slug")? == "folds" => changed.folds = row.int("n")?,
                0 => changed.epoch = row.int("n")?,
                1 => changed.sums.extend(total(&row)?),
                _ => changed.pending.extend(total(&row)?),
            }
        }
        Ok(changed)
    }
}

/// Brings sums into an ordered list of places: those that are there already by `join`. Whoever has a copy of the list keeps what it has,
/// and shares with it each place where nothing changed.
fn merge(totals: &mut Vec<Arc<Totals>>, mut more: Vec<Totals>, join: impl Fn(&mut Total, Total)) {
    more.sort_by(place);
    let before = totals.len();
    for one in more {
        let known = totals[..before].binary_search_by(|old| place(old, &one));
        // Of places that are new, those that are alike come one after the other.
        let at = known.unwrap_or_else(|_| totals.len().wrapping_sub(1));
        match totals.get_mut(at) {
            Some(old) if place(old, &one).is_eq() => {
                let old = Arc::make_mut(old);
                old.first_at = old.first_at.min(one.first_at);
                for sum in one.sums {
                    match old.sums.binary_search_by(|old| order(old, &sum)) {
                        Ok(at) => join(&mut old.sums[at], sum),
                        Err(at) => old.sums.insert(at, sum),
                    }
                }
            }
            Some(_) | None => totals.push(Arc::new(one)),
        }
    }
    if totals.len() > before {
        totals.sort_by(|a, b| place(a, b));
    }
}

fn place(a: &Totals, b: &Totals) -> Ordering {
    a.desk
        .cmp(&b.desk)
        .then_with(|| a.channel.as_str().cmp(b.channel.as_str()))
        .then_with(|| a.touchpoint.cmp(&b.touchpoint))
}

fn order(a: &Total, b: &Total) -> Ordering {
    let numbers = |total: &Total| (total.score, total.bucket, total.entered);
    a.kind
        .as_str()
        .cmp(b.kind.as_str())
        .then_with(|| numbers(a).cmp(&numbers(b)))
        .then_with(|| {
            let reason = |total: &Total| total.reason.map_or("", |reason| reason.as_str());
            reason(a).cmp(reason(b))
        })
}
