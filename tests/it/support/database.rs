//! A database of its own for every test.

use sqlx::{Connection as _, Executor as _, PgConnection};

use super::part;

/// A fresh database.
pub(crate) enum Database {
    /// A file in a folder that goes with the test.
    Sqlite(tempfile::TempDir),
    /// A database on the server that `tests/run` started; the folder is for the key file.
    Postgres {
        /// Its address.
        url: String,
        /// A folder that goes with the test.
        folder: tempfile::TempDir,
    },
}

impl Database {
    pub(crate) fn sqlite() -> Self {
        Self::Sqlite(tempfile::tempdir().unwrap())
    }

    pub(crate) async fn postgres() -> Self {
        let server = part("ONEFIVE_TEST_POSTGRES");
        let name = format!(
            "it_{}",
            uuid::Uuid::from_bytes(onefive::clock::random(&onefive::clock::SystemEntropy)).simple()
        );
        let mut connection = PgConnection::connect(&server).await.unwrap();
        let create: &'static str = Box::leak(format!("create database {name}").into_boxed_str());
        connection.execute(create).await.unwrap();
        let (base, _) = server.rsplit_once('/').unwrap();
        Self::at(format!("{base}/{name}"))
    }

    /// A database that is there already, with a key file of its own.
    pub(crate) fn at(url: String) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(
            folder.path().join("keys"),
            onefive::store::KeyRing::generate(&onefive::clock::SystemEntropy),
        )
        .unwrap();
        Self::Postgres { url, folder }
    }

    /// Another fresh database of the same kind.
    pub(crate) async fn like(other: &Self) -> Self {
        match other {
            Self::Sqlite(_) => Self::sqlite(),
            Self::Postgres { .. } => Self::postgres().await,
        }
    }

    /// The settings that use it.
    pub(crate) fn settings(&self) -> Vec<(String, String)> {
        match self {
            Self::Sqlite(folder) => vec![(
                "DATABASE__URL".into(),
                format!("sqlite:{}/onefive.db", folder.path().display()),
            )],
            Self::Postgres { url, folder } => {
                let mut settings = vec![
                    ("DATABASE__URL".into(), url.clone()),
                    ("DATABASE__CONNECTIONS".into(), "6".into()),
                    (
                        "SECRETS__KEYS_FILE".into(),
                        folder.path().join("keys").display().to_string(),
                    ),
                ];
                // The service goes through the pooler; what a story looks up by itself does not, because it is no part of it.
                if let Ok(pooler) = std::env::var("ONEFIVE_TEST_POOLER") {
                    let (_, name) = url.rsplit_once('/').unwrap();
                    settings[0].1 = format!("postgres://postgres@{pooler}/{name}");
                    settings.push(("DATABASE__STATEMENT_CACHE".into(), "0".into()));
                }
                settings
            }
        }
    }

    /// How many rows each table holds: equal before and after means that nothing was stored.
    pub(crate) async fn rows(&self) -> Vec<(&'static str, i64)> {
        let mut rows = Vec::new();
        for (table, count) in [
            ("desks", "select count(*) from desks"),
            ("api_keys", "select count(*) from api_keys"),
            ("requests", "select count(*) from requests"),
            ("attempts", "select count(*) from attempts"),
            ("replies", "select count(*) from replies"),
            ("ratings", "select count(*) from ratings"),
            ("opt_outs", "select count(*) from opt_outs"),
            ("strays", "select count(*) from strays"),
            ("events", "select count(*) from events"),
            ("totals", "select count(*) from totals"),
        ] {
            rows.push((table, self.number(count).await));
        }
        rows
    }

    /// A number from the database itself, past the service: `select count(*) …`.
    pub(crate) async fn number(&self, sql: &'static str) -> i64 {
        match self {
            Self::Sqlite(folder) => {
                let url = format!("sqlite:{}/onefive.db", folder.path().display());
                let mut connection = sqlx::SqliteConnection::connect(&url).await.unwrap();
                sqlx::query_scalar(sql)
                    .fetch_one(&mut connection)
                    .await
                    .unwrap()
            }
            Self::Postgres { url, .. } => {
                let mut connection = PgConnection::connect(url).await.unwrap();
                sqlx::query_scalar(sql)
                    .fetch_one(&mut connection)
                    .await
                    .unwrap()
            }
        }
    }

    /// Identifiers from the database itself: `select id from …`.
    pub(crate) async fn ids(&self, sql: &'static str) -> Vec<uuid::Uuid> {
        match self {
            Self::Sqlite(folder) => {
                let url = format!("sqlite:{}/onefive.db", folder.path().display());
                let mut connection = sqlx::SqliteConnection::connect(&url).await.unwrap();
                let ids = sqlx::query_scalar(sql).fetch_all(&mut connection).await;
                ids.unwrap()
            }
            Self::Postgres { url, .. } => {
                let mut connection = PgConnection::connect(url).await.unwrap();
                let ids = sqlx::query_scalar(sql).fetch_all(&mut connection).await;
                ids.unwrap()
            }
        }
    }

    /// Changes the database past the service, for what only time on the database's own clock would do; how many rows.
    pub(crate) async fn execute(&self, sql: &'static str) -> u64 {
        match self {
            Self::Sqlite(folder) => {
                let url = format!("sqlite:{}/onefive.db", folder.path().display());
                let mut connection = sqlx::SqliteConnection::connect(&url).await.unwrap();
                let done = connection.execute(sql).await.unwrap();
                done.rows_affected()
            }
            Self::Postgres { url, .. } => {
                let mut connection = PgConnection::connect(url).await.unwrap();
                let done = connection.execute(sql).await.unwrap();
                done.rows_affected()
            }
        }
    }
}
