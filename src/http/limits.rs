//! Who tries doors, and who calls too often.
//!
//! A link, a token or a key that is not ours is a miss. Misses are counted by network (a /24 of IPv4, a /48 of IPv6); one that made
//! too many gets 429 for further misses, whatever is wrong with them, and its hits go through as before: customers behind one
//! address must not shut each other out. Calls of the API are counted by key, after it proved itself.
//!
//! Addresses are used here in memory only, and forgotten as soon as they bound nothing. Each replica counts on its own.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::extract::{ConnectInfo, MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use governor::clock::Clock as GovernorClock;
use governor::middleware::StateInformationMiddleware;
use governor::nanos::Nanos;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use ipnet::IpNet;

use super::client::client;
use super::error::Problem;
use super::{Doors, pages};
use crate::clock::Clock;
use crate::domain::view::network;

/// Misses that a network may make at once; and how long it takes to earn one back. 20 in ten minutes.
const MISSES: NonZeroU32 = NonZeroU32::MIN.saturating_add(19);
const MISS_EVERY: Duration = Duration::from_secs(30);
/// Networks and keys remembered at most; beyond that a stranger's miss is one too many.
const REMEMBERED: usize = 100_000;
/// After so many misses or calls what bounds nothing any more is forgotten.
const FORGET_EVERY: u32 = 4_096;

/// Our clock as the limiter reads it.
#[derive(Clone)]
struct Ticks(Arc<dyn Clock>);

impl GovernorClock for Ticks {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        let millis = u64::try_from(self.0.now().as_millis()).unwrap_or(0);
        Nanos::new(millis.saturating_mul(1_000_000))
    }
}

type Limiter<K> = RateLimiter<K, DashMapStateStore<K>, Ticks, StateInformationMiddleware>;

/// What callers are allowed.
#[derive(Debug, Clone)]
pub struct LimitSettings {
    /// Calls a second of one API key; 0 for no limit.
    pub calls_per_second: u32,
    /// Calls of one API key at once.
    pub calls_burst: u32,
    /// Networks of balancers whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
}

/// The counts.
#[derive(Clone)]
pub struct Limits(Arc<Counts>);

struct Counts {
    clock: Ticks,
    calls: Option<Calls>,
    misses: Limiter<(&'static str, String)>,
    trusted: Vec<IpNet>,
    counted: AtomicU32,
}

struct Calls {
    limiter: Limiter<String>,
    /// The value of `RateLimit-Policy`.
    policy: HeaderValue,
    per_second: u32,
    burst: u32,
}

impl std::fmt::Debug for Limits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Limits")
    }
}

/// Whether a call of a key may go on, and what its answer says about that.
struct Allowance {
    /// Calls that may follow at once.
    remaining: u32,
    /// Seconds until a call is allowed again; 0 if it is now.
    wait: u32,
    /// Seconds until everything is allowed again.
    reset: u32,
    policy: HeaderValue,
}

impl Limits {
    /// Nothing counted yet.
    pub fn new(settings: &LimitSettings, clock: Arc<dyn Clock>) -> Self {
        let clock = Ticks(clock);
        let calls = NonZeroU32::new(settings.calls_per_second)
            .zip(NonZeroU32::new(settings.calls_burst))
            .and_then(|(per_second, burst)| {
                let quota = Quota::per_second(per_second).allow_burst(burst);
                let window = burst.get().div_ceil(per_second.get());
                let policy = format!("\"key\";q={burst};w={window}");
                Some(Calls {
                    limiter: limiter(quota, &clock),
                    policy: HeaderValue::from_str(&policy).ok()?,
                    per_second: per_second.get(),
                    burst: burst.get(),
                })
            });
        let one = Quota::with_period(MISS_EVERY);
        let quota = one.unwrap_or(Quota::per_minute(NonZeroU32::MIN));
        Self(Arc::new(Counts {
            misses: limiter(quota.allow_burst(MISSES), &clock),
            calls,
            trusted: settings.trusted_proxies.clone(),
            counted: AtomicU32::new(0),
            clock,
        }))
    }

