//! The HTTP client of sinks: pooled connections, deadlines, no redirects, no proxies, and addresses that are judged as they are dialled.
//!
//! What it sends is harmless to repeat, so unlike a provider's line it need not know which byte has left. A name is resolved here, all
//! its addresses are judged, and exactly these are dialled; an address in the place of a name goes round the resolver of hyper-util,
//! so it is judged before.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::{Instant, timeout_at};
use tower::Service;

pub use super::networks::Networks;

/// Bytes of an answer that are read so that its connection can be used again; a longer one is cut off.
const ANSWER_MAX: usize = 64 * 1024;
/// For resolving, and for connecting.
const CONNECT: Duration = Duration::from_secs(5);
/// How long a connection is kept for later, and how many to one host.
const IDLE: Duration = Duration::from_secs(30);
const IDLE_PER_HOST: usize = 8;
/// How we introduce ourselves.
const AGENT: &str = concat!("onefive/", env!("CARGO_PKG_VERSION"));

/// Addresses of a name, in a box because resolvers differ.
pub type Resolved = Pin<Box<dyn Future<Output = std::io::Result<Vec<SocketAddr>>> + Send>>;
/// Finds the addresses of a name.
pub type Resolve = Arc<dyn Fn(String) -> Resolved + Send + Sync>;

/// Why there is no answer. Each is a fixed word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The address is one that may not be called.
    #[error("address_refused")]
    Refused,
    /// The name has no address.
    #[error("resolve")]
    Resolve,
    /// No connection, or no TLS.
    #[error("connect")]
    Connect,
    /// It took too long.
    #[error("timeout")]
    Timeout,
    /// The connection ended, or what came back is no HTTP.
    #[error("broken")]
    Broken,
}

impl SendError {
    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "address_refused",
            Self::Resolve => "resolve",
            Self::Connect => "connect",
            Self::Timeout => "timeout",
            Self::Broken => "broken",
        }
    }
}

/// An answer without its body.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
}

/// A client.
#[derive(Clone)]
pub struct Client {
    pool: Pool<HttpsConnector<HttpConnector<Guard>>, Full<Bytes>>,
    guard: Guard,
    total: Duration,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("networks", &self.guard.networks)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// A client that calls these networks and waits for so long. `None` if no TLS can be set up.
    pub fn new(networks: Networks, total: Duration) -> Option<Self> {
        let system: Resolve = Arc::new(|name| {
            Box::pin(async move {
                let found = tokio::net::lookup_host((name, 0)).await?;
                Ok(found.collect())
            })
        });
        Self::resolving(networks, total, system)
    }

    /// The same with a resolver of its own.
    pub fn resolving(networks: Networks, total: Duration, resolve: Resolve) -> Option<Self> {
        let guard = Guard { networks, resolve };
        let mut tcp = HttpConnector::new_with_resolver(guard.clone());
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT));
        // The provider of cryptography is named here, so that no process-wide default has to be installed.
        let connector = HttpsConnectorBuilder::new()
            .with_provider_and_webpki_roots(rustls::crypto::ring::default_provider())
            .ok()?
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let pool = Pool::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(IDLE_PER_HOST)
            .build(connector);
        Some(Self { pool, guard, total })
    }

    /// Whether the host of this address may be called now.
    pub async fn vet(&self, uri: &Uri) -> Result<(), SendError> {
        let host = uri.host().unwrap_or_default();
        if let Some(address) = literal(host) {
            return self.guard.judge(address);
        }
        let found = self.guard.look_up(host.to_owned()).await;
        found.map(|_| ())
    }

    /// Sends once and waits for the whole answer, of which little is read and nothing kept.
    pub async fn send(&self, mut request: Request<Full<Bytes>>) -> Result<Answer, SendError> {
        if let Some(address) = literal(request.uri().host().unwrap_or_default()) {
            self.guard.judge(address)?;
        }
        let agent = header::HeaderValue::from_static(AGENT);
        request.headers_mut().insert(header::USER_AGENT, agent);
        let deadline = Instant::now() + self.total;
        let response = timeout_at(deadline, self.pool.request(request))
            .await
            .map_err(|_| SendError::Timeout)?
            .map_err(|error| cause(&error, error.is_connect()))?;
        let (parts, mut body) = response.into_parts();
        // The status says it all. The rest is read for the sake of the connection, as long as that is cheap.
        let mut read = 0;
        while read <= ANSWER_MAX {
            match timeout_at(deadline, body.frame()).await {
                Ok(Some(Ok(frame))) => read += frame.data_ref().map_or(0, Bytes::len),
                Ok(Some(Err(_)) | None) | Err(_) => break,
            }
        }
        Ok(Answer {
            status: parts.status,
            headers: parts.headers,
        })
    }
}

/// The address that stands in the place of a name.
fn literal(host: &str) -> Option<IpAddr> {
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    bare.unwrap_or(host).parse().ok()
}

