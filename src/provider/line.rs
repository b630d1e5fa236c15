//! One HTTP/1 connection at a time, for sends that must not happen twice.
//!
//! An ordinary pooled client opens connections when it likes and repeats requests when it sees fit. Here the caller first
//! opens the connection ([`Lines::open`]: TCP, TLS, nothing of the message), then commits its point of no return, then
//! sends once ([`HttpLine::send`]): no retry, no redirect, and a failure says whether a byte may have left ([`SendError`]).
//! Providers that speak HTTP call it; it knows nothing of their formats.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::HOST;
use http::{HeaderMap, HeaderValue, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use gate::{Gate, Watched};

mod gate;

/// How long things may take and how big they may get.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// For resolving, connecting and shaking hands together.
    pub connect: Duration,
    /// For one send, from its first byte to the last byte of the answer.
    pub total: Duration,
    /// The biggest answer body, in bytes.
    pub body: usize,
    /// The most connections kept for later.
    pub idle: usize,
    /// How long a connection is kept for later.
    pub idle_age: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            total: Duration::from_secs(10),
            body: 256 * 1024,
            idle: 16,
            idle_age: Duration::from_secs(30),
        }
    }
}

/// The base address cannot be used, or no TLS can be set up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BaseError(&'static str);

/// No connection: proof that nothing was sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {reason}")]
pub struct OpenError {
    /// `connect` or `connect_timeout`.
    pub code: &'static str,
    /// What the system said, for logs.
    pub reason: String,
}

/// A send without a complete answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}, wrote: {wrote}")]
pub struct SendError {
    /// Whether a byte of the request may have left. `false` is proof: the connection can write nothing any more.
    pub wrote: bool,
    /// `timeout`, `reset`, `closed`, `malformed` or `too_large`.
    pub code: String,
}

/// A complete answer.
#[derive(Debug, Clone)]
pub struct Response {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

/// Connections to one server.
#[derive(Debug, Clone)]
pub struct Lines {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    base: Uri,
    host: HeaderValue,
    limits: Limits,
    connector: HttpsConnector<HttpConnector>,
    idle: Mutex<VecDeque<Idle>>,
    tasks: TaskTracker,
}

#[derive(Debug)]
struct Idle {
    sender: SendRequest<Full<Bytes>>,
    gate: Arc<Gate>,
    since: Instant,
}

impl Lines {
    /// Connections to the server of `base`, `https` or (for tests and local doubles) `http`. Connects nowhere yet.
    pub fn new(base: Uri, limits: Limits) -> Result<Self, BaseError> {
        let known = matches!(base.scheme_str(), Some("http" | "https"));
        let authority = base
            .authority()
            .filter(|_| known)
            .ok_or(BaseError("must be an http or https address"))?;
        if authority.as_str().contains('@') {
            return Err(BaseError("must not contain a user name"));
        }
        let host = HeaderValue::from_str(authority.as_str())
            .map_err(|_| BaseError("has a host that cannot be used"))?;
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        // The provider of cryptography is named here, so that no process-wide default has to be installed.
        let connector = HttpsConnectorBuilder::new()
            .with_provider_and_webpki_roots(rustls::crypto::ring::default_provider())
            .map_err(|_| BaseError("needs TLS, which could not be set up"))?
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let (idle, tasks) = (Mutex::default(), TaskTracker::new());
        Ok(Self {
            shared: Arc::new(Shared {
                base,
                host,
                limits,
                connector,
                idle,
                tasks,
            }),
        })
    }

