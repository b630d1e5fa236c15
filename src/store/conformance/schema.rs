//! The two schemas are one, and every statement fits both.

use std::sync::Arc;

use sqlx::migrate::Migrator;
use sqlx::{PgPool, SqlitePool};

use super::stage::{Engine, NOW, Stage, TABLES};
use crate::domain::desk::DeskSettings;
use crate::domain::id::EventId;
use crate::store::dialect::{Database, Sql, Value};
use crate::store::{Outbox as _, SqlStore, Store as _};

stories!(empty: a_store_is_ready_once_it_is_migrated, migrating_again_keeps_every_row,
    what_an_older_schema_left_pending_is_placed_and_counted_once,
);

const COLUMNS: Sql = Sql::each(
    "select m.name as tab, p.name as col, cast(p.\"notnull\" as integer) as required, cast(p.pk as integer) as pk \
     from sqlite_master m join pragma_table_info(m.name) p where m.type = 'table' and m.name <> '_sqlx_migrations'",
    "select cast(c.table_name as text) as tab, cast(c.column_name as text) as col, \
     cast(case c.is_nullable when 'NO' then 1 else 0 end as bigint) as required, \
     cast(coalesce((select k.ordinal_position from information_schema.key_column_usage k \
     join information_schema.table_constraints t on t.constraint_name = k.constraint_name and t.table_name = k.table_name \
     where t.constraint_type = 'PRIMARY KEY' and k.table_name = c.table_name and k.column_name = c.column_name), 0) \
     as bigint) as pk from information_schema.columns c where c.table_schema = 'public' \
     and c.table_name <> '_sqlx_migrations'",
);
const INDEXES: Sql = Sql::each(
    "select name as ind from sqlite_master where type = 'index' and name not like 'sqlite_autoindex%'",
    "select cast(indexname as text) as ind from pg_indexes where schemaname = 'public' and indexname not like '%\\_pkey' \
     and indexname not like '%\\_key'",
);

/// A column of a table.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Column {
    table: String,
    name: String,
    required: bool,
    /// Its place in the primary key, from 1; 0 if it is not part of it.
    key: i64,
}

async fn columns(stage: &Stage) -> Vec<Column> {
    let mut columns: Vec<Column> = stage
        .rows(COLUMNS, &[])
        .await
        .iter()
        .map(|row| Column {
            table: row.text("tab").unwrap(),
            name: row.text("col").unwrap(),
            required: row.int("required").unwrap() == 1,
            key: row.int("pk").unwrap(),
        })
        .collect();
    columns.sort();
    columns
}

async fn indexes(stage: &Stage) -> Vec<String> {
    let mut names: Vec<String> = stage
        .rows(INDEXES, &[])
        .await
        .iter()
        .map(|row| row.text("ind").unwrap())
        .collect();
    names.sort();
    names
}

async fn a_store_is_ready_once_it_is_migrated(stage: Arc<Stage>) {
    assert!(!stage.store.ready().await.unwrap());
    stage.store.migrate().await.unwrap();
    assert!(stage.store.ready().await.unwrap());
}

async fn migrating_again_keeps_every_row(stage: Arc<Stage>) {
    stage.store.migrate().await.unwrap();
    let desk = stage
        .store
        .add_desk("acme", "Acme", &DeskSettings::default(), NOW)
        .await
        .unwrap()
        .unwrap();
    let mut new = stage.trigger();
    new.desk = desk.id;
    let request = stage.sent(new).await;
    let before = (
        columns(&stage).await,
        indexes(&stage).await,
        stage.sizes().await,
    );
    stage.store.migrate().await.unwrap();
    assert_eq!(
        (
            columns(&stage).await,
            indexes(&stage).await,
            stage.sizes().await
        ),
        before
    );
    assert_eq!(stage.look(&request).await.contact, request.contact);
    assert_eq!(stage.store.desks().await.unwrap(), [desk]);
}

/// The schema as it was up to this migration.
async fn migrate_to(stage: &Stage, version: i64) {
    let up_to = |all: &Migrator| {
        let old = all.iter().filter(|migration| migration.version <= version);
        Migrator::with_migrations(old.cloned().collect())
    };
    match &stage.store.inner.database {
        Database::Sqlite(file) => {
            let old = up_to(&sqlx::migrate!("migrations/sqlite"));
            let pool = SqlitePool::connect_with(file.mover.options()).await;
            old.run(&pool.unwrap()).await.unwrap();
        }
        Database::Postgres(server) => {
            let old = up_to(&sqlx::migrate!("migrations/postgres"));
            let pool = PgPool::connect_with(server.pool().options()).await;
            old.run(&pool.unwrap()).await.unwrap();
        }
    }
}

