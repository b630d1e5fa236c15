//! The sandbox: four conversations ended and answered by clicking alone, and the numbers beside each device.

use crate::support::browser::{Browser, Look};
use crate::support::sandbox::Sandbox;

/// The counts of a channel as the page shows them.
fn counts(channel: &str, asked: u32, answered: u32) -> String {
    let count = |name: &str| {
        format!(
            "document.querySelector('[data-channel={channel}] [data-count={name}]').firstChild.textContent"
        )
    };
    let csat = if answered == 0 {
        "no ratings yet"
    } else {
        "100 %"
    };
    format!(
        "{} === '{asked}' && {} === '{answered}' && {} === '{csat}'",
        count("asked"),
        count("answered"),
        count("csat")
    )
}

async fn text_message(browser: &Browser) {
    browser.click("[data-end=sms]").await;
    browser
        .until("document.querySelector('#thread .out')")
        .await;
    let asked = browser.text("#thread .out").await;
    assert!(
        asked.contains("Northwind IT") && asked.contains("Sam"),
        "{asked}"
    );
    browser.write("#sms-body", "5").await;
    browser.click("#sms-form button").await;
    browser
        .until(
            "document.querySelectorAll('#thread .out')[1]?.textContent.includes('5 (excellent)')",
        )
        .await;
}

async fn call(browser: &Browser) {
    browser.click("[data-end=voice]").await;
    browser
        .until("document.querySelector('#phone[data-state=ringing]')")
        .await;
    browser.shot("sandbox-ringing").await;
    browser.click("#pick-up").await;
    browser
        .until("document.querySelector('.key:enabled')")
        .await;
    let spoken = browser.text("#spoken").await;
    assert!(spoken.contains("Please press one key"), "{spoken}");
    browser.shot("sandbox-on-the-call").await;
    browser.click("[data-key='4']").await;
    browser
        .until("document.querySelector('#phone').dataset.state === 'idle'")
        .await;
    let spoken = browser.text("#spoken").await;
    assert!(spoken.contains("Goodbye"), "{spoken}");
}

async fn chat(browser: &Browser) {
    browser.click("[data-end=chat]").await;
    let choices =
        "document.querySelector('#chat onefive-rating')?.shadowRoot.querySelectorAll('.choice')";
    browser.until(&format!("{choices}?.length === 5")).await;
    browser.shot("sandbox-chat").await;
    let widget = browser
        .client
        .find(fantoccini::Locator::Css("onefive-rating"));
    let tree = widget.await.unwrap().shadow_root().await.unwrap();
    let choices = tree
        .find_all(fantoccini::Locator::Css(".choice"))
        .await
        .unwrap();
    choices[4].click().await.unwrap();
    browser
        .until("document.querySelector('onefive-rating').shadowRoot.querySelector('.status').textContent.includes('Thank you')")
        .await;
}

/// Opens the link of the mail in its new tab, answers there with one tap, and comes back.
async fn mail(sandbox: &Sandbox, browser: &Browser) {
    browser.click("[data-end=email]").await;
    browser
        .until(
            "document.querySelector('#letter')?.contentDocument?.querySelector('a[href*=\"s=4\"]')",
        )
        .await;
    browser.shot("sandbox-mail").await;
    // Nobody reads a mail in the second in which it comes.
    sandbox.pass(60);
    let home = browser.client.window().await.unwrap();
    browser.click("#tabs [data-part=text]").await;
    browser.click("#plain a[href*='s=4']").await;
    browser.tab(2).await;
    browser.until("document.querySelector('.question')").await;
    browser.click(".question").await;
    browser
        .until("document.querySelector('#note[data-kind=ok] strong')")
        .await;
    browser.assert_quiet_console().await;
    browser.client.close_window().await.unwrap();
    browser.client.switch_to_window(home).await.unwrap();
    browser.click("#tabs [data-part=html]").await;
}

async fn all_four(look: Look) {
    let sandbox = Sandbox::start().await;
    let browser = Browser::open(look).await;
    browser.goto(&format!("{}/sandbox", sandbox.url)).await;
    for channel in ["sms", "voice", "chat", "email"] {
        browser.until(&counts(channel, 0, 0)).await;
    }
    browser.assert_colours().await;
    browser.assert_fits().await;
    browser.assert_accessible().await;
    browser.shot("sandbox-empty").await;

    text_message(&browser).await;
    call(&browser).await;
    chat(&browser).await;
    mail(&sandbox, &browser).await;
    for channel in ["sms", "voice", "chat", "email"] {
        browser.until(&counts(channel, 1, 1)).await;
    }
    browser.assert_fits().await;
    browser.assert_accessible().await;
    browser.assert_quiet_console().await;
    browser.shot("sandbox-answered").await;
    let ratings = "select count(*) from ratings where score >= 4";
    assert_eq!(sandbox.database.number(ratings).await, 4);

    // Nothing that was over begins again on a new page.
    browser.client.refresh().await.unwrap();
    browser.until(&counts("voice", 1, 1)).await;
    assert_eq!(
        browser
            .value("document.querySelector('#phone').dataset.state")
            .await,
        "idle",
        "a call that has ended rings no more"
    );
    sandbox.app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_conversations_are_answered_by_clicking() {
    all_four(Look::DESKTOP).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_conversations_are_answered_on_a_dark_phone() {
    all_four(Look::PHONE.dark()).await;
}
