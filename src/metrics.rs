//! This process's own metrics: what may be summed over replicas. Totals of requests and ratings are not here; they come from
//! the database at scrape time (see `http::totals`).

use prometheus::{
    Gauge, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry,
};

mod privacy;

pub use privacy::Privacy;

/// The metrics. Labels are fixed words only: never an address, an id or a text from outside.
#[derive(Clone)]
pub struct Metrics {
    registry: Registry,
    /// HTTP requests by route, method and status.
    pub http_requests: IntCounterVec,
    /// Seconds to answer an HTTP request, by route.
    pub http_seconds: HistogramVec,
    /// Connections open now.
    pub http_connections: IntGauge,
    /// Connections refused because there were too many, by reason.
    pub http_refused: IntCounterVec,
    /// Provider calls by provider and outcome.
    pub provider_calls: IntCounterVec,
    /// Hooks by provider and result.
    pub hooks: IntCounterVec,
    /// Errors of the store by kind.
    pub store_errors: IntCounterVec,
    /// Desks whose sending this replica has paused because their messages look pumped.
    pub desk_pauses: IntCounter,
    /// How the promises of delivery are kept.
    pub promises: Promises,
    /// How results reach others.
    pub streams: Streams,
    /// How the privacy of contacts is kept, and who tries doors.
    pub privacy: Privacy,
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Metrics")
    }
}

impl Metrics {
    /// New metrics, all zero, in a registry of their own.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let promises = Promises::new(&registry)?;
        let streams = Streams::new(&registry)?;
        let privacy = Privacy::new(&registry)?;
        let desk_pauses = IntCounter::new(
            "onefive_desk_pauses_total",
            "Desks whose sending was paused because their messages look pumped.",
        )?;
        registry.register(Box::new(desk_pauses.clone()))?;
        let counters = |name, help, labels: &[&str]| counters(&registry, name, help, labels);
        let http_requests = counters(
            "onefive_http_requests_total",
            "HTTP requests answered, by route, method and status.",
            &["route", "method", "status"],
        )?;
        let http_refused = counters(
            "onefive_http_refused_total",
            "Connections refused because there were too many, by reason.",
            &["reason"],
        )?;
        let provider_calls = counters(
            "onefive_provider_calls_total",
            "Calls to providers, by provider and outcome.",
            &["provider", "outcome"],
        )?;
        let hooks = counters(
            "onefive_hooks_total",
            "Calls by providers, by provider and result.",
            &["provider", "result"],
        )?;
        let store_errors = counters(
            "onefive_store_errors_total",
            "Errors of the store, by kind.",
            &["kind"],
        )?;
        // Their words are known, so they stand at 0 before the first time: an increase from nothing could not be seen.
        for reason in ["connections", "connections_per_peer"] {
            http_refused.with_label_values(&[reason]);
        }
        // From a cache hit to a slow disk: a local answer takes about a millisecond, a deadline ends at 15 s.
        let buckets = vec![
            0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0,
        ];
        let http_seconds = HistogramVec::new(
            HistogramOpts::new(
                "onefive_http_request_seconds",
                "Seconds to answer an HTTP request, by route.",
            )
            .buckets(buckets),
            &["route"],
        )?;
        registry.register(Box::new(http_seconds.clone()))?;
        let http_connections = IntGauge::new("onefive_http_connections", "Connections open now.")?;
        registry.register(Box::new(http_connections.clone()))?;
        let build = IntGaugeVec::new(
            Opts::new("onefive_build_info", "Always 1; the version is the label."),
            &["version"],
        )?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        registry.register(Box::new(build))?;
        let process = prometheus::process_collector::ProcessCollector::for_self();
        registry.register(Box::new(process))?;
        Ok(Self {
            registry,
            http_requests,
            http_seconds,
            http_connections,
            http_refused,
            provider_calls,
            hooks,
            store_errors,
            desk_pauses,
            promises,
            streams,
            privacy,
        })
    }

    /// Everything as it stands.
    pub fn gather(&self) -> Vec<prometheus::proto::MetricFamily> {
        self.registry.gather()
    }
}

/// How the promises of delivery are kept.
#[derive(Clone)]
pub struct Promises {
    /// 1 while nothing is sent through a provider because it does not answer.
    pub provider_open: IntGaugeVec,
    /// Sends refused because a day's ceiling was reached, by ceiling.
    pub ceilings: IntCounterVec,
    /// Looks at a provider's list, by provider and what they saw.
    pub looks: IntCounterVec,
    /// Messages found at a provider that were sent besides the one that was meant.
    pub duplicate_sends: IntCounterVec,
    /// Replies that an outage kept from us, fetched afterwards.
    pub reconciled: IntCounterVec,
    /// How often each invariant is broken, as far as this replica looked.
    pub invariants: IntGaugeVec,
}