/// Events had their places and their sums one after the other then, in any order.
async fn what_an_older_schema_left_pending_is_placed_and_counted_once(stage: Arc<Stage>) {
    const EVENT: Sql = Sql::both(
        "insert into events (desk_id, id, request_id, kind, at, channel, touchpoint, entered, reason, score, bucket, elapsed_ms, \
         seq, folded) values ($1, $2, $3, 'request.sent', $4, 'sms', '', 0, '', 0, -1, 0, $5, $6)",
    );
    const FOLDED: Sql = Sql::both(
        "insert into totals (desk_id, kind, channel, touchpoint, entered, reason, score, bucket, n, elapsed_ms, first_at) \
         select desk_id, kind, channel, touchpoint, entered, reason, score, bucket, count(*), sum(elapsed_ms), min(at) \
         from events where folded = 1 group by desk_id, kind, channel, touchpoint, entered, reason, score, bucket",
    );
    const PLACED: Sql = Sql::both(
        "insert into streams (desk_id, seq) select desk_id, max(seq) from events group by desk_id having max(seq) > 0",
    );
    migrate_to(&stage, 8).await;
    let (busy, fresh) = (stage.add_desk("busy").await, stage.add_desk("fresh").await);
    let mut tx = stage.store.inner.database.begin().await.unwrap();
    for (n, (desk, seq, folded)) in [
        (busy, 1, 1),
        (busy, 3, 0),
        (busy, 2, 1),
        (busy, 0, 0),
        (busy, 4, 1),
        (busy, 0, 1),
        (busy, 0, 0),
        (fresh, 0, 0),
        (fresh, 0, 0),
    ]
    .into_iter()
    .enumerate()
    {
        let at = NOW.plus_millis(i64::try_from(n).unwrap());
        let values = [
            Value::Id(desk.uuid()),
            Value::Id(EventId::new(at, [0; 10]).uuid()),
            Value::Id(uuid::Uuid::nil()),
            Value::Int(at.as_millis()),
            Value::Int(seq),
            Value::Int(folded),
        ];
        tx.execute(EVENT, &values).await.unwrap();
    }
    tx.execute(FOLDED, &[]).await.unwrap();
    tx.execute(PLACED, &[]).await.unwrap();
    tx.commit().await.unwrap();
    stage.store.migrate().await.unwrap();
    let sums = async || {
        let totals = stage.store.totals().await.unwrap();
        let mut sums: Vec<(String, i64)> = totals
            .into_iter()
            .flat_map(|at| {
                at.sums
                    .iter()
                    .map(|total| (at.desk.clone(), total.count))
                    .collect::<Vec<_>>()
            })
            .collect();
        sums.sort();
        sums
    };
    let wanted = [("busy".to_owned(), 7), ("fresh".to_owned(), 2)];
    assert_eq!(sums().await, wanted);
    for (desk, count) in [(busy, 7), (fresh, 2)] {
        let told = stage.store.events(desk, 0, 100).await.unwrap();
        let places: Vec<i64> = told.iter().map(|event| event.seq).collect();
        assert_eq!(places, (1..=count).collect::<Vec<_>>());
    }
    assert!(stage.store.oldest_unfolded().await.unwrap().is_some());
    loop {
        let folded = stage.store.fold(2).await.unwrap();
        assert_eq!(sums().await, wanted);
        if folded == 0 && stage.store.oldest_unfolded().await.unwrap().is_none() {
            break;
        }
    }
    let mut new = stage.trigger();
    new.desk = busy;
    stage.accept(new).await;
    assert_eq!(stage.store.head(busy).await.unwrap(), 8);
}

