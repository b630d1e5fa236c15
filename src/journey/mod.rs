//! The steps, in the order in which the data walks. Async, but only through traits: nothing here knows SQL, HTTP or a
//! provider's format.
//!
//! ```text
//! trigger --accept--> request + delivery --deliver--> sent --receive--> reply, rating, event --> totals
//!                                                      |                                          |
//!              settle: callbacks, what dead workers left, the provider's list         tidy: time, folding
//! ```
//!
//! `publish` tells others of events and totals; `reconcile` takes in the replies that an outage kept from us; `watch` pauses a desk
//! whose messages look pumped; `replay` tries other rules on past triggers;
//! `forget` ends what is known about people; `duty` lets one replica do what one is enough for.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::Notify;

use crate::channel::{self, Urls};
use crate::clock::{Clock, Entropy};
use crate::domain::desk::Desk;
use crate::domain::id::RequestId;
use crate::domain::request::{Channel as ChannelName, Request};
use crate::domain::settling;
use crate::domain::token::{LinkLength, TokenMint};
use crate::metrics::Metrics;
use crate::provider::{Explanation, Provider, own_meaning};
use crate::store::{SharedStore, StoreError};

mod accept;
mod case;
mod deliver;
mod duty;
mod forget;
mod publish;
mod receive;
mod reconcile;
mod replay;
mod settle;
mod tidy;
mod time;
mod watch;

pub use accept::{AcceptError, Asked};
pub use deliver::Deliverer;
pub use duty::Duty;
pub use publish::{Families, Figures, Publishing, Reader, WebhookError};
pub use receive::{Opened, Posted, PressError, Pressed, Shown};
pub use replay::{Replayed, Stretch};

/// Which provider carries which channel.
#[derive(Clone, Default)]
pub struct Routes(BTreeMap<&'static str, Arc<dyn Provider>>);

impl std::fmt::Debug for Routes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map()
            .entries(
                self.0
                    .iter()
                    .map(|(channel, provider)| (channel, provider.name())),
            )
            .finish()
    }
}

impl Routes {
    /// Sends `channel` through `provider`.
    pub fn set(&mut self, channel: &'static str, provider: Arc<dyn Provider>) {
        self.0.insert(channel, provider);
    }

    /// The provider of a channel.
    pub fn get(&self, channel: &str) -> Option<&Arc<dyn Provider>> {
        self.0.get(channel)
    }

    /// A provider by its own name, for its hooks.
    pub fn named(&self, provider: &str) -> Option<&Arc<dyn Provider>> {
        self.0.values().find(|known| known.name() == provider)
    }

    /// What a delivery's code means on a channel.
    pub fn explain(&self, channel: &str, code: &str) -> Option<Explanation> {
        let provider = self.get(channel);
        own_meaning(code).or_else(|| provider.and_then(|provider| provider.explain(code)))
    }

    /// The providers in use, each once.
    pub fn providers(&self) -> Vec<&Arc<dyn Provider>> {
        let by_name: BTreeMap<&str, &Arc<dyn Provider>> =
            self.0.values().map(|p| (p.name(), p)).collect();
        by_name.into_values().collect()
    }

    /// The channels that this provider carries.
    pub fn channels_of(&self, provider: &str) -> Vec<&'static str> {
        let own = self.0.iter().filter(|(_, known)| known.name() == provider);
        own.map(|(channel, _)| *channel).collect()
    }
}

/// What the steps may be told by configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// The public base address, without a slash at the end.
    pub public_url: String,
    /// Milliseconds after the first answer in which the contact may correct it or add words.
    pub correction_ms: i64,
    /// Milliseconds after its end and the time for corrections in which the link of a request still shows what it was about.
    pub link_ms: i64,
    /// What is done about attempts of which nobody knows whether they happened.
    pub settling: settling::Rules,
}

/// Everything that a step needs.
#[derive(Clone)]
pub struct Journey {
    /// What we remember.
    pub store: SharedStore,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// Tokens.
    pub mint: TokenMint,
    /// Who carries what.
    pub routes: Routes,
    /// The rules.
    pub rules: Rules,
    /// This process's metrics.
    pub metrics: Metrics,
    /// Who is told of results.
    pub publishing: Publishing,
    /// Rung when there is something to deliver.
    pub bell: Arc<Notify>,
    /// Names this process among replicas: a random word of its own.
    pub replica: String,
}

impl std::fmt::Debug for Journey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Journey")
            .field("routes", &self.routes)
            .field("rules", &self.rules)
            .finish_non_exhaustive()
    }
}

impl Journey {
    /// Counts an error of the store that no caller gets as an answer.
    fn store_failed(&self, error: &StoreError) {
        let kind = [error.kind().as_str()];
        self.metrics.store_errors.with_label_values(&kind).inc();
    }

    /// The token in the links of a request, as long as its channel likes it.
    pub fn link(&self, channel: &ChannelName, request: RequestId) -> String {
        let channel = channel::find(channel.as_str());
        let length = channel.map_or(LinkLength::Full, channel::Channel::link_length);
        self.mint.link(request, length)
    }

    /// The public addresses of a request.
    pub fn urls(&self, request: &Request) -> Urls {
        Urls::new(
            &self.rules.public_url,
            &self.link(&request.channel, request.id),
        )
    }

    /// The desk of a request. A request without its desk cannot be: desks are never deleted.
    async fn desk_of(&self, request: &Request) -> Result<Desk, StoreError> {
        let desk = self.store.desk(request.desk).await?;
        desk.ok_or_else(|| StoreError::Corrupt(format!("{} belongs to no desk", request.id)))
    }
}
