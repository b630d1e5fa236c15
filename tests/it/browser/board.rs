//! The live board: its numbers are those of the API, they move by themselves, and the key stays where it belongs.

use std::time::{Duration, Instant};

use onefive::domain::desk::Scope;
use serde_json::{Value, json};

use super::board_desk::Desk;
use crate::support::browser::{Browser, Look};

pub(super) const VPN: (&str, &str, &str) = ("network", "vpn", "incident.resolved");
pub(super) const PRINTER: (&str, &str, &str) = ("workplace", "printers", "hardware.swap");
/// What `sessionStorage` and `localStorage` hold, by their names.
const STORED: &str = "[Object.keys(sessionStorage), Object.keys(localStorage)]";

/// A share as the board writes it: whole percents.
fn percent(value: &Value) -> String {
    format!("{}\u{a0}%", whole(value))
}

/// To the nearest whole number, a half upwards, as a browser rounds.
fn whole(value: &Value) -> f64 {
    (value.as_f64().unwrap() + 0.5).floor()
}

/// What the board shows at these places.
async fn shown(browser: &Browser, css: &str) -> Vec<String> {
    let script = format!(
        "Array.from(document.querySelectorAll({css:?}), (node) => node.firstChild.textContent)"
    );
    serde_json::from_value(browser.value(&script).await).unwrap()
}

