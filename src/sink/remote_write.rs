//! The totals to Prometheus, or whatever speaks its remote write 1.0: protobuf in Snappy's block format.
//!
//! Being scraped is better where it is possible: the specification says itself that this way is not meant for applications. Series are
//! those of `/metrics/totals`, with the operator's labels. Labels are sorted, empty ones left out, and a series that is there no more is
//! marked stale. 5xx and 429 may be taken later, no other 4xx ever.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, StatusCode, Uri, header};
use http_body_util::Full;
use prometheus::proto::{Metric, MetricFamily, MetricType};
use prost::Message as _;
use serde::Deserialize;

use super::client::{Client, Networks};
use super::{Carried, Samples, SettingsError, Sink, SinkError};
use crate::domain::time::Timestamp;

/// The value that ends a series: a NaN with these bits, as Prometheus defines it.
const STALE: u64 = 0x7ff0_0000_0000_0002;

/// Settings of `[sinks.remote_write]`.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    /// Where to.
    url: String,
    /// Seconds between two samples.
    #[serde(default = "seconds")]
    seconds: u32,
    /// Seconds for one call.
    #[serde(default = "timeout_seconds")]
    timeout_seconds: u64,
    /// A bearer token.
    #[serde(default)]
    token: String,
    /// Headers besides.
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// Labels of every series.
    #[serde(default = "labels")]
    labels: BTreeMap<String, String>,
}

const fn seconds() -> u32 {
    15
}

const fn timeout_seconds() -> u64 {
    10
}

fn labels() -> BTreeMap<String, String> {
    [("job".to_owned(), "onefive".to_owned())].into()
}

/// Reads the settings and makes the sink.
pub(super) fn build(section: &toml::Table) -> Result<Sink, SettingsError> {
    let settings: Settings = super::settings(section)?;
    let wrong = |key: &str, message: &str| SettingsError::new(key, message);
    let url: Uri = settings
        .url
        .parse()
        .map_err(|_| wrong("url", "is not an address"))?;
    if !matches!(url.scheme_str(), Some("http" | "https")) || url.authority().is_none() {
        return Err(wrong(
            "url",
            "must begin with https:// or http:// and name a host",
        ));
    }
    for (key, value) in [
        ("seconds", u64::from(settings.seconds)),
        ("timeout_seconds", settings.timeout_seconds),
    ] {
        if !(1..=3600).contains(&value) {
            return Err(wrong(key, "must be from 1 to 3600"));
        }
    }
    for name in settings.labels.keys() {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        let digit = name.starts_with(|c: char| c.is_ascii_digit());
        if name.is_empty() || digit || !name.bytes().all(plain) || name.starts_with("__") {
            return Err(wrong("labels", &format!("{name:?} is no name of a label")));
        }
    }
    let mut headers = Vec::new();
    for (name, value) in &settings.headers {
        let named = HeaderName::try_from(name).ok();
        let pair = named.zip(HeaderValue::try_from(value).ok());
        headers.push(pair.ok_or_else(|| wrong("headers", &format!("{name:?} is no header")))?);
    }
    if !settings.token.is_empty() {
        let mut bearer = HeaderValue::try_from(format!("Bearer {}", settings.token))
            .map_err(|_| wrong("token", "is no text for a header"))?;
        bearer.set_sensitive(true);
        headers.push((header::AUTHORIZATION, bearer));
    }
    // The operator named the address, so it may be inside.
    let client = Client::new(
        Networks::Every,
        Duration::from_secs(settings.timeout_seconds),
    );
    let client = client.ok_or_else(|| wrong("", "needs TLS, which could not be set up"))?;
    Ok(Sink::Samples(Arc::new(RemoteWrite {
        client,
        url,
        headers,
        every_ms: i64::from(settings.seconds) * 1000,
        labels: settings.labels,
        known: Mutex::default(),
    })))
}

struct RemoteWrite {
    client: Client,
    url: Uri,
    headers: Vec<(HeaderName, HeaderValue)>,
    every_ms: i64,
    labels: BTreeMap<String, String>,
    /// The series of the last call.
    known: Mutex<BTreeSet<Labels>>,
}

