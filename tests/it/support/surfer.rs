//! A client of pages that is no browser: it opens, keeps cookies or does not, and posts forms as the page wrote them.

use std::sync::Mutex;

use http::Method;

use super::http::{Answer, send};

/// What a person's browser says that it is.
pub(crate) const BROWSER: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 Version/18.0 Mobile/15E148 Safari/604.1";
/// What a link scanner says that passes for one.
pub(crate) const DISGUISE: &str =
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/140.0.0.0 Safari/537.36";

/// A client.
#[derive(Debug)]
pub(crate) struct Surfer {
    agent: &'static str,
    keeps: bool,
    from: &'static str,
    cookie: Mutex<String>,
}

impl Surfer {
    /// One that keeps cookies.
    pub(crate) fn new(agent: &'static str) -> Self {
        Self {
            agent,
            keeps: true,
            from: "",
            cookie: Mutex::default(),
        }
    }

    /// The same with cookies blocked.
    pub(crate) fn without_cookies(agent: &'static str) -> Self {
        Self {
            keeps: false,
            ..Self::new(agent)
        }
    }

    /// The same behind a balancer, which says that it comes from this address.
    pub(crate) fn behind_balancer(self, from: &'static str) -> Self {
        Self { from, ..self }
    }

    async fn send(
        &self,
        method: Method,
        url: &str,
        headers: &[(&str, &str)],
        body: String,
    ) -> Answer {
        let cookie = self.cookie.lock().unwrap().clone();
        let mut all = vec![("user-agent", self.agent)];
        if !cookie.is_empty() {
            all.push(("cookie", cookie.as_str()));
        }
        if !self.from.is_empty() {
            all.push(("x-forwarded-for", self.from));
        }
        all.extend_from_slice(headers);
        let answer = send(method, url, &all, body).await;
        let given = answer.header("set-cookie").split(';').next().unwrap();
        if self.keeps && !given.is_empty() {
            given.clone_into(&mut self.cookie.lock().unwrap());
        }
        answer
    }

    /// Opens a page.
    pub(crate) async fn open(&self, url: &str) -> Page {
        let answer = self.send(Method::GET, url, &[], String::new()).await;
        let view = answer
            .body
            .split_once("name=\"view\" value=\"")
            .map_or("", |(_, after)| after.split_once('"').unwrap().0);
        Page {
            view: view.to_owned(),
            address: url.split('?').next().unwrap().to_owned(),
            answer,
        }
    }

    /// Asks for the headers alone.
    pub(crate) async fn head(&self, url: &str) -> Answer {
        self.send(Method::HEAD, url, &[], String::new()).await
    }

    /// Posts fields to a page's address, and asks for this kind of answer.
    pub(crate) async fn post(&self, url: &str, fields: &[(&str, &str)], accept: &str) -> Answer {
        let headers = [
            ("content-type", "application/x-www-form-urlencoded"),
            ("accept", accept),
        ];
        let body = serde_urlencoded::to_string(fields).unwrap();
        self.send(Method::POST, url, &headers, body).await
    }

    /// Presses the page's button without any script. Whether the page came back with thanks for this score.
    pub(crate) async fn press(&self, page: &Page, score: &str) -> bool {
        let fields = [
            ("view", page.view.as_str()),
            ("event", "button"),
            ("signs", ""),
            ("score", score),
            ("comment", ""),
        ];
        let posted = self.post(&page.address, &fields, "text/html").await;
        assert!(matches!(posted.status, 303 | 400), "{posted:?}");
        let after = self.open(&page.address).await;
        after.answer.body.contains(&format!("rating: {score} ("))
    }

    /// Sends what the page's script would after an event.
    pub(crate) async fn tap(&self, page: &Page, score: &str, event: &str) -> Answer {
        let fields = [
            ("view", page.view.as_str()),
            ("event", event),
            ("signs", ""),
            ("score", score),
        ];
        self.post(&page.address, &fields, "application/json").await
    }
}

/// A page that was opened.
#[derive(Debug)]
pub(crate) struct Page {
    /// The one-time value in its form; empty if it has none.
    pub(crate) view: String,
    /// Its address without a query.
    pub(crate) address: String,
    /// The answer.
    pub(crate) answer: Answer,
}