    /// The address of whoever calls: the peer, or whom a balancer that we trust says.
    pub(super) fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        client(peer, headers, &self.0.trusted)
    }

    /// Counts a call of a key; `None` where calls have no limit.
    fn call(&self, handle: &str) -> Option<Allowance> {
        let calls = self.0.calls.as_ref()?;
        self.forget();
        let (remaining, wait) = match calls.limiter.check_key(&handle.to_owned()) {
            Ok(state) => (state.remaining_burst_capacity(), 0),
            Err(until) => {
                let wait = until.wait_time_from(self.0.clock.now());
                // Rounded up: who comes back after it is let in.
                let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
                (0, u32::try_from(seconds).unwrap_or(u32::MAX).max(1))
            }
        };
        let reset = (calls.burst - remaining.min(calls.burst)).div_ceil(calls.per_second);
        Some(Allowance {
            remaining,
            wait,
            reset,
            policy: calls.policy.clone(),
        })
    }

    /// Counts a miss of a network at a door; the seconds to wait if it made too many.
    fn miss(&self, door: &'static str, network: String) -> Option<u32> {
        self.forget();
        let misses = &self.0.misses;
        if misses.len() >= REMEMBERED {
            return Some(60);
        }
        match misses.check_key(&(door, network)) {
            Ok(_) => None,
            Err(until) => {
                let wait = until.wait_time_from(self.0.clock.now()).as_secs() + 1;
                Some(u32::try_from(wait).unwrap_or(u32::MAX))
            }
        }
    }

    /// Now and then: what was allowed everything again needs no memory.
    fn forget(&self) {
        let n = self.0.counted.fetch_add(1, Ordering::Relaxed);
        if n % FORGET_EVERY != FORGET_EVERY - 1 {
            return;
        }
        self.0.misses.retain_recent();
        self.0.misses.shrink_to_fit();
        if let Some(calls) = &self.0.calls {
            calls.limiter.retain_recent();
            calls.limiter.shrink_to_fit();
        }
    }
}

fn limiter<K: std::hash::Hash + Eq + Clone>(quota: Quota, clock: &Ticks) -> Limiter<K> {
    Limiter::new(quota, DashMapStateStore::default(), clock.clone())
}

/// The door that an address leads to, and whether this answer means that what was presented there is not ours.
fn missed(route: &str, status: StatusCode) -> Option<&'static str> {
    let gone = status == StatusCode::NOT_FOUND;
    let strange = gone || status == StatusCode::FORBIDDEN;
    match route {
        "/r/{token}" | "/r/{token}/all" | "/u/{token}" if gone => Some("page"),
        "/w/{token}" | "/w/{token}/shown" if gone => Some("chat"),
        "/hooks/{provider}/{*path}" if strange => Some("hook"),
        _ if status == StatusCode::UNAUTHORIZED => Some("key"),
        _ => None,
    }
}

/// Stands around every route: counts the calls of keys before, and misses after.
pub(super) async fn limit(State(doors): State<Doors>, request: Request, next: Next) -> Response {
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or_else(String::new, |path| path.as_str().to_owned());
    let peer = request
        .extensions()
        .get::<ConnectInfo<std::net::SocketAddr>>()
        .map(|ConnectInfo(peer)| peer.ip());
    let client = peer.map(|peer| doors.limits.client(peer, request.headers()));
    let status_hook = request.uri().path().contains("/status/");
    // Who forgot the key does not try keys.
    let presented = request.headers().contains_key(header::AUTHORIZATION);
    let reader = wants_page(request.headers());

    let allowance = if route.starts_with("/v1/") {
        doors.allowance(request.headers()).await
    } else {
        None
    };
    let mut response = match &allowance {
        Some(allowance) if allowance.wait > 0 => {
            doors.journey.metrics.privacy.calls_limited.inc();
            too_many(allowance.wait, "The key makes too many calls.").into_response()
        }
        _ => next.run(request).await,
    };
    if let Some(allowance) = allowance {
        say(&mut response, &allowance);
    }

    let door = missed(&route, response.status()).filter(|door| match *door {
        "hook" => status_hook,
        "key" => presented,
        _ => true,
    });
    let Some((door, client)) = door.zip(client) else {
        return response;
    };
    let metrics = &doors.journey.metrics.privacy;
    metrics.misses.with_label_values(&[door]).inc();
    let Some(wait) = doors.limits.miss(door, network(client)) else {
        // Whatever was wrong with the link: the same page.
        return if door == "page" && reader {
            pages::not_found(&doors)
        } else {
            response
        };
    };
    metrics.misses_limited.with_label_values(&[door]).inc();
    let mut answer = too_many(wait, "Too many attempts.").into_response();
    if door == "chat" {
        let any = HeaderValue::from_static("*");
        let name = header::ACCESS_CONTROL_ALLOW_ORIGIN;
        answer.headers_mut().insert(name, any);
    }
    answer
}

