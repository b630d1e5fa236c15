//! What the service is measured against and with, each in a process of its own: a bare hyper server that only reads and
//! answers, a pretend provider that takes a text after a pause, and whoever a webhook calls.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::work::sign;
use super::{Fault, heard};

/// Which of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Role {
    /// Reads JSON or a signed form, and answers.
    Floor,
    /// Takes a text after a pause.
    Provider,
    /// Is called by a webhook, and writes down what it is told.
    Receiver,
}

/// Where the pretend provider tells how many texts it took.
pub(crate) const COUNT: &str = "/count";

#[derive(Debug)]
struct Served {
    role: Role,
    pause: Duration,
    taken: AtomicU64,
    file: PathBuf,
}

/// Serves until standard input ends, which is when the bench that started it is gone.
pub(crate) async fn serve(
    role: Role,
    address: SocketAddr,
    pause: Duration,
    file: PathBuf,
) -> Result<(), Fault> {
    let listener = TcpListener::bind(address).await?;
    let served = Arc::new(Served {
        role,
        pause,
        taken: AtomicU64::new(0),
        file,
    });
    let mut connections = JoinSet::new();
    std::thread::spawn(|| {
        drop(std::io::copy(
            &mut std::io::stdin().lock(),
            &mut std::io::sink(),
        ));
        std::process::exit(0);
    });
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (stream, _) = accepted?;
                stream.set_nodelay(true)?;
                let served = Arc::clone(&served);
                connections.spawn(async move {
                    let service = service_fn(move |request| answer(Arc::clone(&served), request));
                    // A client that goes away is no concern of this server.
                    drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn answer(
    served: Arc<Served>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    let Ok(body) = body.collect().await else {
        return Ok(reply(StatusCode::BAD_REQUEST, "text/plain", "body"));
    };
    let body = body.to_bytes();
    Ok(match served.role {
        Role::Floor | Role::Receiver if parts.uri.path() == "/livez" => {
            reply(StatusCode::OK, "text/plain", "ok\n")
        }
        Role::Floor if parts.uri.path() == "/v1/requests" => trigger(&body),
        Role::Floor => {
            let given = parts.headers.get("x-twilio-signature");
            signed(
                &body,
                given.map_or(b"".as_slice(), |value| value.as_bytes()),
            )
        }
        Role::Receiver => {
            let noted = heard::line(&body).map(|line| heard::note(&served.file, &line));
            let status = match noted {
                Some(Ok(())) => StatusCode::NO_CONTENT,
                Some(Err(_)) => StatusCode::INTERNAL_SERVER_ERROR,
                None => StatusCode::BAD_REQUEST,
            };
            reply(status, "text/plain", "")
        }
        Role::Provider if parts.uri.path() == COUNT => {
            let taken = served.taken.load(Ordering::Relaxed).to_string();
            reply(StatusCode::OK, "text/plain", taken)
        }
        Role::Provider => {
            if !served.pause.is_zero() {
                tokio::time::sleep(served.pause).await;
            }
            let n = served.taken.fetch_add(1, Ordering::Relaxed);
            let text = format!("{{\"sid\":\"SM{n:032x}\",\"status\":\"queued\"}}");
            reply(StatusCode::CREATED, "application/json", text)
        }
    })
}

#[derive(Deserialize)]
struct Said {
    channel: String,
    to: String,
    conversation: String,
}

#[derive(Serialize)]
struct Taken<'a> {
    id: &'a str,
    channel: &'a str,
    state: &'a str,
}

fn trigger(body: &[u8]) -> Response<Full<Bytes>> {
    let Ok(said) = serde_json::from_slice::<Said>(body) else {
        return reply(StatusCode::BAD_REQUEST, "text/plain", "json");
    };
    let taken = Taken {
        id: &said.conversation,
        channel: &said.channel,
        state: if said.to.is_empty() {
            "suppressed"
        } else {
            "scheduled"
        },
    };
    let text = serde_json::to_vec(&taken).unwrap_or_default();
    reply(StatusCode::ACCEPTED, "application/json", text)
}

fn signed(body: &[u8], given: &[u8]) -> Response<Full<Bytes>> {
    if sign(body).as_bytes() != given {
        return reply(StatusCode::FORBIDDEN, "text/plain", "signature");
    }
    let text = "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Response><Message>Thank you!</Message></Response>";
    reply(StatusCode::OK, "text/xml", text)
}

fn reply(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let kind = header::HeaderValue::from_static(kind);
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}
