//! What every story needs: a running service with a clock to turn, a desk with a key, and the real parts around it.

pub(crate) mod database;
pub(crate) mod http;
pub(crate) mod mail;
pub(crate) mod stage;
pub(crate) mod twilio;

/// The value of a variable that `tests/run` sets.
pub(crate) fn part(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| {
        panic!(
            "{name} is not set: run tests/run, which starts the real parts and says where they are"
        )
    })
}

/// Tells a story on one database.
pub(crate) async fn tell(
    story: impl AsyncFnOnce(database::Database),
    database: database::Database,
) {
    story(database).await;
}

/// Tells one story on both databases: `story!(name, async |database: Database| …)` makes the tests `name::sqlite` and
/// `name::postgres`.
#[macro_export]
macro_rules! story {
    ($name:ident, $story:expr) => {
        mod $name {
            use super::*;

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                $crate::support::tell($story, Database::sqlite()).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                $crate::support::tell($story, Database::postgres().await).await;
            }
        }
    };
}