/// What one database says about the schema and the statements.
struct Facts {
    columns: Vec<Column>,
    indexes: Vec<String>,
    statements: Vec<(&'static str, Result<Vec<String>, String>)>,
}

async fn facts(engine: Engine) -> Facts {
    let stage = Stage::open(engine).await;
    stage.store.migrate().await.unwrap();
    let mut statements = Vec::new();
    for (name, sql) in SqlStore::statements() {
        let columns = stage.store.inner.database.columns(sql).await;
        statements.push((name, columns.map_err(|error| error.to_string())));
    }
    let facts = Facts {
        columns: columns(&stage).await,
        indexes: indexes(&stage).await,
        statements,
    };
    stage.end().await;
    facts
}

#[tokio::test]
async fn both_databases_have_one_schema() {
    let (sqlite, postgres) = (facts(Engine::Sqlite).await, facts(Engine::Postgres).await);
    assert_eq!(sqlite.columns, postgres.columns);
    assert_eq!(sqlite.indexes, postgres.indexes);
    let mut tables: Vec<&str> = sqlite
        .columns
        .iter()
        .map(|column| column.table.as_str())
        .collect();
    tables.dedup();
    assert_eq!(
        tables,
        TABLES.iter().map(|(table, _)| *table).collect::<Vec<_>>()
    );
    for column in &sqlite.columns {
        assert!(column.required, "{column:?} may be null");
    }
    // These are no desk's: the desks themselves, what replicas agree on, and texts that belong to nobody.
    let shared = ["desks", "duties", "strays"];
    for table in tables.into_iter().filter(|table| !shared.contains(table)) {
        let first = sqlite
            .columns
            .iter()
            .find(|column| column.table == table && column.key == 1)
            .unwrap();
        assert_eq!(
            first.name, "desk_id",
            "the key of {table} begins with the desk"
        );
    }
}

#[tokio::test]
async fn every_statement_fits_both_databases() {
    let (sqlite, postgres) = (facts(Engine::Sqlite).await, facts(Engine::Postgres).await);
    assert!(sqlite.statements.len() > 40);
    for ((name, here), (_, there)) in sqlite.statements.iter().zip(&postgres.statements) {
        assert!(here.is_ok() && there.is_ok(), "{name}: {here:?} {there:?}");
        assert_eq!(here, there, "{name} gives other columns");
    }
}

/// What a plan may read whole: values, and tables that do not grow with every request.
const SMALL: &[&str] = &[
    "CONSTANT",
    "json_each",
    "desks",
    "duties",
    "ceilings",
    "asks_of_day",
    "watched_hours",
    "totals",
    "api_keys",
    "streams",
    "sink_marks",
    "webhooks",
    "walks",
    // `streams` by its short name.
    "s",
    // Parts of the statement itself.
    "t",
    "parts",
];
/// Indexes as large as what is under way, and not as what was ever asked.
const SHORT: &[&str] = &[
    "follow_ups_open",
    "requests_due",
    "requests_leased",
    "requests_unknown",
    "attempts_again",
];
/// What may read a table that grows, and why.
const MAY_READ_ALL: &[(&str, &str)] = &[
    ("held.list", "pages of a desk, from the cursor on"),
    ("follow.list", "pages of a desk, from the cursor on"),
    ("bound_twice", "an invariant, asked seldom"),
    ("ratings_miscounted", "an invariant, asked seldom"),
    ("rating_unanswered", "an invariant, asked seldom"),
    ("read.list", "pages of a desk, from the cursor on"),
    (
        "read.list_conversation",
        "pages of a desk, from the cursor on",
    ),
    ("read.ratings", "pages of a desk, from the cursor on"),
    (
        "reseal.requests",
        "pages of a desk, from the walk's place on",
    ),
    (
        "read.ratings_conversation",
        "pages of a desk, from the cursor on",
    ),
    ("summary.first", "one request of a desk, the oldest"),
    ("outbox.since", "a few events of a desk, from an instant on"),
    (
        "outbox.told",
        "what waits for the webhooks of a desk is bounded",
    ),
];

/// Whether a step reads all of a table that grows, or all of a desk in it.
fn reads_all(step: &str) -> bool {
    let searched = step.strip_prefix("SEARCH ").unwrap_or_default();
    if SMALL.contains(&searched.split(' ').next().unwrap()) {
        return false;
    }
    let of_a_desk = ["(desk_id=?)", "(desk_id=? AND id>?)"];
    if of_a_desk.iter().any(|key| step.contains(key)) {
        return true;
    }
    let Some(scan) = step.strip_prefix("SCAN ") else {
        return false;
    };
    let table = scan.split(' ').next().unwrap();
    let index = scan.split("INDEX ").nth(1);
    let values = scan.ends_with("-ROW VALUES CLAUSE");
    !(values || SMALL.contains(&table) || index.is_some_and(|index| SHORT.contains(&index)))
}

#[tokio::test]
async fn no_statement_reads_all_of_a_table_that_grows() {
    let stage = Stage::open(Engine::Sqlite).await;
    stage.store.migrate().await.unwrap();
    let mut found = Vec::new();
    for (name, sql) in SqlStore::statements() {
        let steps = stage.store.inner.database.plan(sql).await.unwrap();
        let all: Vec<String> = steps.into_iter().filter(|step| reads_all(step)).collect();
        let may = MAY_READ_ALL.iter().any(|(known, _)| *known == name);
        // An exception that is none any more goes.
        if all.is_empty() == may {
            found.push((name, all));
        }
    }
    stage.end().await;
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn both_databases_have_the_same_migrations() {
    let names = |folder: &str| {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("migrations")
            .join(folder);
        let mut names: Vec<_> = std::fs::read_dir(path)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort();
        names
    };
    assert!(!names("sqlite").is_empty());
    assert_eq!(names("sqlite"), names("postgres"));
}
