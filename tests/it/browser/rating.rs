//! The rating page: a person's first sign answers, anything else does not, and it works without scripts too.

use fantoccini::key::Key;

use crate::support::browser::{Browser, Look};
use crate::support::sandbox::Sandbox;

/// What a page or an extension might do by itself: events of its own making, and its own clicks and submits.
const SCRIPTED: &str = "(() => {
    const choice = document.querySelector('input[value=\"2\"]');
    const button = document.querySelector('#rating button');
    for (const target of [document.body, choice, button]) {
        for (const type of ['pointerdown', 'pointerup', 'click']) target.dispatchEvent(new PointerEvent(type, { bubbles: true, cancelable: true, detail: 1 }));
        target.dispatchEvent(new TouchEvent('touchstart', { bubbles: true }));
        target.dispatchEvent(new WheelEvent('wheel', { bubbles: true, deltaY: 10 }));
        for (const key of ['Enter', ' ', '2', 'a']) target.dispatchEvent(new KeyboardEvent('keydown', { bubbles: true, key }));
    }
    choice.click();
    button.click();
    document.getElementById('rating').requestSubmit();
    document.querySelector('fieldset').dispatchEvent(new FocusEvent('focusout', { bubbles: true }));
    window.dispatchEvent(new Event('online'));
    scrollTo(0, 9999);
    return true;
})()";

const THANKED: &str = "document.querySelector('#note[data-kind=ok] strong')";

fn tap(score: i64, comment: &str) -> (i64, String, String) {
    (score, "tap".to_owned(), comment.to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn opening_and_scripts_answer_nothing_and_the_first_touch_does() {
    let sandbox = Sandbox::start().await;
    let page = sandbox.rating_page().await;
    let browser = Browser::open(Look::PHONE).await;
    browser.goto(&format!("{page}?s=4")).await;
    browser.idle().await;
    assert_eq!(
        browser
            .value("document.querySelector('input:checked').value")
            .await,
        "4"
    );
    assert_eq!(browser.value(SCRIPTED).await, true);
    browser.idle().await;
    assert_eq!(sandbox.replies().await, 0, "nobody touched the page");

    // The scripts chose another score; opened again, the link's stands.
    browser.goto(&format!("{page}?s=4")).await;
    browser.click(".question").await;
    browser.until(THANKED).await;
    assert_eq!(sandbox.replies().await, 1);
    assert_eq!(sandbox.rating().await, Some(tap(4, "")));
    let said = browser.text("#note").await;
    assert!(
        said.contains("4 (good)") && said.contains("15 minutes"),
        "{said}"
    );

    // Touching on changes nothing; words, and another choice, do.
    browser.click(".desk").await;
    browser.write("#comment", "Quick and kind").await;
    browser.click("#rating button").await;
    browser
        .until("document.querySelector('#note').textContent.includes('Thank you for your words')")
        .await;
    assert_eq!(sandbox.rating().await, Some(tap(4, "Quick and kind")));
    browser.click("input[value='5']").await;
    browser
        .until("document.querySelector('#note').textContent.includes('5 (excellent)') || document.querySelector('#note').textContent.includes('5 excellent')")
        .await;
    browser.idle().await;
    assert_eq!(sandbox.replies().await, 3);
    assert_eq!(sandbox.rating().await, Some(tap(5, "Quick and kind")));
    browser.assert_quiet_console().await;
    sandbox.app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_press_on_another_choice_sends_that_one_alone() {
    let sandbox = Sandbox::start().await;
    let page = sandbox.rating_page().await;
    let browser = Browser::open(Look::DESKTOP).await;
    browser.goto(&format!("{page}?s=5")).await;
    browser.click("input[value='2']").await;
    browser.until(THANKED).await;
    assert_eq!(sandbox.rating().await, Some(tap(2, "")));
    assert_eq!(sandbox.replies().await, 1, "the link's score was not sent");

    // The window passes while the page is open: what comes then is not taken, and the page says so.
    sandbox.pass(16 * 60);
    browser.click("input[value='5']").await;
    browser
        .until("document.querySelector('#note[data-kind=error]')")
        .await;
    assert!(
        browser.text("#note").await.contains("closed"),
        "{}",
        browser.text("#note").await
    );
    assert_eq!(sandbox.rating().await, Some(tap(2, "")));
    browser.goto(&page).await;
    let shown = browser.text("main").await;
    assert!(shown.contains("2 (poor)"), "{shown}");
    assert_eq!(
        browser
            .value("document.querySelectorAll('form, input, button').length")
            .await,
        0
    );
    sandbox.app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn arrow_keys_walk_over_the_scores_and_enter_sends() {
    let sandbox = Sandbox::start().await;
    let page = sandbox.rating_page().await;
    let browser = Browser::open(Look::DESKTOP).await;
    browser.goto(&page).await;
    let (tab, right) = (char::from(Key::Tab), char::from(Key::Right));
    browser.keys(&[tab, right, right, right]).await;
    browser.idle().await;
    let at = "document.querySelector('input:checked').value";
    let reached = browser.value(at).await;
    assert_eq!(reached, "4");
    assert_eq!(sandbox.replies().await, 0, "walking is not choosing");
    browser.keys(&[char::from(Key::Enter)]).await;
    browser.until(THANKED).await;
    assert_eq!(sandbox.replies().await, 1);
    assert_eq!(sandbox.rating().await, Some(tap(4, "")));
    browser.keys(&['3']).await;
    browser
        .until("document.querySelector('#note').textContent.includes('3')")
        .await;
    browser.idle().await;
    assert_eq!(sandbox.rating().await, Some(tap(3, "")));
    sandbox.app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_javascript_the_button_answers_and_a_reload_does_not_repeat_it() {
    let sandbox = Sandbox::start().await;
    let page = sandbox.rating_page().await;
    let browser = Browser::open(Look::PHONE.without_javascript()).await;
    browser.goto(&format!("{page}?s=4")).await;
    browser.click(".question").await;
    assert_eq!(sandbox.replies().await, 0, "no script saw the touch");
    sandbox.pass(5);
    browser.click("#rating button").await;
    browser
        .until("document.querySelector('#note')?.textContent.includes('4 (good)')")
        .await;
    assert_eq!(
        browser.client.current_url().await.unwrap().as_str(),
        page,
        "303 to the page itself"
    );
    browser.client.refresh().await.unwrap();
    browser.shot("rating-without-javascript").await;
    assert_eq!(sandbox.replies().await, 1);
    assert_eq!(sandbox.rating().await, Some(tap(4, "")));

    browser.write("#comment", "Über alles zufrieden").await;
    sandbox.pass(5);
    browser.click("#rating button").await;
    browser
        .until("document.querySelector('#comment').defaultValue === 'Über alles zufrieden'")
        .await;
    assert_eq!(sandbox.rating().await, Some(tap(4, "Über alles zufrieden")));
    sandbox.app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn opening_the_opt_out_page_changes_nothing_and_its_button_does() {
    let sandbox = Sandbox::start().await;
    let page = sandbox.rating_page().await;
    let browser = Browser::open(Look::PHONE).await;
    browser.goto(&page).await;
    browser.click(".foot a").await;
    browser.until("location.pathname.startsWith('/u/')").await;
    browser.idle().await;
    let count = "select count(*) from opt_outs";
    assert_eq!(sandbox.database.number(count).await, 0);
    browser.click("main button").await;
    browser
        .until("document.body.textContent.includes('Done.')")
        .await;
    assert_eq!(sandbox.database.number(count).await, 1);
    sandbox.app.stop().await;
}