/// Whether a page is wanted and not data.
fn wants_page(headers: &HeaderMap) -> bool {
    !super::header_text(headers, header::ACCEPT).contains("application/json")
}

fn too_many(wait: u32, detail: &str) -> Problem {
    Problem {
        retry_after: Some(wait),
        ..Problem::new("rate_limited", detail)
    }
}

/// `RateLimit-Policy` and `RateLimit` as draft-ietf-httpapi-ratelimit-headers-10 has them: the quota and its window in seconds; what
/// is left of it, and the seconds until all of it is there again.
fn say(response: &mut Response, allowance: &Allowance) {
    let (remaining, reset) = (allowance.remaining, allowance.reset.max(allowance.wait));
    let now = HeaderValue::from_str(&format!("\"key\";r={remaining};t={reset}"));
    let headers = response.headers_mut();
    headers.insert("ratelimit-policy", allowance.policy.clone());
    if let Ok(now) = now {
        headers.insert("ratelimit", now);
    }
}

impl Doors {
    /// Counts the call if a key of ours is presented.
    async fn allowance(&self, headers: &HeaderMap) -> Option<Allowance> {
        // Whoever has no limit pays nothing for it. A store that cannot be asked tells the handler, which answers.
        self.limits.0.calls.as_ref()?;
        let known = self.identify(headers).await.ok()?;
        self.limits.call(&known.key.handle)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;
    use crate::domain::time::Timestamp;

    fn limits(calls_per_second: u32, calls_burst: u32) -> (Limits, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::at(Timestamp::from_millis(1_700_000_000_000)));
        let settings = LimitSettings {
            calls_per_second,
            calls_burst,
            trusted_proxies: Vec::new(),
        };
        (Limits::new(&settings, Arc::clone(&clock) as _), clock)
    }

    #[test]
    fn a_network_has_twenty_misses_in_ten_minutes_and_others_have_their_own() {
        let (limits, clock) = limits(0, 1);
        let (here, there) = ("198.51.100", "198.51.101");
        let miss = |door, network: &str| limits.miss(door, network.to_owned());
        let waits: Vec<Option<u32>> = (0..21).map(|_| miss("page", here)).collect();
        assert!(waits[..20].iter().all(Option::is_none));
        assert!(waits[20].is_some_and(|wait| (1..=31).contains(&wait)));
        assert_eq!(miss("page", there), None);
        assert_eq!(miss("key", here), None, "each door has its own count");
        clock.advance(30_000);
        assert_eq!(miss("page", here), None);
        assert!(miss("page", here).is_some());
        clock.advance(600_000);
        let waits: Vec<Option<u32>> = (0..21).map(|_| miss("page", here)).collect();
        assert_eq!(waits.iter().filter(|wait| wait.is_some()).count(), 1);
    }

    #[test]
    fn what_bounds_nothing_any_more_is_forgotten() {
        let (limits, clock) = limits(1, 1);
        for n in 0..1_000_u32 {
            limits.miss("page", n.to_string());
        }
        assert_eq!(limits.0.misses.len(), 1_000);
        clock.advance(3_600_000);
        for _ in 0..FORGET_EVERY {
            limits.miss("page", "9".to_owned());
        }
        assert!(limits.0.misses.len() < 10);
    }

    #[test]
    fn a_key_is_told_what_is_left_to_it() {
        let (limits, clock) = limits(2, 3);
        let call = || limits.call("abc").unwrap();
        assert_eq!((call().remaining, call().remaining), (2, 1));
        let last = call();
        assert_eq!((last.remaining, last.wait, last.reset), (0, 0, 2));
        assert_eq!(last.policy, "\"key\";q=3;w=2");
        assert_eq!(call().wait, 1);
        assert_eq!(limits.call("other").unwrap().wait, 0);
        clock.advance(500);
        assert_eq!(call().wait, 0);
        assert!(
            Limits::new(
                &LimitSettings {
                    calls_per_second: 0,
                    calls_burst: 1,
                    trusted_proxies: Vec::new()
                },
                clock
            )
            .call("abc")
            .is_none()
        );
    }
}
