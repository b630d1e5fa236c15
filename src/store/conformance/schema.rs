//! The two schemas are one, and every statement fits both.

use std::sync::Arc;

use super::stage::{Engine, NOW, Stage, TABLES};
use crate::domain::desk::DeskSettings;
use crate::store::dialect::Sql;
use crate::store::{SqlStore, Store as _};

stories!(empty: a_store_is_ready_once_it_is_migrated, migrating_again_keeps_every_row);

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
    "events_pending",
    "events_unplaced",
];
/// What may read a table that grows, and why.
const MAY_READ_ALL: &[(&str, &str)] = &[
    ("held.list", "pages of a desk, from the cursor on"),
    ("follow.list", "pages of a desk, from the cursor on"),
    ("summary.pending", "of a desk, what is not folded yet"),
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
