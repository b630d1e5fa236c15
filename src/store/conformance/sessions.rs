//! Sessions that end while nobody looks. A file has none that anybody else could end.

use std::sync::Arc;

use super::stage::{Engine, Stage, migrated, parallel};
use crate::store::Store as _;
use crate::store::dialect::{Database, Sql};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_the_server_ended_is_replaced_unseen() {
    migrated(Engine::Postgres, replaced_unseen).await;
}

async fn replaced_unseen(stage: Arc<Stage>) {
    const END: Sql = Sql::both(
        "select pg_terminate_backend(pid) as ended from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()",
    );
    let Database::Postgres(server) = &stage.store.inner.database else {
        unreachable!("it was opened on PostgreSQL");
    };
    for _ in 0..3 {
        let before = Arc::clone(&stage);
        parallel(6, move |_| {
            let stage = Arc::clone(&before);
            async move {
                let inner = &stage.store.inner;
                // Held beside each other, so that there are many.
                let tx = inner.database.snapshot().await.unwrap();
                stage.accept(stage.trigger()).await;
                tx.rollback().await.unwrap();
            }
        })
        .await;
        assert!(server.pool().condition().1 > 2, "sessions that nobody uses");
        let ended = stage.store.inner.database.rows(END, &[]).await.unwrap();
        assert!(ended.len() > 1, "{}", ended.len());
        let after = Arc::clone(&stage);
        parallel(6, move |_| {
            let stage = Arc::clone(&after);
            async move {
                let request = stage.accept(stage.trigger()).await;
                assert_eq!(stage.look(&request).await.id, request.id);
                stage.store.desks().await.unwrap();
            }
        })
        .await;
    }
}
