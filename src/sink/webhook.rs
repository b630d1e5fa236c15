//! Calls webhooks by the specification Standard Webhooks 1.0: a POST of JSON with `webhook-id`, `webhook-timestamp` and
//! `webhook-signature`. 2xx is success, everything else is not; a redirect is not followed; 410 says "never again".

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::{HeaderMap, HeaderValue, Request, StatusCode, Uri, header};
use http_body_util::Full;
use ipnet::IpNet;
use serde::Deserialize;

use super::client::{Client, Networks, SendError};
use super::{Call, Called, Post, SettingsError, Sink};

/// Settings of `[sinks.webhook]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Settings {
    /// Networks that desks may name besides the public internet.
    allow_networks: Many,
    /// Whether addresses may be `http`.
    allow_http: bool,
    /// Seconds for one call.
    timeout_seconds: u64,
}

/// A list, or a text with commas, as a variable of the environment gives it.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum Many {
    List(Vec<String>),
    Text(String),
}

impl Many {
    fn items(&self) -> Vec<&str> {
        match self {
            Self::List(list) => list.iter().map(String::as_str).collect(),
            Self::Text(text) => text.split(',').map(str::trim).collect(),
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            allow_networks: Many::List(Vec::new()),
            allow_http: false,
            timeout_seconds: 15,
        }
    }
}

/// Reads the settings and makes the sink.
pub(super) fn build(section: &toml::Table) -> Result<Sink, SettingsError> {
    let settings: Settings = super::settings(section)?;
    let mut networks: Vec<IpNet> = Vec::new();
    for text in settings.allow_networks.items() {
        let network = text.parse().map_err(|_| {
            SettingsError::new(
                "allow_networks",
                format!("{text:?} is no network such as 10.0.0.0/8"),
            )
        })?;
        networks.push(network);
    }
    // The specification has 15 to 30 s; beyond a minute a slow address would only hold what others could use.
    if !(1..=60).contains(&settings.timeout_seconds) {
        return Err(SettingsError::new(
            "timeout_seconds",
            "must be from 1 to 60",
        ));
    }
    let total = Duration::from_secs(settings.timeout_seconds);
    let client = Client::new(Networks::PublicAnd(networks), total)
        .ok_or_else(|| SettingsError::new("", "needs TLS, which could not be set up"))?;
    Ok(Sink::Post(Arc::new(Webhooks {
        client,
        allow_http: settings.allow_http,
    })))
}

struct Webhooks {
    client: Client,
    allow_http: bool,
}

impl Webhooks {
    fn uri(&self, url: &str) -> Option<Uri> {
        let uri: Uri = url.parse().ok()?;
        let secure = uri.scheme_str() == Some("https");
        (secure || self.allow_http).then_some(uri)
    }
}

#[async_trait]
impl Post for Webhooks {
    async fn vet(&self, url: &str) -> Result<(), String> {
        let Some(uri) = self.uri(url) else {
            return Err("must begin with https://".to_owned());
        };
        self.client.vet(&uri).await.map_err(|error| {
            match error {
                SendError::Refused => {
                    "points to an address that is not public and that the operator has not allowed"
                }
                SendError::Resolve
                | SendError::Connect
                | SendError::Timeout
                | SendError::Broken => "names a host that cannot be resolved",
            }
            .to_owned()
        })
    }

    async fn post(&self, call: Call) -> Called {
        let failed = |status, error, retry_after_ms| Called {
            status,
            error,
            retry_after_ms,
        };
        let Some(request) = self.uri(&call.url).and_then(|uri| request(uri, call)) else {
            return failed(0, "address_refused", None);
        };
        let answer = match self.client.send(request).await {
            Ok(answer) => answer,
            Err(error) => return failed(0, error.as_str(), None),
        };
        let status = answer.status.as_u16();
        match answer.status {
            StatusCode::GONE => failed(status, "gone", None),
            code if code.is_success() => failed(status, "", None),
            code if code.is_redirection() => failed(status, "redirect", None),
            code if code.is_server_error() || code == StatusCode::TOO_MANY_REQUESTS => {
                failed(status, "busy", wait(&answer.headers))
            }
            _ => failed(status, "refused", None),
        }
    }
}

fn request(uri: Uri, call: Call) -> Option<Request<Full<bytes::Bytes>>> {
    let value = |text: &str| HeaderValue::from_str(text).ok();
    let request = Request::post(uri)
        .header(header::CONTENT_TYPE, "application/json")
        .header("webhook-id", value(&call.id)?)
        .header("webhook-timestamp", value(&call.timestamp.to_string())?)
        .header("webhook-signature", value(&call.signatures)?);
    request.body(Full::new(call.body)).ok()
}

/// `Retry-After` in seconds. Its other form, a date, would need the clocks to agree.
fn wait(headers: &HeaderMap) -> Option<i64> {
    let seconds: i64 = headers
        .get(header::RETRY_AFTER)?
        .to_str()
        .ok()?
        .parse()
        .ok()?;
    seconds.checked_mul(1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn built(text: &str) -> Result<Sink, SettingsError> {
        build(&text.parse().unwrap())
    }

    #[test]
    fn a_mistake_in_the_settings_names_its_key() {
        assert!(built("").is_ok());
        assert!(built("allow_networks = '10.0.0.0/8, fd00::/8'").is_ok());
        for (text, key) in [
            ("allow_networks = ['10.0.0.0']", "allow_networks"),
            ("timeout_seconds = 0", "timeout_seconds"),
            ("colour = 1", "colour"),
        ] {
            assert_eq!(built(text).unwrap_err().key, key, "{text}");
        }
    }

    #[test]
    fn a_wait_is_read_in_seconds_and_whatever_it_says_nothing_breaks() {
        let mut headers = HeaderMap::new();
        for (text, wanted) in [
            ("7", Some(7_000)),
            ("-7", Some(-7_000)),
            ("9223372036854775807", None),
            ("Wed, 21 Oct 2026 07:28:00 GMT", None),
        ] {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static(text));
            assert_eq!(wait(&headers), wanted, "{text}");
        }
    }
}
