//! The rules of the store as stories. Each is written once and runs on SQLite and on PostgreSQL, because two databases that
//! are tested by two suites drift apart. Time is given by hand; what races is run in tasks of its own.

/// Makes one test for each database of each story. `empty` starts without a schema, `migrated` with it; `plainly` tells them on
/// PostgreSQL once more without `skip locked`, which some databases that speak its protocol do not know.
macro_rules! stories {
    ($start:ident plainly: $($story:ident),+ $(,)?) => {
        stories!($start: $($story),+);

        mod postgres_plainly {
            use crate::store::conformance::stage::{Engine, $start};
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $story() {
                    $start(Engine::PostgresPlainly, super::$story).await;
                }
            )+
        }
    };
    ($start:ident: $($story:ident),+ $(,)?) => {
        mod sqlite {
            use crate::store::conformance::stage::{Engine, $start};
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $story() {
                    $start(Engine::Sqlite, super::$story).await;
                }
            )+
        }

        mod postgres {
            use crate::store::conformance::stage::{Engine, $start};
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $story() {
                    $start(Engine::Postgres, super::$story).await;
                }
            )+
        }
    };
}

mod asking;
mod batches;
mod bounds;
mod callbacks;
mod carrying;
mod comments;
mod counted;
mod counting;
mod desks;
mod ending;
mod guarding;
mod held;
mod listing;
mod opting_out;
mod pairs;
mod repeating;
mod replying;
mod ruling;
mod schema;
mod sealed;
mod sends;
mod sessions;
mod settling;
mod stage;
mod streams;
mod summary;
mod together;
mod totals;
mod unreadable;
mod wishes;
