//! Somebody who is told by webhook: answers as it is told to, and remembers every call.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

/// For what is told to come. Only a broken service comes near.
const DEADLINE: Duration = Duration::from_secs(40);

/// One call.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    /// The headers.
    pub(crate) headers: HeaderMap,
    /// The body as it came.
    pub(crate) raw: Bytes,
    /// When it came.
    pub(crate) at: Instant,
}

impl Told {
    /// The `webhook-id`.
    pub(crate) fn id(&self) -> String {
        self.headers["webhook-id"].to_str().unwrap().to_owned()
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.raw).unwrap()
    }
}

/// How it answers.
#[derive(Debug, Clone)]
pub(crate) enum Manner {
    /// With this status and headers.
    Status(u16, Vec<(&'static str, String)>),
    /// With this status and these words.
    Says(u16, &'static str),
    /// With 400 to events of this type, with 204 to others.
    Refuses(&'static str),
    /// Not at all: the call hangs.
    Never,
    /// With bodies of this many bytes, for ever.
    Endless(usize),
}

/// The receiver. It listens until it is dropped.
pub(crate) struct Receiver {
    /// Where it listens.
    pub(crate) url: String,
    told: watch::Receiver<Vec<Told>>,
    manner: Arc<Mutex<Manner>>,
    _tasks: tokio::task::JoinSet<()>,
}

impl Receiver {
    /// Answers 204 to everything.
    pub(crate) async fn start() -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    /// The same on a listener of the test's.
    pub(crate) fn on(listener: TcpListener) -> Self {
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let (send, told) = watch::channel(Vec::new());
        let manner = Arc::new(Mutex::new(Manner::Status(204, Vec::new())));
        let (send, own) = (Arc::new(send), Arc::clone(&manner));
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(async move {
            let connections = TaskTracker::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (send, manner) = (Arc::clone(&send), Arc::clone(&own));
                let service = service_fn(move |request: Request<Incoming>| {
                    answer(request, Arc::clone(&send), manner.lock().unwrap().clone())
                });
                let connection =
                    http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                connections.spawn(async move { drop(connection.await) });
            }
        });
        Self {
            url,
            told,
            manner,
            _tasks: tasks,
        }
    }

    /// Answers otherwise from now on.
    pub(crate) fn answer(&self, manner: Manner) {
        *self.manner.lock().unwrap() = manner;
    }

    /// Answers with this status from now on.
    pub(crate) fn status(&self, status: u16) {
        self.answer(Manner::Status(status, Vec::new()));
    }

    /// Every call so far.
    pub(crate) fn told(&self) -> Vec<Told> {
        self.told.borrow().clone()
    }

    /// The same in the order of the stream: events of different requests are told side by side.
    pub(crate) fn sorted(&self) -> Vec<Told> {
        let mut told = self.told();
        told.sort_by_key(|told| told.json()["seq"].as_i64());
        told
    }

    /// The identifiers of every call so far.
    pub(crate) fn ids(&self) -> Vec<String> {
        self.told.borrow().iter().map(Told::id).collect()
    }

    /// The types of every call so far, in the order of the stream.
    pub(crate) fn types(&self) -> Vec<String> {
        let kind = |told: &Told| told.json()["type"].as_str().unwrap().to_owned();
        self.sorted().iter().map(kind).collect()
    }

    /// Waits for what is wanted of all calls.
    pub(crate) async fn wait(&self, mut wanted: impl FnMut(&[Told]) -> bool) {
        let mut told = self.told.clone();
        let come = timeout(DEADLINE, told.wait_for(|told| wanted(told))).await;
        assert!(come.is_ok(), "told {} times", self.told().len());
    }

    /// Waits until every one of these events was told.
    pub(crate) async fn wait_for(&self, ids: &BTreeSet<String>) {
        self.wait(|told| {
            let seen: BTreeSet<String> = told.iter().map(Told::id).collect();
            ids.is_subset(&seen)
        })
        .await;
    }
}

async fn answer(
    request: Request<Incoming>,
    send: Arc<watch::Sender<Vec<Told>>>,
    manner: Manner,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let (parts, body) = request.into_parts();
    let raw = body.collect().await?.to_bytes();
    let told = Told {
        headers: parts.headers,
        raw,
        at: Instant::now(),
    };
    let raw = told.raw.clone();
    send.send_modify(|all| all.push(told));
    Ok(match manner {
        Manner::Refuses(unwanted) => {
            let said: Value = serde_json::from_slice(&raw).unwrap();
            let refused = said["type"] == unwanted;
            let mut response = Response::new(Full::default());
            *response.status_mut() = StatusCode::from_u16(if refused { 400 } else { 204 }).unwrap();
            response
        }
        Manner::Never => std::future::pending().await,
        Manner::Endless(bytes) => Response::new(Full::new(vec![b'x'; bytes].into())),
        Manner::Says(status, words) => {
            let mut response = Response::new(Full::from(words));
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            response
        }
        Manner::Status(status, headers) => {
            let mut response = Response::new(Full::default());
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            for (name, value) in headers {
                response.headers_mut().insert(name, value.parse().unwrap());
            }
            response
        }
    })
}