/// Every number of the board is the API's.
pub(super) async fn assert_same(desk: &Desk, browser: &Browser, query: &str) {
    let by_channel = desk
        .get(&format!("/v1/summary?group_by=channel{query}"))
        .await;
    let cells = desk
        .get(&format!("/v1/summary?group_by=touchpoint,channel{query}"))
        .await;
    let (total, ratings) = (&by_channel["total"], &by_channel["total"]["ratings"]);
    let csat = &ratings["csat"];
    assert_eq!(
        format!("{}\u{a0}%", browser.text("#csat-value").await),
        percent(&csat["value"])
    );
    let between = browser.text("#csat-between").await;
    for part in [
        format!("between {} and", whole(&csat["low"])),
        percent(&csat["high"]),
        format!("from {} rating", ratings["n"]),
    ] {
        assert!(between.contains(&part), "{part} is not in {between}");
    }
    for score in 1..=5 {
        let count = shown(browser, &format!("#counts [data-score='{score}']")).await;
        assert_eq!(count, [ratings["counts"][score.to_string()].to_string()]);
    }
    for rate in ["of_requested", "of_delivered", "of_reached"] {
        let written = shown(browser, &format!("#response [data-rate={rate}]")).await;
        let share = &total["response"][rate];
        // Where only answers prove that an ask arrived, nobody can say which share of those who have it answered.
        let expected = match (share.is_null(), &total["response"]["left_out"][rate]) {
            (false, _) => percent(&share["value"]),
            (true, Value::Null) => "–".to_owned(),
            (true, _) => "not known".to_owned(),
        };
        assert_eq!(written, [expected], "{rate}");
        if !share.is_null() {
            let basis = format!("#response tr:has([data-rate={rate}]) th .dim");
            let basis = browser.text(&basis).await;
            let counts = format!("{} of {} ", share["answered"], share["of"]);
            assert!(basis.starts_with(&counts), "{basis} is not {counts}");
        }
    }
    let groups = by_channel["groups"].as_array().unwrap();
    for group in groups {
        let (asked, channel) = (&group["asked"], group["by"]["channel"].as_str().unwrap());
        for step in ["requested", "sent", "delivered", "reached", "answered"] {
            let css = format!("#funnel [data-step={step}][data-channel={channel}]");
            assert_eq!(
                shown(browser, &css).await,
                [asked[step].to_string()],
                "{css}"
            );
        }
    }
    for group in cells["groups"].as_array().unwrap() {
        let Some(csat) = group["ratings"]["csat"].as_object() else {
            continue;
        };
        let (touchpoint, channel) = (&group["by"]["touchpoint"], &group["by"]["channel"]);
        let css = format!("#matrix [data-touchpoint={touchpoint}][data-channel={channel}] b");
        assert_eq!(
            shown(browser, &css).await,
            [percent(&csat["value"])],
            "{css}"
        );
    }
    for (reason, count) in total["asked"]["suppressed_by"].as_object().unwrap() {
        let css = format!("#reasons [data-reason={reason}]");
        assert_eq!(shown(browser, &css).await, [count.to_string()]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_numbers_are_those_of_the_summary_and_filters_are_in_the_address() {
    let desk = Desk::start().await;
    for (n, score) in [5, 4, 5, 2, 1].into_iter().enumerate() {
        desk.texted(n, VPN, score, "").await;
    }
    desk.chatted(PRINTER, 3, "").await;
    desk.chatted(VPN, 5, "").await;
    desk.called(PRINTER, 4).await;
    desk.tell("sms", "+14155559999", VPN).await;
    desk.text_arrives("+14155559999").await;
    desk.tell("sms", "", VPN).await;

    let browser = Browser::open(Look::DESKTOP).await;
    desk.signed_in(&browser, "").await;
    browser
        .until("document.querySelector('#counts-n').textContent === 'n = 8'")
        .await;
    assert_same(&desk, &browser, "").await;

    // One channel, then one touchpoint of it; the address says so, and is enough to get there again.
    for (select, value, n) in [("channel", "chat", 2), ("touchpoint", "hardware.swap", 1)] {
        browser
            .until(&format!(
                "document.querySelector('#{select} option[value=\"{value}\"]')"
            ))
            .await;
        browser
            .click(&format!("#{select} option[value='{value}']"))
            .await;
        let counted = format!("document.querySelector('#counts-n').textContent === 'n = {n}'");
        browser.until(&counted).await;
        let query = browser.value("location.search").await;
        assert!(
            query
                .as_str()
                .unwrap()
                .contains(&format!("{select}={value}")),
            "{query}"
        );
    }
    assert_same(&desk, &browser, "&channel=chat&touchpoint=hardware.swap").await;
    browser.client.refresh().await.unwrap();
    browser
        .until("document.querySelector('#counts-n').textContent === 'n = 1' && document.querySelector('#channel').value === 'chat'")
        .await;
    browser.click("#clear").await;
    browser
        .until(
            "document.querySelector('#counts-n').textContent === 'n = 8' && location.search === ''",
        )
        .await;
    browser.click(".period label:nth-of-type(2)").await;
    browser
        .until("document.querySelector('#title').textContent === 'Last 7 days' && location.search === '?period=7d'")
        .await;

    // Tomorrow these are yesterday's, and the day begins with nothing; the board finds out when it next asks.
    desk.sandbox.pass(86_400);
    browser.click(".period label:nth-of-type(1)").await;
    browser.client.refresh().await.unwrap();
    browser
        .until("document.querySelector('#csat-value').textContent === 'No ratings yet'")
        .await;
    browser
        .goto(&format!("{}/board?period=7d&minimum=50", desk.sandbox.url))
        .await;
    browser
        .until("document.querySelector('#csat-value').textContent === 'Too few ratings'")
        .await;
    browser.assert_quiet_console().await;
    desk.sandbox.app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_shows_without_a_reload_and_its_words_stay_text() {
    let desk = Desk::start().await;
    let phone = "+14155550001";
    desk.tell("sms", phone, VPN).await;
    desk.text_arrives(phone).await;
    let browser = Browser::open(Look::DESKTOP).await;
    desk.signed_in(&browser, "").await;
    browser
        .until("document.querySelector('#csat-value').textContent === 'No ratings yet' && document.querySelector('#funnel [data-step=delivered]')?.firstChild.textContent === '1'")
        .await;
    let marked = browser.value("window.untouched = true").await;
    assert_eq!(marked, true);

    let begun = Instant::now();
    desk.text(phone, "2").await;
    browser
        .until("document.querySelector('#csat-value').textContent === '0' && document.querySelectorAll('#low > li').length === 1")
        .await;
    let took = begun.elapsed();
    println!("from the text message to the board: {took:?}");
    assert!(took < Duration::from_secs(5), "{took:?}");

    let words = "<img src=x onerror=\"window.hit=1\"><b>still broken</b> & slow";
    desk.text(phone, words).await;
    browser
        .until("document.querySelectorAll('#words blockquote').length === 1")
        .await;
    let quote = "(() => { const quote = document.querySelector('#words blockquote'); return [quote.textContent, quote.dir, quote.children.length, document.querySelectorAll('main img').length, window.hit ?? 0, window.untouched]; })()";
    assert_eq!(
        browser.value(quote).await,
        json!([words, "auto", 0, 0, 0, true])
    );
    let low = "document.querySelector('#low blockquote')?.textContent";
    browser.until(low).await;
    assert_eq!(browser.value(low).await, words);

    // While the service is out of reach the numbers stay, and it says so; then it goes on by itself.
    let offline = |on: bool| json!({"offline": on, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1});
    browser.cdp("Network.enable", json!({})).await;
    browser
        .cdp("Network.emulateNetworkConditions", offline(true))
        .await;
    browser
        .until("document.querySelector('#live').dataset.live === 'offline'")
        .await;
    assert_eq!(browser.text("#csat-value").await, "0");
    desk.chatted(VPN, 5, "").await;
    browser
        .cdp("Network.emulateNetworkConditions", offline(false))
        .await;
    browser
        .until("document.querySelector('#csat-value').textContent === '50' && document.querySelector('#live').dataset.live === 'live'")
        .await;
    desk.sandbox.app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_key_is_asked_for_kept_as_wished_and_gone_after_signing_out() {
    let desk = Desk::start().await;
    let (reader, scraper) = (
        desk.key(&[Scope::Read]).await,
        desk.key(&[Scope::Metrics]).await,
    );
    desk.chatted(VPN, 1, "").await;
    let browser = Browser::open(Look::PHONE).await;
    browser.goto(&format!("{}/board", desk.sandbox.url)).await;
    let mut strange = reader.clone();
    strange.replace_range(20..21, if &reader[20..21] == "x" { "y" } else { "x" });
    for (wrong, said) in [
        ("o5_nonsense", "not known"),
        (&strange, "not known"),
        (&scraper, "scope read"),
    ] {
        browser.until("!document.querySelector('#door').hidden && document.querySelector('#key').value === ''").await;
        browser.write("#key", wrong).await;
        browser.click("#enter").await;
        browser
            .until(&format!(
                "document.querySelector('#door-said').textContent.includes({said:?})"
            ))
            .await;
        assert_eq!(browser.value(STORED).await, json!([[], []]));
    }

    let live = "document.querySelector('#live').dataset.live === 'live' && document.querySelectorAll('#low > li').length === 1";
    browser.write("#key", &reader).await;
    browser.click("#enter").await;
    browser.until(live).await;
    assert_eq!(
        browser.value(STORED).await,
        json!([["onefive.board.key"], []])
    );
    let spread = format!(
        "[location.href, document.documentElement.outerHTML, document.title, document.cookie, document.querySelector('#key').value].filter((text) => text.includes({reader:?})).length"
    );
    assert_eq!(browser.value(&spread).await, 0, "the key is on the page");
    let steps = browser
        .value("document.querySelectorAll('.steps button').length")
        .await;
    assert_eq!(steps, 0, "a key that only reads is offered no steps");
    browser.client.refresh().await.unwrap();
    browser.until(live).await;

    browser.click("#sign-out").await;
    browser
        .until("!document.querySelector('#door').hidden && document.querySelector('#board').hidden")
        .await;
    assert_eq!(browser.value(STORED).await, json!([[], []]));
    browser.client.refresh().await.unwrap();
    browser
        .until("!document.querySelector('#door').hidden")
        .await;

    browser.write("#key", &reader).await;
    browser.click("#keep").await;
    browser.click("#enter").await;
    browser.until(live).await;
    assert_eq!(
        browser.value(STORED).await,
        json!([[], ["onefive.board.key"]])
    );
    browser.client.refresh().await.unwrap();
    browser.until(live).await;
    assert_eq!(
        browser.value(STORED).await,
        json!([[], ["onefive.board.key"]])
    );
    browser.click("#sign-out").await;
    assert_eq!(browser.value(STORED).await, json!([[], []]));
    desk.sandbox.app.stop().await;
}
