//! An address that a desk wants its events sent to, and the pure rules of sending: when a failure is tried again, when an address
//! is left alone for a while, and when it is given up.
//!
//! Signatures, headers and the schedule are those of the specification Standard Webhooks 1.0.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use utoipa::ToSchema;

use super::event::EventKind;
use super::id::{DeskId, EventId, WebhookId};
use super::notice::Notice;
use super::slack;
use super::time::Timestamp;
use super::trigger::FieldError;

/// Webhooks that one desk may have.
pub const WEBHOOKS_MAX: usize = 20;
/// The longest address, in bytes.
pub const URL_MAX: usize = 2048;
/// How long an old secret goes on signing beside the new one.
pub const ROTATION_MS: i64 = 86_400_000;
/// For how long the log of deliveries is kept.
pub const LOG_MS: i64 = 7 * 86_400_000;
/// Failed events that a webhook may have waiting; then nothing new is begun until some are settled.
pub const RETRIES_MAX: i64 = 200;

/// When a failed try is repeated, in seconds after it, as the specification suggests. After the last one it is given up.
const SCHEDULE: [i64; 9] = [5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400];
/// Tries of an event that an address refuses while it takes others.
const REFUSALS: i64 = 3;
/// Failures in a row after which an address is left alone for a while.
const BREAK: i64 = 5;
/// For how long it is left alone, in seconds, growing with each further failure.
const REST: [i64; 5] = [10, 30, 60, 120, 300];
/// An address that has taken nothing for so long is given up.
const GIVE_UP_MS: i64 = 5 * 86_400_000;
/// The longest wait that the other side may ask for.
const RETRY_AFTER_MAX_MS: i64 = 3_600_000;

/// An address that a desk wants its events sent to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// Whose it is.
    pub desk: DeskId,
    /// Its identifier.
    pub id: WebhookId,
    /// The address. May hold a secret, so it is neither logged nor shown in metrics.
    pub url: String,
    /// The kinds of events that it wants; none for all.
    pub kinds: Vec<EventKind>,
    /// The shape of what it is sent.
    pub format: WebhookFormat,
    /// The desk's own words for it.
    pub description: String,
    /// Whether it is used.
    pub state: WebhookState,
    /// Up to which place of the stream everything was tried once.
    pub mark: i64,
    /// How it does.
    pub health: Health,
    /// Until when the old secret goes on signing; 0 if there is none.
    pub old_until: Timestamp,
    /// When it was made.
    pub created_at: Timestamp,
}

/// The shape of what a webhook is sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum WebhookFormat {
    /// The event as JSON, as everybody else is told it.
    #[default]
    Event,
    /// A text to be read, as Slack's incoming webhooks take it.
    Slack,
}

impl WebhookFormat {
    const ALL: [Self; 2] = [Self::Event, Self::Slack];

    /// The word used in the API and in the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Event => "event",
            Self::Slack => "slack",
        }
    }

    /// Reads the word back.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.as_str() == word)
    }

    /// The body that tells an event.
    pub fn body(self, notice: &Notice) -> Vec<u8> {
        match self {
            Self::Event => notice.to_json(),
            Self::Slack => slack::body(notice),
        }
    }
}

/// Whether a webhook is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WebhookState {
    /// It is.
    Enabled,
    /// The desk switched it off.
    Off,
    /// It answered 410: it wants no more.
    Gone,
    /// It took nothing for five days.
    Failing,
}

impl WebhookState {
    const ALL: [Self; 4] = [Self::Enabled, Self::Off, Self::Gone, Self::Failing];

    /// The word used in the API and in the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enabled => "enabled",
            Self::Off => "off",
            Self::Gone => "gone",
            Self::Failing => "failing",
        }
    }

    /// Reads the word back.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }
}

/// How an address does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Health {
    /// Failures in a row.
    pub failures: i64,
    /// Since when it fails; 0 if it does not.
    pub failing_since: Timestamp,
    /// Until when nothing is tried.
    pub open_until: Timestamp,
}

/// What may be tried now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// Everything.
    Closed,
    /// One event, to see whether it takes any again.
    Trial,
    /// Nothing.
    Open,
}

/// How a try went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tried {
    /// It was taken.
    Taken,
    /// It was not, and may be later; not before so many milliseconds, if the other side says so.
    Failed(Option<i64>),
    /// It was not, and what was wrong is the event itself, says the other side.
    Refused,
    /// The address wants no more (410).
    Gone,
}

impl Health {
    /// What may be tried now.
    pub fn gate(self, now: Timestamp) -> Gate {
        if now < self.open_until {
            Gate::Open
        } else if self.failures >= BREAK && self.open_until > Timestamp::default() {
            Gate::Trial
        } else {
            Gate::Closed
        }
    }

