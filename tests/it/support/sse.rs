//! A reader of server-sent events.

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::Request;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use tokio::time::timeout;

/// For an event to come. Only a broken service comes near.
const DEADLINE: Duration = Duration::from_secs(40);

/// One event.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    /// Its `id`.
    pub(crate) seq: i64,
    /// Its `event`.
    pub(crate) kind: String,
    /// Its `data`.
    pub(crate) json: Value,
    /// When it was read.
    pub(crate) at: Instant,
}

/// An open stream.
pub(crate) struct Stream {
    /// The status of the answer.
    pub(crate) status: u16,
    /// Comments so far: signs of life.
    pub(crate) beats: usize,
    /// The last `id`, with an event or without.
    pub(crate) place: Option<i64>,
    body: Incoming,
    read: BytesMut,
}

impl Stream {
    /// Opens `path` of the service with this key, behind this event.
    pub(crate) async fn open(url: &str, path: &str, key: &str, last: Option<i64>) -> Self {
        let client: Client<HttpConnector, Empty<Bytes>> =
            Client::builder(TokioExecutor::new()).build_http();
        let mut request =
            Request::get(format!("{url}{path}")).header("authorization", format!("Bearer {key}"));
        if let Some(last) = last {
            request = request.header("last-event-id", last.to_string());
        }
        let response = client
            .request(request.body(Empty::new()).unwrap())
            .await
            .unwrap();
        Self {
            status: response.status().as_u16(),
            beats: 0,
            place: None,
            body: response.into_body(),
            read: BytesMut::new(),
        }
    }

    /// The next event; `None` when the stream has ended.
    pub(crate) async fn next(&mut self) -> Option<Event> {
        timeout(DEADLINE, async {
            loop {
                let block = self.block().await?;
                if let Some(event) = parse(&block) {
                    return Some(event);
                }
            }
        })
        .await
        .expect("an event, or the end")
    }

    /// Reads on until the last `id` is this one, and no event on the way.
    pub(crate) async fn come_to(&mut self, place: i64) {
        let reading = timeout(DEADLINE, async {
            while self.place != Some(place) {
                let block = self.block().await.expect("the stream goes on");
                assert!(parse(&block).is_none(), "{block}");
            }
        });
        reading.await.expect("a block with the place");
    }

    async fn block(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.read.windows(2).position(|two| two == b"\n\n") {
                let block = self.read.split_to(end + 2);
                let block = String::from_utf8(block.to_vec()).unwrap();
                self.beats += usize::from(block.starts_with(':'));
                let id = block.lines().find_map(|line| line.strip_prefix("id: "));
                self.place = id.map(|id| id.parse().unwrap()).or(self.place);
                return Some(block);
            }
            let frame = self.body.frame().await?.ok()?;
            self.read.extend_from_slice(frame.data_ref().unwrap());
        }
    }

    /// So many events.
    pub(crate) async fn take(&mut self, count: usize) -> Vec<Event> {
        let mut events = Vec::new();
        while events.len() < count {
            events.push(self.next().await.expect("the stream goes on"));
        }
        events
    }
}

/// A block without data is a comment or a setting.
fn parse(block: &str) -> Option<Event> {
    let field = |name: &str| {
        block
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    };
    let json = serde_json::from_str(field("data")?).unwrap();
    Some(Event {
        seq: field("id").unwrap().parse().unwrap(),
        kind: field("event").unwrap().to_owned(),
        json,
        at: Instant::now(),
    })
}
