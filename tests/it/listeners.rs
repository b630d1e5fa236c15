//! The doors on listeners of their own: desks reach all that is theirs where the API is, whatever the public address says.

use crate::support::database::Database;
use crate::support::http;
use crate::support::stage::Stage;

/// Every address that a page loads or leads to, as it stands there.
fn references(html: &str) -> Vec<&str> {
    let starts = ["href=\"", "src=\""];
    let found = starts.iter().flat_map(|start| html.split(start).skip(1));
    found
        .filter_map(|rest| rest.split('"').next())
        .filter(|reference| !reference.starts_with('#'))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_for_desks_have_their_files_where_the_api_is() {
    let apart = [
        ("SERVER__PUBLIC_URL", "https://feedback.example.com/rate"),
        ("SERVER__API", "127.0.0.2:0"),
    ];
    let stage = Stage::with(Database::sqlite(), &apart).await;
    let api = format!("http://{}", stage.app.api);
    assert_ne!(stage.app.api, stage.app.public);
    let elsewhere = http::get(&format!("{}/docs", stage.url)).await;
    assert_eq!(elsewhere.status, 404, "the public listener has none of it");
    let home = http::get(&format!("{api}/")).await;
    assert_eq!((home.status, home.header("location")), (307, "docs"));
    for page in ["docs", "board"] {
        let shown = http::get(&format!("{api}/{page}")).await;
        assert_eq!(shown.status, 200, "{page}: {shown:?}");
        let found = references(&shown.body);
        assert!(found.len() >= 4, "{page}: {found:?}");
        for reference in found {
            assert!(!reference.starts_with('/') && !reference.contains("//"));
            let file = http::get(&format!("{api}/{reference}")).await;
            assert_eq!(file.status, 200, "{page}: {reference}");
        }
    }
    stage.finish().await;
}