    /// The health after a try. `jitter` is from 0 to 999.
    #[must_use]
    pub fn after(self, tried: Tried, now: Timestamp, jitter: u16) -> Self {
        // What fails while it is left alone already began before that, with the call that failed first: one outage, not many.
        let known = self.failures >= BREAK && now < self.open_until;
        let failures = self.failures.saturating_add(i64::from(!known));
        let failing_since = if self.failures == 0 {
            now
        } else {
            self.failing_since
        };
        let rest = usize::try_from(failures - BREAK)
            .ok()
            .map_or(0, |over| REST[over.min(REST.len() - 1)] * 1_000);
        let wait = match tried {
            Tried::Taken | Tried::Gone => return Self::default(),
            Tried::Failed(asked) => {
                let asked = asked.unwrap_or(0).clamp(0, RETRY_AFTER_MAX_MS);
                spread(rest, jitter).max(asked)
            }
            // It answers, so other events need not wait.
            Tried::Refused => 0,
        };
        let open_until = match wait {
            0 if self.open_until <= now => Timestamp::default(),
            0 => self.open_until,
            _ => self.open_until.max(now.plus_millis(wait)),
        };
        Self {
            failures,
            failing_since,
            open_until,
        }
    }

    /// Whether the address has taken something since an event was first tried that fails now for the `attempts`th time.
    pub fn took_others(self, attempts: i64, now: Timestamp) -> bool {
        let waits = usize::try_from(attempts - 1).unwrap_or(0);
        let seconds: i64 = SCHEDULE.iter().take(waits).sum();
        // A later failure only begins a row if something was taken before it.
        self.failures == 0 || self.failing_since > now.plus_millis(-seconds * 1_000)
    }

    /// Whether it has failed for so long that it is given up.
    pub fn hopeless(self, now: Timestamp) -> bool {
        self.failures >= BREAK && now.millis_since(self.failing_since) >= GIVE_UP_MS
    }
}

/// Whether an event is given up that an address refused for the `attempts`th time while it takes others: it will not take this one in
/// three days either. Kept for the whole schedule, such events would fill the places that a webhook has, of which so many are `waiting`,
/// and then hold up all others.
pub fn is_unwanted(attempts: i64, waiting: i64) -> bool {
    attempts >= REFUSALS || waiting >= RETRIES_MAX / 2
}

/// When an event that failed `attempts` times is tried again, in milliseconds from now; `None` to give it up. `jitter` is from 0 to
/// 999 and only delays, so that no two addresses of one outage come back at one time.
pub fn retry_after(attempts: i64, jitter: u16) -> Option<i64> {
    let at = usize::try_from(attempts.checked_sub(1)?).ok()?;
    SCHEDULE
        .get(at)
        .map(|seconds| spread(seconds * 1_000, jitter))
}

/// Up to a tenth longer.
fn spread(millis: i64, jitter: u16) -> i64 {
    millis + millis * i64::from(jitter.min(999)) / 10_000
}

/// Checks the form of an address. Whether it may be reached is found out when it is resolved.
pub fn check_url(url: &str) -> Result<http::Uri, FieldError> {
    let wrong = |message: &str| FieldError::new("url", message);
    if url.len() > URL_MAX {
        return Err(wrong(&format!("must be at most {URL_MAX} bytes long")));
    }
    let uri: http::Uri = url.parse().map_err(|_| wrong("is not an address"))?;
    if !matches!(uri.scheme_str(), Some("https" | "http")) {
        return Err(wrong("must begin with https://"));
    }
    let authority = uri.authority().ok_or_else(|| wrong("must name a host"))?;
    if authority.as_str().contains('@') {
        return Err(wrong("must not hold a user name or password"));
    }
    if authority.host().is_empty() {
        return Err(wrong("must name a host"));
    }
    Ok(uri)
}

/// A secret that signs: `whsec_` and 32 bytes in base64.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookSecret(Vec<u8>);

impl std::fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WebhookSecret(…)")
    }
}

impl WebhookSecret {
    /// Of these bytes: random ones for a new secret, or those that the store keeps.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// The bytes, for the store to seal.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The text, for showing it once.
    pub fn expose(&self) -> String {
        format!("whsec_{}", STANDARD.encode(&self.0))
    }

    /// The signature of one try: `v1,` and base64.
    pub fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.0) else {
            unreachable!("HMAC takes a key of any length")
        };
        mac.update(format!("{id}.{timestamp}.").as_bytes());
        mac.update(body);
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }
}

