//! Everything that a database holds, byte by byte, and the search for what must not be in it.

use sqlx::{Connection as _, PgConnection, Row as _};

use super::database::Database;

/// Every byte of SQLite's files; every column of every table of PostgreSQL as text, where bytes stand in hexadecimal.
pub(crate) async fn stored(database: &Database) -> Vec<(String, Vec<u8>)> {
    match database {
        Database::Sqlite(folder) => {
            let mut files = Vec::new();
            for file in std::fs::read_dir(folder.path()).unwrap() {
                let path = file.unwrap().path();
                // The key file is the one thing that has to be kept secret.
                if !path.ends_with("onefive.keys") {
                    files.push((path.display().to_string(), std::fs::read(path).unwrap()));
                }
            }
            assert!(
                files.iter().any(|(name, _)| name.ends_with("-wal")),
                "the log is looked at too"
            );
            files
        }
        Database::Postgres { url, .. } => {
            let mut connection = PgConnection::connect(url).await.unwrap();
            let tables = sqlx::query(
                "select cast(table_name as text) as name from information_schema.tables where table_schema = 'public'",
            );
            let mut all = Vec::new();
            for table in tables.fetch_all(&mut connection).await.unwrap() {
                let name: String = table.get("name");
                let dump = format!(
                    "select coalesce(string_agg(t::text, chr(10)), '') as rows from {name} t"
                );
                let dump: &'static str = Box::leak(dump.into_boxed_str());
                let row = sqlx::query(dump).fetch_one(&mut connection).await.unwrap();
                all.push((name, row.get::<String, _>("rows").into_bytes()));
            }
            assert!(all.len() > 10);
            all
        }
    }
}

/// Bytes as the search reads them: in small letters, so that each form of a secret is looked for once.
pub(crate) fn readable(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes.to_ascii_lowercase()).into_owned()
}

fn forms(secret: &str) -> [String; 2] {
    [secret.to_ascii_lowercase(), hex::encode(secret)]
}

/// Whether a secret is in a readable text, in clear or in hexadecimal.
pub(crate) fn holds(text: &str, secret: &str) -> bool {
    forms(secret).iter().any(|form| text.contains(form))
}

/// What stands around the first find, for whoever has to stop it.
pub(crate) fn around(text: &str, secret: &str) -> String {
    let forms = forms(secret);
    let at = forms.iter().find_map(|form| text.find(form)).unwrap_or(0);
    text.chars()
        .skip(text[..at].chars().count().saturating_sub(160))
        .take(400)
        .collect()
}
