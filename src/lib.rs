//! **onefive** asks customers for a rating from 1 to 5 in the channel that their conversation took place in.
//!
//! This page is the map. **Nouns are in [`domain`], verbs in [`journey`], the outside world in the adapter folders.** The data
//! walks one way:
//!
//! ```text
//! trigger -> request -> delivery -> reply -> rating -> results
//! ```
//!
//! | step | noun made | function | store call |
//! |---|---|---|---|
//! | trigger | `Trigger`, decision | `http::api::requests::create` -> `Journey::accept` | `accept` |
//! | request, delivery | `Request` | (same transaction) | |
//! | send | `Outcome` | `Deliverer`: claim, render, open, commit, send, report | `claim_deliveries`, `dispatch`, `report` |
//! | settle | `Status` | `http::hooks` -> `Journey::receive`; the duties sweep and settle | `record_status`, `sweep`, `claim_checks`, `settle` |
//! | reply, rating | `Reply`, `Rating`, `Event` | `http::{hooks, pages, chat}` -> `Journey::{receive, tap, press}` | `record_reply` (one transaction) |
//! | results | `Totals` | `http::admin` -> `http::totals` | `totals` (one statement) |
//! | results, told | `Notice` | the duties webhooks, streams, samples -> `Journey::tell_…`; `http::api::events` | `events`, `record_tries`, `mark_sink` |
//! | missed replies | `Reply` | the duty reconcile -> `Journey::reconcile` | `record_reply` |
//! | end | | the duties tidy -> `Journey::tidy` and prune -> `Journey::prune` | `expire`, `fold`, `prune_events` |
//! | forget | `Retention` | the duty retain; `http::api::contacts` -> `Journey::erase` | `retain`, `erase` |
//! | new key | | the duty reseal -> `Journey::reseal` | `reseal` |
//!
//! Who may import whom (a test reads the `use` lines and holds it): `domain` nothing of ours; `channel` and `clock` domain; `web`
//! domain, channel; `provider` domain, channel, clock; `sink` domain; `store` domain, clock; `journey` domain, channel, clock, metrics
//! and the traits of provider, sink and store; an adapter never a sibling; `http` journey, web and all that journey may (its sandbox page also
//! the sandbox provider); [`app`] everything, and nothing imports `app` but [`cli`] and tests. SQL only in `store`, axum only in
//! `http` (and `app`, which merges routers), hyper only in `http::server`, `provider` and `sink`, mail only in `provider::smtp`.
//!
//! Adding a channel, a provider or a sink is one file or folder and one row in that folder's `ALL`.

pub mod domain;

pub mod channel;
pub mod journey;

pub mod http;
pub mod provider;
pub mod sink;
pub mod store;
pub mod web;

pub mod app;
pub mod cli;
pub mod clock;
pub mod config;
pub mod metrics;
