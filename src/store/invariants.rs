//! What must never be: questions to the database whose answer is 0 as long as the promises hold. The tests ask them during every
//! fault, and production as a metric.

use super::StoreError;
use super::carry::now;
use super::dialect::Sql;
use super::sql::Inner;
use super::sums::unfolded;

/// Two messages for one request. A second one that waited at the provider is the rule `guarded`, and a mail is repeated under one
/// Message-ID; everything else is a promise broken.
const SENT_TWICE: Sql = Sql::both(
    "select cast(count(*) as bigint) as n from attempts a join requests r on r.desk_id = a.desk_id and r.id = a.request_id \
     where a.n > 1 and a.send_at = 0 and r.channel <> 'email' and a.state in ('dispatching', 'unknown', 'accepted') \
     and exists (select 1 from attempts b where b.desk_id = a.desk_id and b.request_id = a.request_id and b.n < a.n \
     and b.state in ('dispatching', 'unknown', 'accepted'))",
);
const BOUND_TWICE: Sql = Sql::both(
    "select cast(count(*) as bigint) as n from (select provider_id from attempts where provider_id <> '' \
     and length(body_hash) > 0 group by provider_id having count(*) > 1) t",
);
/// One statement, one snapshot: ratings are what the totals and the events that are not in them yet say.
macro_rules! miscounted {
    ($database:ident) => {
        concat!(
            "select cast(abs((select count(*) from ratings) \
             - (select coalesce(sum(n), 0) from totals where kind = 'rating.created') - (select count(*) from ",
            unfolded!($database),
            " where e.kind = 'rating.created')) as bigint) as n"
        )
    };
}

const MISCOUNTED: Sql = Sql::each(miscounted!(sqlite), miscounted!(postgres));
const UNANSWERED: Sql = Sql::both(
    "select cast(count(*) as bigint) as n from ratings g join requests r on r.desk_id = g.desk_id and r.id = g.request_id \
     where r.state <> 'answered'",
);

macro_rules! overdue {
    ($now:expr) => {
        concat!(
            "select cast(count(*) as bigint) as n from requests where delivery in ('claimed', 'dispatching') \
             and lease_until < ", $now, " - 120000"
        )
    };
}

const OVERDUE: Sql = Sql::each(overdue!(now!(sqlite)), overdue!(now!(postgres)));

/// Every invariant with its name.
const ALL: [(&str, Sql); 5] = [
    ("sent_twice", SENT_TWICE),
    ("bound_twice", BOUND_TWICE),
    ("ratings_miscounted", MISCOUNTED),
    ("rating_unanswered", UNANSWERED),
    ("lease_overdue", OVERDUE),
];

#[cfg(test)]
pub(super) const STATEMENTS: &[(&str, Sql)] = &ALL;

impl Inner {
    /// How often each invariant is broken. One that cannot be answered keeps no other from being asked.
    pub(super) async fn invariants(&self) -> Vec<(&'static str, Result<i64, StoreError>)> {
        let mut broken = Vec::with_capacity(ALL.len());
        for (name, sql) in ALL {
            let row = self.database.row(sql, &[]).await;
            let n = row.and_then(|row| row.map_or(Ok(0), |row| row.int("n")));
            broken.push((name, n));
        }
        broken
    }
}