/// Sorted by name, as the protocol wants it.
type Labels = BTreeMap<String, String>;

/// `prometheus.WriteRequest` and what is in it.
#[derive(Clone, PartialEq, prost::Message)]
struct WriteRequest {
    #[prost(message, repeated, tag = "1")]
    timeseries: Vec<TimeSeries>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct TimeSeries {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<Label>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<Sample>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Label {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Sample {
    #[prost(double, tag = "1")]
    value: f64,
    #[prost(int64, tag = "2")]
    timestamp: i64,
}

impl RemoteWrite {
    /// Every series with its value.
    fn series(&self, families: &[MetricFamily]) -> BTreeMap<Labels, f64> {
        let mut series = BTreeMap::new();
        for family in families {
            let name = family.name();
            for metric in family.get_metric() {
                let mut put = |name: &str, more: Option<(&str, String)>, value: f64| {
                    series.insert(self.labels(name, metric, more), value);
                };
                match family.get_field_type() {
                    MetricType::COUNTER => put(name, None, metric.get_counter().get_value()),
                    MetricType::GAUGE => put(name, None, metric.get_gauge().get_value()),
                    MetricType::HISTOGRAM => {
                        let histogram = metric.get_histogram();
                        let all = float(histogram.get_sample_count());
                        let bucket = format!("{name}_bucket");
                        for part in histogram.get_bucket() {
                            let bound = part.upper_bound().to_string();
                            put(&bucket, Some(("le", bound)), float(part.cumulative_count()));
                        }
                        put(&bucket, Some(("le", "+Inf".to_owned())), all);
                        put(&format!("{name}_sum"), None, histogram.get_sample_sum());
                        put(&format!("{name}_count"), None, all);
                    }
                    // None of ours is one.
                    MetricType::SUMMARY | MetricType::UNTYPED => {}
                }
            }
        }
        series
    }

    fn labels(&self, name: &str, metric: &Metric, more: Option<(&str, String)>) -> Labels {
        let mut labels = self.labels.clone();
        for pair in metric.get_label() {
            labels.insert(pair.name().to_owned(), pair.value().to_owned());
        }
        if let Some((name, value)) = more {
            labels.insert(name.to_owned(), value);
        }
        labels.insert("__name__".to_owned(), name.to_owned());
        // An empty label is no label, and the protocol forbids it.
        labels.retain(|_, value| !value.is_empty());
        labels
    }
}

#[async_trait]
impl Samples for RemoteWrite {
    fn every_ms(&self) -> i64 {
        self.every_ms
    }

    fn write(&self, families: &[MetricFamily], at: Timestamp) -> Bytes {
        let series = self.series(families);
        let now: BTreeSet<Labels> = series.keys().cloned().collect();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let gone: Vec<Labels> = known.difference(&now).cloned().collect();
        *known = now;
        drop(known);
        let ended = gone.into_iter();
        let ended = ended.map(|labels| (labels, f64::from_bits(STALE)));
        let timeseries = series.into_iter().chain(ended);
        let timeseries = timeseries.map(|(labels, value)| TimeSeries {
            labels: labels
                .into_iter()
                .map(|(name, value)| Label { name, value })
                .collect(),
            samples: vec![Sample {
                value,
                timestamp: at.as_millis(),
            }],
        });
        let request = WriteRequest {
            timeseries: timeseries.collect(),
        };
        let plain = request.encode_to_vec();
        // Fails only beyond 4 GiB, which the cap on series keeps away.
        let packed = snap::raw::Encoder::new().compress_vec(&plain);
        packed.unwrap_or_default().into()
    }

    async fn carry(&self, body: Bytes) -> Carried {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = http::Method::POST;
        *request.uri_mut() = self.url.clone();
        let headers = request.headers_mut();
        for (name, value) in [
            ("content-encoding", "snappy"),
            ("content-type", "application/x-protobuf"),
            ("x-prometheus-remote-write-version", "0.1.0"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        for (name, value) in &self.headers {
            headers.insert(name, value.clone());
        }
        match self.client.send(request).await {
            Ok(answer) if answer.status.is_success() => Carried::Taken,
            Ok(answer) => {
                let error = SinkError::new("status", answer.status.as_u16());
                let busy = answer.status == StatusCode::TOO_MANY_REQUESTS;
                if busy || answer.status.is_server_error() {
                    Carried::Later(error)
                } else {
                    Carried::Refused(error)
                }
            }
            Err(error) => Carried::Later(SinkError::new(error.as_str(), "no answer")),
        }
    }
}

/// Exact below 2^53.
#[expect(
    clippy::cast_precision_loss,
    reason = "a count above 2^53 is out of reach"
)]
fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use prometheus::core::Collector as _;
    use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, Opts};

    use super::*;

    fn sink(more: &str) -> Arc<dyn Samples> {
        let text = format!("url = 'http://localhost:9/api/v1/write'\n{more}");
        match build(&text.parse().unwrap()).unwrap() {
            Sink::Samples(samples) => samples,
            Sink::Stream(_) | Sink::Post(_) => panic!("it takes samples"),
        }
    }

    fn read(body: &[u8]) -> WriteRequest {
        let plain = snap::raw::Decoder::new().decompress_vec(body).unwrap();
        WriteRequest::decode(plain.as_slice()).unwrap()
    }

    fn line(series: &TimeSeries) -> String {
        let labels = series.labels.iter();
        let labels: Vec<String> = labels.map(|l| format!("{}={}", l.name, l.value)).collect();
        labels.join(" ")
    }

    #[test]
    fn labels_are_sorted_empty_ones_left_out_and_a_vanished_series_is_marked_stale() {
        let counter =
            IntCounterVec::new(Opts::new("hits_total", "x"), &["desk", "reason"]).unwrap();
        counter.with_label_values(&["acme", ""]).inc_by(3);
        let sink = sink("labels = { zone = 'a', job = 'j' }");
        let at = Timestamp::from_millis(1_700_000_000_000);
        let first = read(&sink.write(&counter.collect(), at));
        let lines: Vec<String> = first.timeseries.iter().map(line).collect();
        assert_eq!(lines, ["__name__=hits_total desk=acme job=j zone=a"]);
        assert_eq!(
            first.timeseries[0].samples[0],
            Sample {
                value: 3.0,
                timestamp: at.as_millis()
            }
        );

        let then = read(&sink.write(&[], at.plus_millis(1)));
        assert_eq!(then.timeseries.len(), 1);
        assert_eq!(then.timeseries[0].samples[0].value.to_bits(), STALE);
        assert!(
            read(&sink.write(&[], at.plus_millis(2)))
                .timeseries
                .is_empty()
        );
    }

    #[test]
    fn a_histogram_is_its_buckets_its_sum_and_its_count() {
        let options = HistogramOpts::new("answer_seconds", "x").buckets(vec![10.0, 30.5]);
        let histogram = HistogramVec::new(options, &["desk"]).unwrap();
        histogram.with_label_values(&["acme"]).observe(12.0);
        let written = read(&sink("labels = {}").write(&histogram.collect(), Timestamp::default()));
        let mut lines: Vec<String> = written
            .timeseries
            .iter()
            .map(|series| format!("{} {}", line(series), series.samples[0].value))
            .collect();
        lines.sort();
        assert_eq!(
            lines,
            [
                "__name__=answer_seconds_bucket desk=acme le=+Inf 1",
                "__name__=answer_seconds_bucket desk=acme le=10 0",
                "__name__=answer_seconds_bucket desk=acme le=30.5 1",
                "__name__=answer_seconds_count desk=acme 1",
                "__name__=answer_seconds_sum desk=acme 12",
            ]
        );
    }

    #[test]
    fn a_mistake_in_the_settings_names_its_key() {
        for (text, key) in [
            ("", ""),
            ("url = 'x'", "url"),
            ("url = 'http://x'\nseconds = 0", "seconds"),
            ("url = 'http://x'\nlabels = { __name__ = 'x' }", "labels"),
            ("url = 'http://x'\nheaders = { 'a b' = 'x' }", "headers"),
            ("url = 'http://x'\ncolour = 1", "colour"),
        ] {
            let error = build(&text.parse().unwrap()).unwrap_err();
            assert_eq!(error.key, key, "{text}: {error}");
        }
    }
}
