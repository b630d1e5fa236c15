//! The chat widget on somebody else's website, which allows the service in its content security policy and nothing else.

use fantoccini::Locator;
use fantoccini::key::Key;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::browser::{Browser, Look};
use crate::support::sandbox::Sandbox;

/// A website of another origin; it ends when dropped.
struct Website {
    url: String,
    accepting: tokio::task::JoinHandle<()>,
}

impl Drop for Website {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// A page that shows the widget for `token` in a place as wide as `width`.
async fn website(service: &str, token: &str, width: &str) -> Website {
    let page = format!(
        "<!doctype html><html lang=en><head><meta charset=utf-8><meta name=viewport content='width=device-width'>\
         <meta name=color-scheme content='light dark'><title>Help</title><link rel=icon href='data:,'></head>\
         <body><main><h1>Help chat</h1><svg width='{width}' height=1 aria-hidden=true></svg>\
         <table role=presentation width='{width}'><tr><td><div id=chat></div></td></tr></table></main>\
         <script src='{service}/widget.js' data-token='{token}' data-target='#chat' async></script></body></html>"
    );
    let policy = format!(
        "default-src 'none'; script-src {service}; connect-src {service}; img-src data:; base-uri 'none'; form-action 'none'"
    );
    let answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-security-policy: {policy}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{page}",
        page.len()
    );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let accepting = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, answer.clone()));
        }
    });
    Website { url, accepting }
}

/// Whatever is asked, this is the answer. A connection that the browser gives up is none of our business.
async fn serve(mut stream: tokio::net::TcpStream, answer: String) {
    let mut asked = Vec::new();
    while !asked.ends_with(b"\r\n\r\n") {
        if !matches!(stream.read_buf(&mut asked).await, Ok(1..)) {
            return;
        }
    }
    drop(stream.write_all(answer.as_bytes()).await);
}

const TREE: &str = "document.querySelector('onefive-rating')?.shadowRoot";

async fn rates_and_says_why(look: Look, width: &str, by_keys: bool) {
    let sandbox = Sandbox::start().await;
    let asked = sandbox.ask("chat", "visitor-7").await;
    let token = asked["token"].as_str().unwrap();
    let site = website(&sandbox.url, token, width).await;
    let browser = Browser::open(look).await;
    browser.goto(&site.url).await;
    browser
        .until(&format!("{TREE}?.querySelectorAll('.choice').length === 5"))
        .await;
    let labels = browser
        .value(&format!(
            "Array.from({TREE}.querySelectorAll('.choice'), (choice) => choice.innerText.split(/\\s*\\n\\s*/).join(' '))"
        ))
        .await;
    assert_eq!(
        labels,
        json!(["1 very poor", "2 poor", "3 okay", "4 good", "5 excellent"])
    );
    browser.assert_fits().await;
    browser.assert_accessible().await;
    browser.shot(&format!("widget-open-{width}")).await;
    let reached = "select count(*) from requests where state = 'reached' and reached_at > 0";
    let mut waits = tokio::time::interval(std::time::Duration::from_millis(20));
    let seen = tokio::time::timeout(std::time::Duration::from_secs(20), async {
        while sandbox.database.number(reached).await == 0 {
            waits.tick().await;
        }
    });
    seen.await.expect("shown, so reached");
    assert_eq!(sandbox.replies().await, 0, "being shown is no answer");

    let widget = browser.client.find(Locator::Css("onefive-rating"));
    let tree = widget.await.unwrap().shadow_root().await.unwrap();
    if by_keys {
        let right = char::from(Key::Right);
        browser
            .keys(&[char::from(Key::Tab), right, right, right])
            .await;
        assert_eq!(sandbox.replies().await, 0, "walking is not choosing");
        browser.keys(&[char::from(Key::Enter)]).await;
    } else {
        let choices = tree.find_all(Locator::Css(".choice")).await.unwrap();
        choices[3].click().await.unwrap();
    }
    browser
        .until(&format!(
            "{TREE}.querySelector('.status[data-kind=ok]')?.textContent"
        ))
        .await;
    let rated = |comment: &str| Some((4, "channel".to_owned(), comment.to_owned()));
    assert_eq!(sandbox.rating().await, rated(""));

    let words = tree.find(Locator::Css("textarea")).await.unwrap();
    words.send_keys("Sam was quick").await.unwrap();
    tree.find(Locator::Css(".send"))
        .await
        .unwrap()
        .click()
        .await
        .unwrap();
    browser
        .until(&format!(
            "{TREE}.querySelector('.status').textContent.includes('words')"
        ))
        .await;
    assert_eq!(sandbox.rating().await, rated("Sam was quick"));
    browser.assert_accessible().await;
    browser.assert_fits().await;
    browser.assert_quiet_console().await;
    browser.shot(&format!("widget-answered-{width}")).await;
    drop(site);
    sandbox.app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_click_rates_on_another_website() {
    rates_and_says_why(Look::DESKTOP, "480", false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn arrow_keys_and_enter_rate_on_another_website() {
    rates_and_says_why(Look::DESKTOP.dark(), "480", true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_column_of_280_pixels_is_wide_enough() {
    rates_and_says_why(Look::PHONE.dark(), "280", false).await;
}
