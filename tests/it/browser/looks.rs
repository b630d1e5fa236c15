//! Every page that customers see, on a phone and on a desktop, in light and dark: axe finds nothing, nothing sticks out.
//! Pictures of them all are left in `target/screenshots`.

use crate::support::browser::{Browser, Look};
use crate::support::sandbox::Sandbox;

async fn look(browser: &Browser, name: &str) {
    browser.assert_colours().await;
    browser.assert_fits().await;
    browser.assert_accessible().await;
    browser.shot(name).await;
}

async fn every_page(seen: Look) {
    let sandbox = Sandbox::start().await;
    let page = sandbox.rating_page().await;
    let browser = Browser::open(seen).await;
    browser.goto(&format!("{page}?s=4")).await;
    look(&browser, "rating-open").await;
    browser.click(".question").await;
    browser
        .until("document.querySelector('#note[data-kind=ok] strong')")
        .await;
    look(&browser, "rating-answered").await;
    browser.write("#comment", "Quick and kind.").await;
    browser.click("#rating button").await;
    browser
        .until("document.querySelector('#note').textContent.includes('words')")
        .await;
    look(&browser, "rating-commented").await;
    browser.goto(&page).await;
    look(&browser, "rating-opened-again").await;
    sandbox.pass(16 * 60);
    browser.goto(&page).await;
    look(&browser, "rating-closed").await;

    let opt_out = Sandbox::opt_out_page(&page);
    browser.goto(&opt_out).await;
    look(&browser, "opt-out").await;
    browser.click("main button").await;
    browser
        .until("document.body.textContent.includes('Done.')")
        .await;
    look(&browser, "opt-out-done").await;
    browser.goto(&format!("{}/r/nobody", sandbox.url)).await;
    look(&browser, "not-found").await;
    sandbox.app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_phone() {
    every_page(Look::PHONE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_phone_in_the_dark() {
    every_page(Look::PHONE.dark()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_desktop() {
    every_page(Look::DESKTOP).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_desktop_in_the_dark() {
    every_page(Look::DESKTOP.dark()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_the_narrowest_phone() {
    let narrow = Look {
        width: 360,
        height: 640,
        ..Look::PHONE
    };
    every_page(narrow).await;
}