/// What lies behind an error of the pool.
fn cause(error: &(dyn std::error::Error + 'static), connect: bool) -> SendError {
    let mut inner = Some(error);
    while let Some(error) = inner {
        if let Some(known) = error.downcast_ref::<SendError>() {
            return *known;
        }
        inner = error.source();
    }
    if connect {
        SendError::Connect
    } else {
        SendError::Broken
    }
}

/// Resolves names and judges every address that is dialled.
#[derive(Clone)]
struct Guard {
    networks: Networks,
    resolve: Resolve,
}

impl Guard {
    fn judge(&self, address: IpAddr) -> Result<(), SendError> {
        if self.networks.allow(address) {
            Ok(())
        } else {
            Err(SendError::Refused)
        }
    }

    /// All addresses of a name. One that may not be called spoils them all: a name that points to both is no mistake.
    async fn look_up(&self, name: String) -> Result<std::vec::IntoIter<SocketAddr>, SendError> {
        let found = tokio::time::timeout(CONNECT, (self.resolve)(name)).await;
        let found = found
            .map_err(|_| SendError::Timeout)?
            .map_err(|_| SendError::Resolve)?;
        if found.is_empty() {
            return Err(SendError::Resolve);
        }
        for address in &found {
            self.judge(address.ip())?;
        }
        Ok(found.into_iter())
    }
}

impl Service<Name> for Guard {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = SendError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let guard = self.clone();
        Box::pin(async move { guard.look_up(name.as_str().to_owned()).await })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn post(url: &str) -> Request<Full<Bytes>> {
        Request::post(url).body(Full::default()).unwrap()
    }

    /// Names have these addresses, one list after the other.
    fn scripted(lists: &[&[&str]]) -> Resolve {
        let lists: Vec<Vec<SocketAddr>> = lists
            .iter()
            .map(|list| {
                list.iter()
                    .map(|ip| SocketAddr::new(ip.parse().unwrap(), 0))
                    .collect()
            })
            .collect();
        let asked = AtomicUsize::new(0);
        Arc::new(move |_| {
            let at = asked.fetch_add(1, Ordering::SeqCst).min(lists.len() - 1);
            let list = lists[at].clone();
            Box::pin(async move { Ok(list) })
        })
    }

    #[tokio::test]
    async fn a_name_that_points_elsewhere_later_is_refused_when_it_is_dialled() {
        // Nobody may connect here: the test would hang at the accept otherwise, and the answer would not be a refusal.
        let inside = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = inside.local_addr().unwrap().port();
        let resolve = scripted(&[&["93.184.216.34"], &["127.0.0.1"]]);
        let client = Client::resolving(Networks::PublicAnd(Vec::new()), SECOND, resolve).unwrap();
        let url = format!("http://rebind.example.com:{port}/");
        assert_eq!(client.vet(&url.parse().unwrap()).await, Ok(()));
        assert_eq!(
            client.send(post(&url)).await.unwrap_err(),
            SendError::Refused
        );
        let come = tokio::time::timeout(Duration::from_millis(50), inside.accept()).await;
        assert!(come.is_err(), "nobody was connected to");
    }

    #[tokio::test]
    async fn one_bad_address_spoils_a_name() {
        let resolve = scripted(&[&["93.184.216.34", "10.0.0.1"]]);
        let client = Client::resolving(Networks::PublicAnd(Vec::new()), SECOND, resolve).unwrap();
        let uri = "https://both.example.com/".parse().unwrap();
        assert_eq!(client.vet(&uri).await, Err(SendError::Refused));
    }

    #[tokio::test]
    async fn an_address_in_the_place_of_a_name_is_judged_too_in_every_spelling() {
        let client = Client::new(Networks::PublicAnd(Vec::new()), SECOND).unwrap();
        for host in [
            "127.0.0.1",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "169.254.169.254",
            "localhost",
            "2130706433",
            "0x7f.1",
            "127.1",
        ] {
            let url = format!("http://{host}:9/");
            let refused = client.send(post(&url)).await.unwrap_err();
            // What the system's resolver does not take for an address is none.
            assert!(
                matches!(refused, SendError::Refused | SendError::Resolve),
                "{host}: {refused}"
            );
        }
    }

    #[tokio::test]
    async fn what_does_not_answer_ends_in_time() {
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", silent.local_addr().unwrap());
        let client = Client::new(Networks::Every, Duration::from_millis(50)).unwrap();
        let sent = tokio::time::timeout(SECOND * 10, client.send(post(&url)));
        assert_eq!(sent.await.unwrap().unwrap_err(), SendError::Timeout);
        drop(silent);
        assert_eq!(
            client.send(post(&url)).await.unwrap_err(),
            SendError::Connect
        );
    }

    #[tokio::test]
    async fn an_answer_without_end_is_not_read_to_the_deadline() {
        let endless = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", endless.local_addr().unwrap());
        let talk = async {
            let (mut stream, _) = endless.accept().await.unwrap();
            assert!(stream.read(&mut [0; 1_024]).await.unwrap() > 0);
            let head = b"HTTP/1.1 200 OK\r\ncontent-length: 9000000000000\r\n\r\n";
            stream.write_all(head).await.unwrap();
            while stream.write_all(&[b'x'; 1_024]).await.is_ok() {}
            std::future::pending::<()>().await;
        };
        let client = Client::new(Networks::Every, SECOND * 60).unwrap();
        let sent = tokio::time::timeout(SECOND * 30, client.send(post(&url)));
        tokio::select! {
            answer = sent => assert_eq!(answer.unwrap().unwrap().status, StatusCode::OK),
            () = talk => {}
        }
    }
}
