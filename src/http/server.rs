//! The accept loop: our own on hyper, because deadlines and limits begin before there is a request.
//!
//! HTTP/1 only: hyper's automatic builder has no deadline until the first bytes tell the version, so a silent connection
//! would stay for ever. Deadlines: header (also the pause between two requests), whole request; bodies have theirs in
//! `http::body`. Limits: connections in all and per peer address.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use http::{Request, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use super::error::Problem;
use crate::metrics::Metrics;

/// Deadlines and limits of a listener.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections in all.
    pub connections: usize,
    /// Connections from one address.
    pub per_peer: usize,
    /// For a request's header, and for the pause between two requests.
    pub header: Duration,
    /// For a whole request, and for a peer to take the next bytes of an answer.
    pub request: Duration,
    /// For what is in flight when we stop.
    pub drain: Duration,
}

/// Headers of one request: their number, and their bytes in all.
const HEADERS_MAX: usize = 64;
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// After an error of the listener itself, such as no file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// When a listener stops, in two steps.
#[derive(Debug, Clone, Default)]
pub struct Leaving {
    /// The first: everything is still served, but each connection ends after its next answer, so that who keeps connections
    /// moves on to another replica without losing a request.
    pub draining: CancellationToken,
    /// The second: no new connections, idle ones are closed, what is in flight is finished.
    pub closed: CancellationToken,
}

/// Serves `router` on `listener` until it is closed, and finishes what is in flight.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    metrics: Metrics,
    leaving: Leaving,
) {
    let room = Room {
        router,
        limits,
        metrics,
        draining: leaving.draining,
        graceful: GracefulShutdown::new(),
        tasks: TaskTracker::new(),
    };
    let all = Arc::new(Semaphore::new(limits.connections));
    let peers = Peers::default();
    let refused = &room.metrics.http_refused;
    loop {
        let accepted = tokio::select! {
            () = leaving.closed.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Ok(permit) = Arc::clone(&all).try_acquire_owned() else {
            refused.with_label_values(&["connections"]).inc();
            continue;
        };
        let Some(seat) = peers.sit(peer.ip(), limits.per_peer) else {
            refused.with_label_values(&["connections_per_peer"]).inc();
            continue;
        };
        room.seat(stream, peer, (permit, seat));
    }
    drop(listener);
    room.tasks.close();
    // Idle connections close at once, busy ones after their answer; whoever is still here after the deadline is cut off.
    if tokio::time::timeout(limits.drain, room.graceful.shutdown())
        .await
        .is_err()
    {
        tracing::warn!("connections were still open at the end of the drain and are closed");
    }
}

/// What the connections of a listener share.
struct Room {
    router: Router,
    limits: Limits,
    metrics: Metrics,
    draining: CancellationToken,
    graceful: GracefulShutdown,
    tasks: TaskTracker,
}

impl Room {
    /// Serves one connection, which holds its places until it ends.
    fn seat(&self, stream: TcpStream, peer: SocketAddr, held: (OwnedSemaphorePermit, Seat)) {
        // Small answers must not wait for more to send.
        let _ = stream.set_nodelay(true);
        let (router, limits) = (self.router.clone(), self.limits);
        let draining = self.draining.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            let (router, draining) = (router.clone(), draining.clone());
            async move {
                let mut request = request.map(Body::new);
                request
                    .extensions_mut()
                    .insert(axum::extract::ConnectInfo(peer));
                let mut response = answer(router, request, limits.request).await;
                if draining.is_cancelled() {
                    last(&mut response);
                }
                Ok::<Response, std::convert::Infallible>(response)
            }
        });
        let mut stream = TimeoutStream::new(stream);
        // An answer may go on for as long as it likes, but not for one who does not read it.
        stream.set_write_timeout(Some(limits.request));
        let stream = Box::pin(stream);
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.header)
            .max_headers(HEADERS_MAX)
            .max_buf_size(HEAD_BYTES_MAX)
            .serve_connection(TokioIo::new(stream), service);
        let watched = self.graceful.watch(connection);
        let open = self.metrics.http_connections.clone();
        self.tasks.spawn(async move {
            open.inc();
            // What breaks a connection is the peer's business; what we did wrong is logged where it happened.
            if let Err(error) = watched.await {
                tracing::debug!(%error, "a connection ended");
            }
            open.dec();
            drop(held);
        });
    }
}

/// Makes this the last answer of its connection.
fn last(response: &mut Response) {
    let close = header::HeaderValue::from_static("close");
    response.headers_mut().insert(header::CONNECTION, close);
}

async fn answer(router: Router, request: Request<Body>, within: Duration) -> Response {
    match tokio::time::timeout(within, router.oneshot(request)).await {
        Ok(Ok(response)) => response,
        Ok(Err(never)) => match never {},
        Err(_) => {
            // The handler is dropped here. What it handed to the store stands or not, as for any lost connection.
            let mut response = Problem::new("unavailable", "It took too long.").into_response();
            last(&mut response);
            response
        }
    }
}

/// How many connections each peer has.
#[derive(Debug, Clone, Default)]
struct Peers(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// One connection's place; leaving it frees it.
struct Seat {
    peers: Peers,
    peer: IpAddr,
}

impl Peers {
    fn sit(&self, peer: IpAddr, limit: usize) -> Option<Seat> {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = taken.entry(peer).or_insert(0);
        if *count >= limit {
            return None;
        }
        *count += 1;
        Some(Seat {
            peers: self.clone(),
            peer,
        })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.peers.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&self.peer) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_gets_its_places_and_leaves_none_behind() {
        let peers = Peers::default();
        let ip: IpAddr = [127, 0, 0, 1].into();
        let seats: Vec<Option<Seat>> = (0..3).map(|_| peers.sit(ip, 2)).collect();
        assert_eq!(seats.iter().filter(|seat| seat.is_some()).count(), 2);
        drop(seats);
        assert!(peers.0.lock().unwrap().is_empty());
    }
}