    /// A connection that is ready for one send: one kept from before, or a new one.
    pub async fn open(&self) -> Result<HttpLine, OpenError> {
        let deadline = Instant::now() + self.shared.limits.connect;
        // Lets the connections' tasks see what has arrived, such as the server's goodbye, before one of them is chosen.
        tokio::task::yield_now().await;
        while let Some(mut idle) = self.shared.take_idle() {
            // Right after an answer the connection needs a moment; one that needs longer is not worth waiting for.
            let soon = Instant::now() + Duration::from_millis(50);
            if matches!(
                timeout_at(soon.min(deadline), idle.sender.ready()).await,
                Ok(Ok(()))
            ) {
                idle.gate.open();
                return Ok(HttpLine {
                    shared: Arc::clone(&self.shared),
                    sender: idle.sender,
                    gate: idle.gate,
                });
            }
        }
        match timeout_at(deadline, self.connect()).await {
            Ok(opened) => opened.map_err(|reason| OpenError {
                code: "connect",
                reason,
            }),
            Err(_) => Err(OpenError {
                code: "connect_timeout",
                reason: "took too long".to_owned(),
            }),
        }
    }

    async fn connect(&self) -> Result<HttpLine, String> {
        let connector = self.shared.connector.clone();
        let stream = connector
            .oneshot(self.shared.base.clone())
            .await
            .map_err(|error| chain(error.as_ref()))?;
        let gate = Arc::new(Gate::default());
        let watched = Watched::new(stream, Arc::clone(&gate));
        let (mut sender, connection) = http1::handshake(watched)
            .await
            .map_err(|error| chain(&error))?;
        self.shared.tasks.spawn(async move {
            // Whatever ends the connection is reported to the send that uses it; an idle one may end as it likes.
            drop(connection.await);
        });
        sender.ready().await.map_err(|error| chain(&error))?;
        Ok(HttpLine {
            shared: Arc::clone(&self.shared),
            sender,
            gate,
        })
    }
}

impl Shared {
    fn idle(&self) -> MutexGuard<'_, VecDeque<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection used last, so that surplus ones grow old. They lie in the order in which they were kept, so the old ones are at
    /// the beginning; one of them that was closed meanwhile is dropped when it is its turn or its time.
    fn take_idle(&self) -> Option<Idle> {
        let now = Instant::now();
        let mut idle = self.idle();
        let old = |kept: &Idle| now.duration_since(kept.since) >= self.limits.idle_age;
        while idle.front().is_some_and(old) {
            idle.pop_front();
        }
        while let Some(kept) = idle.pop_back() {
            if !kept.sender.is_closed() {
                return Some(kept);
            }
        }
        None
    }
}

/// An open connection, good for one send.
#[derive(Debug)]
pub struct HttpLine {
    shared: Arc<Shared>,
    sender: SendRequest<Full<Bytes>>,
    gate: Arc<Gate>,
}

impl HttpLine {
    /// Sends once. The request's address is a path with its query; `Host` is filled in.
    pub async fn send(mut self, mut request: Request<Full<Bytes>>) -> Result<Response, SendError> {
        request
            .headers_mut()
            .entry(HOST)
            .or_insert_with(|| self.shared.host.clone());
        let limits = self.shared.limits;
        let code = match timeout(
            limits.total,
            exchange(&mut self.sender, request, limits.body),
        )
        .await
        {
            Ok(Ok(response)) => {
                self.keep();
                return Ok(response);
            }
            Ok(Err(code)) => code,
            Err(_) => "timeout",
        };
        Err(SendError {
            wrote: self.gate.shut(),
            code: code.to_owned(),
        })
    }

    fn keep(self) {
        let mut idle = self.shared.idle();
        if !self.sender.is_closed() && idle.len() < self.shared.limits.idle {
            idle.push_back(Idle {
                sender: self.sender,
                gate: self.gate,
                since: Instant::now(),
            });
        }
    }
}

async fn exchange(
    sender: &mut SendRequest<Full<Bytes>>,
    request: Request<Full<Bytes>>,
    limit: usize,
) -> Result<Response, &'static str> {
    let (parts, body) = sender
        .send_request(request)
        .await
        .map_err(|error| code_of(&error))?
        .into_parts();
    let body = Limited::new(body, limit).collect().await.map_err(|error| {
        if error.is::<LengthLimitError>() {
            "too_large"
        } else {
            error.downcast_ref().map_or("reset", code_of)
        }
    })?;
    Ok(Response {
        status: parts.status,
        headers: parts.headers,
        body: body.to_bytes(),
    })
}

