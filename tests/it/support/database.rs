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
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(
            folder.path().join("keys"),
            onefive::store::KeyRing::generate(&onefive::clock::SystemEntropy),
        )
        .unwrap();
        Self::Postgres {
            url: format!("{base}/{name}"),
            folder,
        }
    }

    /// The settings that use it.
    pub(crate) fn settings(&self) -> Vec<(String, String)> {
        match self {
            Self::Sqlite(folder) => vec![(
                "DATABASE__URL".into(),
                format!("sqlite:{}/onefive.db", folder.path().display()),
            )],
            Self::Postgres { url, folder } => vec![
                ("DATABASE__URL".into(), url.clone()),
                ("DATABASE__CONNECTIONS".into(), "6".into()),
                (
                    "SECRETS__KEYS_FILE".into(),
                    folder.path().join("keys").display().to_string(),
                ),
            ],
        }
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
}