/// One try, as the desk may look at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The try's own identifier, in the order of time.
    pub id: uuid::Uuid,
    /// The event.
    pub event: EventId,
    /// Its kind.
    pub kind: String,
    /// Which try it was, from 1.
    pub attempt: i64,
    /// When it began.
    pub at: Timestamp,
    /// The status that came back; 0 if none did.
    pub status: i64,
    /// How long it took, in milliseconds.
    pub elapsed_ms: i64,
    /// The class of the failure; empty if it was taken.
    pub error: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    #[test]
    fn the_vector_of_the_specification_is_signed_as_it_says() {
        let secret =
            WebhookSecret::new(STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap());
        assert_eq!(secret.expose(), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        assert_eq!(
            secret.sign(
                "msg_p5jXN8AQM9LWM0D4loKWxJek",
                1_614_265_330,
                br#"{"test": 2432232314}"#
            ),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        );
        assert!(!format!("{secret:?}").contains("MfKQ"));
    }

    #[test]
    fn the_schedule_is_the_one_of_the_specification_and_ends() {
        let waits: Vec<i64> = (1..).map_while(|n| retry_after(n, 0)).collect();
        let hours = |n: i64| n * 3_600_000;
        assert_eq!(
            waits,
            [
                5_000,
                300_000,
                1_800_000,
                hours(2),
                hours(5),
                hours(10),
                hours(14),
                hours(20),
                hours(24)
            ]
        );
        assert_eq!(retry_after(0, 0), None);
        assert_eq!(retry_after(i64::MIN, 0), None);
    }

    #[test]
    fn an_address_that_fails_is_left_alone_tried_once_and_trusted_again() {
        let failed = Tried::Failed(None);
        let mut health = Health::default();
        for _ in 0..BREAK - 1 {
            health = health.after(failed, NOW, 0);
            assert_eq!(health.gate(NOW), Gate::Closed);
        }
        health = health.after(failed, NOW, 0);
        assert_eq!(health.gate(NOW), Gate::Open);
        let later = NOW.plus_millis(10_000);
        assert_eq!(health.gate(later), Gate::Trial);
        let again = health.after(failed, later, 0);
        assert_eq!(again.gate(later.plus_millis(29_999)), Gate::Open);
        let others = (0..30).fold(again, |health, _| health.after(failed, later, 0));
        assert_eq!(others, again, "of one window");
        assert_eq!(again.after(Tried::Taken, later, 0), Health::default());
        assert!(!again.hopeless(NOW.plus_millis(GIVE_UP_MS - 1)));
        assert!(again.hopeless(NOW.plus_millis(GIVE_UP_MS)));
    }

    #[test]
    fn what_an_address_takes_after_a_refusal_tells_that_it_works() {
        let refused = Health::default().after(Tried::Refused, NOW, 0);
        assert!(Health::default().took_others(1, NOW));
        let [second, third] = [5_000, 305_000].map(|wait| NOW.plus_millis(wait));
        assert!(!refused.took_others(2, second), "nothing came in between");
        let row = refused.after(Tried::Refused, second, 0);
        assert!(!row.took_others(3, third));
        let taken = row.after(Tried::Taken, second.plus_millis(1), 0);
        assert!(taken.took_others(3, third));
        let another = taken.after(Tried::Refused, second.plus_millis(2), 0);
        assert!(another.took_others(3, third));
        assert!(!is_unwanted(2, 0) && is_unwanted(3, 0) && is_unwanted(1, 100));
    }

    #[test]
    fn the_other_side_may_ask_to_wait_but_not_for_ever() {
        let health = Health::default().after(Tried::Failed(Some(60_000)), NOW, 0);
        assert_eq!(health.gate(NOW.plus_millis(59_999)), Gate::Open);
        let health = Health::default().after(Tried::Failed(Some(i64::MAX)), NOW, 0);
        assert_eq!(
            health.gate(NOW.plus_millis(RETRY_AFTER_MAX_MS)),
            Gate::Closed
        );
    }

    #[test]
    fn an_address_is_https_with_a_host_and_no_password() {
        assert!(check_url("https://example.com/hook?x=1").is_ok());
        for bad in [
            "",
            "example.com",
            "ftp://example.com",
            "https://",
            "https://u:p@example.com",
            "/x",
        ] {
            assert_eq!(check_url(bad).unwrap_err().field, "url", "{bad}");
        }
        assert!(check_url(&format!("https://example.com/{}", "x".repeat(URL_MAX))).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn jitter_only_delays_and_by_less_than_a_tenth(attempts in 1_i64..12, jitter in 0_u16..1_000) {
            let (plain, spread) = (retry_after(attempts, 0), retry_after(attempts, jitter));
            prop_assert_eq!(plain.is_some(), spread.is_some());
            if let (Some(plain), Some(spread)) = (plain, spread) {
                prop_assert!(plain <= spread && spread * 10 <= plain * 11);
            }
        }

        #[test]
        fn no_run_of_tries_makes_the_rest_longer_than_an_hour(
            tries in proptest::collection::vec((any::<bool>(), proptest::option::of(any::<i64>()), 0_u16..1_000), 0..60)
        ) {
            let mut health = Health::default();
            for (taken, asked, jitter) in tries {
                let tried = if taken { Tried::Taken } else { Tried::Failed(asked) };
                health = health.after(tried, NOW, jitter);
                prop_assert!(health.open_until <= NOW.plus_millis(RETRY_AFTER_MAX_MS));
                prop_assert_eq!(taken, health == Health::default());
            }
        }
    }
}
