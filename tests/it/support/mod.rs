//! What every story needs: a running service with a clock to turn, a desk with a key, and the real parts around it.

pub(crate) mod browser;
pub(crate) mod daemon;
pub(crate) mod database;
pub(crate) mod faults;
pub(crate) mod http;
pub(crate) mod load;
pub(crate) mod mail;
pub(crate) mod postgres;
pub(crate) mod program;
pub(crate) mod prometheus;
pub(crate) mod proxy;
pub(crate) mod receiver;
pub(crate) mod replica;
pub(crate) mod returned;
pub(crate) mod sandbox;
pub(crate) mod sse;
pub(crate) mod stage;
pub(crate) mod surfer;
pub(crate) mod twilio;
pub(crate) mod way;

/// The value of a variable that `tests/run` sets.
pub(crate) fn part(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| {
        panic!(
            "{name} is not set: run tests/run, which starts the real parts and says where they are"
        )
    })
}

/// A port that nobody listens on, for a program that wants a number. Below the range that the system hands out by itself, so
/// that nobody is given it while the program is down.
pub(crate) fn free_port() -> u16 {
    let drawn = || u16::from_be_bytes(onefive::clock::random(&onefive::clock::SystemEntropy));
    std::iter::repeat_with(|| 12_000 + drawn() % 8_000)
        .find(|port| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .unwrap()
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