fn code_of(error: &hyper::Error) -> &'static str {
    if error.is_parse() {
        "malformed"
    } else if error.is_canceled() || error.is_closed() {
        "closed"
    } else {
        "reset"
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

    fn short() -> Limits {
        Limits {
            total: Duration::from_millis(200),
            ..Limits::default()
        }
    }

    fn lines(to: SocketAddr, limits: Limits) -> Lines {
        Lines::new(format!("http://{to}").parse().unwrap(), limits).unwrap()
    }

    fn request() -> Request<Full<Bytes>> {
        Request::post("/x?y=1")
            .body(Full::new(Bytes::from_static(b"a=b")))
            .unwrap()
    }

    async fn listener() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    /// Reads one request to its end, which is `a=b` here.
    async fn read_request(stream: &mut TcpStream) -> String {
        let mut text = String::new();
        let mut buffer = [0; 1024];
        while !text.ends_with("a=b") {
            let n = stream.read(&mut buffer).await.unwrap();
            assert!(n > 0, "the client must send its whole request");
            text.push_str(std::str::from_utf8(&buffer[..n]).unwrap());
        }
        text
    }

    #[tokio::test]
    async fn a_refused_connection_is_found_before_the_send() {
        let (gone, address) = listener().await;
        drop(gone);
        assert_eq!(
            lines(address, short()).open().await.unwrap_err().code,
            "connect"
        );
    }

    #[tokio::test]
    async fn a_failed_handshake_is_found_before_the_send() {
        let (server, address) = listener().await;
        let lines = Lines::new(format!("https://{address}").parse().unwrap(), short()).unwrap();
        let serve = async {
            let (mut stream, _) = server.accept().await.unwrap();
            stream.write_all(b"220 this is no TLS\r\n").await.unwrap();
            stream
        };
        let (_stream, opened) = tokio::join!(serve, lines.open());
        assert_eq!(opened.unwrap_err().code, "connect");
    }

    #[tokio::test]
    async fn a_silent_handshake_ends_in_time() {
        let (_server, address) = listener().await;
        let limits = Limits {
            connect: Duration::from_millis(100),
            ..Limits::default()
        };
        let lines = Lines::new(format!("https://{address}").parse().unwrap(), limits).unwrap();
        assert_eq!(lines.open().await.unwrap_err().code, "connect_timeout");
    }

    #[tokio::test]
    async fn the_same_connection_carries_two_sends() {
        let (server, address) = listener().await;
        let lines = lines(address, Limits::default());
        let serve = async {
            let (mut stream, _) = server.accept().await.unwrap();
            let first = read_request(&mut stream).await;
            stream.write_all(OK.as_bytes()).await.unwrap();
            read_request(&mut stream).await;
            stream.write_all(OK.as_bytes()).await.unwrap();
            first
        };
        let send = async {
            for _ in 0..2 {
                let answer = lines.open().await.unwrap().send(request()).await.unwrap();
                assert_eq!(
                    (answer.status.as_u16(), &answer.body[..]),
                    (200, &b"ok"[..])
                );
            }
        };
        let (first, ()) = tokio::join!(serve, send);
        assert!(first.starts_with("POST /x?y=1 HTTP/1.1\r\n"), "{first}");
        assert!(first.contains(&format!("host: {address}\r\n")), "{first}");
    }

    #[tokio::test]
    async fn an_old_connection_is_not_used_again() {
        let (server, address) = listener().await;
        let lines = lines(
            address,
            Limits {
                idle_age: Duration::ZERO,
                ..Limits::default()
            },
        );
        let serve = async {
            for _ in 0..2 {
                let (mut stream, _) = server.accept().await.unwrap();
                read_request(&mut stream).await;
                stream.write_all(OK.as_bytes()).await.unwrap();
            }
        };
        let send = async {
            for _ in 0..2 {
                lines.open().await.unwrap().send(request()).await.unwrap();
            }
        };
        tokio::join!(serve, send);
    }

    #[tokio::test]
    async fn a_connection_that_the_server_closed_is_replaced_at_open() {
        let (server, address) = listener().await;
        let lines = lines(address, Limits::default());
        let (closed, wait) = tokio::sync::oneshot::channel();
        let serve = async {
            let (mut stream, _) = server.accept().await.unwrap();
            read_request(&mut stream).await;
            stream.write_all(OK.as_bytes()).await.unwrap();
            drop(stream);
            closed.send(()).unwrap();
            let (mut stream, _) = server.accept().await.unwrap();
            read_request(&mut stream).await;
            stream.write_all(OK.as_bytes()).await.unwrap();
        };
        let send = async {
            lines.open().await.unwrap().send(request()).await.unwrap();
            wait.await.unwrap();
            lines.open().await.unwrap().send(request()).await.unwrap();
        };
        tokio::join!(serve, send);
    }

    #[tokio::test]
    async fn a_server_that_reads_and_closes_leaves_a_doubt() {
        let (server, address) = listener().await;
        let lines = lines(address, Limits::default());
        let serve = async { read_request(&mut server.accept().await.unwrap().0).await };
        let send = async {
            lines
                .open()
                .await
                .unwrap()
                .send(request())
                .await
                .unwrap_err()
        };
        let (_, error) = tokio::join!(serve, send);
        assert_eq!(
            error,
            SendError {
                wrote: true,
                code: "reset".to_owned()
            }
        );
    }

    #[tokio::test]
    async fn a_silent_server_leaves_a_doubt() {
        let (server, address) = listener().await;
        let line = lines(address, short()).open().await.unwrap();
        let error = line.send(request()).await.unwrap_err();
        assert_eq!(
            error,
            SendError {
                wrote: true,
                code: "timeout".to_owned()
            }
        );
        drop(server);
    }

    #[tokio::test]
    async fn a_line_that_closed_before_the_send_proves_that_nothing_left() {
        let (server, address) = listener().await;
        let lines = lines(address, Limits::default());
        let (line, accepted) = tokio::join!(lines.open(), server.accept());
        let mut line = line.unwrap();
        drop(accepted);
        // Waits until the connection's task has seen the end.
        while !line.sender.is_closed() {
            tokio::task::yield_now().await;
        }
        assert!(line.sender.ready().await.is_err());
        assert_eq!(
            line.send(request()).await.unwrap_err(),
            SendError {
                wrote: false,
                code: "closed".to_owned()
            }
        );
    }

    #[tokio::test]
    async fn a_body_above_the_limit_is_no_answer() {
        let (server, address) = listener().await;
        let lines = lines(
            address,
            Limits {
                body: 1,
                ..Limits::default()
            },
        );
        let serve = async {
            let (mut stream, _) = server.accept().await.unwrap();
            read_request(&mut stream).await;
            stream.write_all(OK.as_bytes()).await.unwrap();
        };
        let send = async {
            lines
                .open()
                .await
                .unwrap()
                .send(request())
                .await
                .unwrap_err()
        };
        let ((), error) = tokio::join!(serve, send);
        assert_eq!(
            error,
            SendError {
                wrote: true,
                code: "too_large".to_owned()
            }
        );
    }

    #[test]
    fn only_http_addresses_are_servers() {
        for bad in ["/path", "ftp://example.com", "https://user@example.com"] {
            assert!(
                Lines::new(bad.parse().unwrap(), Limits::default()).is_err(),
                "{bad}"
            );
        }
    }
}
