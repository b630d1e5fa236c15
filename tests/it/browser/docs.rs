//! `/docs` shows what `/openapi.json` says, route by route.

use crate::support::browser::{Browser, Look};
use crate::support::http;
use crate::support::sandbox::Sandbox;

async fn reads(look: Look) {
    let sandbox = Sandbox::start().await;
    let document = http::get(&format!("{}/openapi.json", sandbox.url)).await;
    let document = document.json();
    let mut routes = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            if path.starts_with("/v1/") && method != "parameters" {
                routes.push(format!("{} {path}", method.to_uppercase()));
            }
        }
    }
    assert!(routes.len() >= 4, "{routes:?}");

    let browser = Browser::open(look).await;
    browser.goto(&format!("{}/docs", sandbox.url)).await;
    browser.until("document.querySelector('.operation')").await;
    let shown = browser
        .value("Array.from(document.querySelectorAll('.route'), (route) => Array.from(route.children, (part) => part.textContent).join(' '))")
        .await;
    let mut shown: Vec<String> = serde_json::from_value(shown).unwrap();
    shown.sort();
    routes.sort();
    assert_eq!(shown, routes);
    browser.assert_colours().await;
    browser.assert_fits().await;
    browser.assert_accessible().await;
    browser.assert_quiet_console().await;
    browser.shot("docs").await;
    sandbox.app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_route_is_on_the_page() {
    reads(Look::DESKTOP).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_route_is_on_a_dark_phone() {
    reads(Look::PHONE.dark()).await;
}