impl Promises {
    fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counters = |name, help, labels: &[&str]| counters(registry, name, help, labels);
        let gauges = |name: &str, help: &str, labels: &[&str]| {
            let gauges = IntGaugeVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(gauges.clone()))?;
            Ok::<_, prometheus::Error>(gauges)
        };
        let ceilings = counters(
            "onefive_ceiling_refusals_total",
            "Sends refused because a day's ceiling was reached, by ceiling.",
            &["ceiling"],
        )?;
        let looks = counters(
            "onefive_provider_looks_total",
            "Looks at a provider's list for messages in doubt, by provider and what they saw.",
            &["provider", "seen"],
        )?;
        let duplicate_sends = counters(
            "onefive_duplicate_sends_total",
            "Messages found at a provider besides the one that was meant.",
            &["provider"],
        )?;
        let reconciled = counters(
            "onefive_replies_reconciled_total",
            "Replies that an outage kept from us, fetched from the provider afterwards.",
            &["provider"],
        )?;
        let provider_open = gauges(
            "onefive_provider_circuit_open",
            "1 while nothing is sent through a provider because it does not answer.",
            &["provider"],
        )?;
        let invariants = gauges(
            "onefive_invariant_violations",
            "How often a promise is found broken in the database, by invariant; seen by the replica that has the duty to look. -1 where the question could not be answered.",
            &["invariant"],
        )?;
        Ok(Self {
            provider_open,
            ceilings,
            looks,
            duplicate_sends,
            reconciled,
            invariants,
        })
    }
}

/// How results reach others. What one replica does for all is shown by that one.
#[derive(Clone)]
pub struct Streams {
    /// Seconds for which the oldest event has waited to be folded.
    pub outbox_oldest: Gauge,
    /// What was told, by sink and result.
    pub published: IntCounterVec,
    /// 1 while a sink takes nothing.
    pub sink_down: IntGaugeVec,
    /// Webhooks by state.
    pub webhooks: IntGaugeVec,
    /// Readers of `/v1/events`.
    pub readers: IntGauge,
    /// Seconds from an event to its first telling, by sink.
    pub publish_seconds: HistogramVec,
}

impl Streams {
    fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let outbox_oldest = Gauge::new(
            "onefive_outbox_oldest_seconds",
            "Seconds for which the oldest event has waited to be folded into the kept sums; seen by the replica that folds. Totals count it all the same.",
        )?;
        registry.register(Box::new(outbox_oldest.clone()))?;
        let published = counters(
            registry,
            "onefive_published_total",
            "Events told, or samples of totals carried, by sink and result.",
            &["sink", "result"],
        )?;
        let sink_down = IntGaugeVec::new(
            Opts::new(
                "onefive_sink_down",
                "1 while a sink takes nothing and what it should take waits.",
            ),
            &["sink"],
        )?;
        registry.register(Box::new(sink_down.clone()))?;
        let webhooks = IntGaugeVec::new(
            Opts::new(
                "onefive_webhooks",
                "Webhooks that work, are left alone for a while because they fail, or are disabled; seen by the replica that tells them.",
            ),
            &["state"],
        )?;
        registry.register(Box::new(webhooks.clone()))?;
        let readers = IntGauge::new(
            "onefive_event_readers",
            "Connections that read /v1/events now.",
        )?;
        registry.register(Box::new(readers.clone()))?;
        // What is to be quick is told within half a second; what waited for an outage took as long as that.
        let buckets = vec![
            0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 1.5, 5.0, 30.0, 300.0, 3600.0,
        ];
        let publish_seconds = HistogramVec::new(
            HistogramOpts::new(
                "onefive_publish_seconds",
                "Seconds from an event to the first time that a sink was told of it.",
            )
            .buckets(buckets),
            &["sink"],
        )?;
        registry.register(Box::new(publish_seconds.clone()))?;
        let words: [(&str, &[&str]); 4] = [
            ("webhook", &["ok", "failed", "gone", "gave_up"]),
            ("nats", &["ok", "failed"]),
            ("remote_write", &["ok", "failed", "refused", "dropped"]),
            ("sse", &["ok"]),
        ];
        for (sink, results) in words {
            for result in results {
                published.with_label_values(&[sink, result]);
            }
        }
        for state in ["working", "open", "disabled"] {
            webhooks.with_label_values(&[state]);
        }
        Ok(Self {
            outbox_oldest,
            published,
            sink_down,
            webhooks,
            readers,
            publish_seconds,
        })
    }
}

fn counters(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> Result<IntCounterVec, prometheus::Error> {
    let counters = IntCounterVec::new(Opts::new(name, help), labels)?;
    registry.register(Box::new(counters.clone()))?;
    Ok(counters)
}
