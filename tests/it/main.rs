//! Stories of the whole service against real parts: one binary, so that everything is linked once.
//!
//! `tests/run` installs and starts the parts and tells where they are; without it these tests say what is missing.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on has failed"
)]
#![expect(
    clippy::disallowed_methods,
    reason = "tests are told by the environment where the real parts are"
)]

mod alerts;
mod api;
mod api_keys;
mod api_lists;
mod architecture;
mod bad_input;
mod bad_posts;
mod bounds;
mod browser;
mod canary;
mod chat;
mod cli;
mod contacts;
mod contract;
mod crash;
mod decisions;
mod decisions_again;
mod delivery;
mod desk_totals;
mod email;
mod email_back;
mod email_bounce;
mod email_tls;
mod events;
mod exclude;
mod export;
mod faults;
mod figures;
mod follow_ups;
mod held;
mod hooks;
mod limits;
mod listeners;
mod nats;
mod opt_outs;
mod own_words;
mod prometheus;
mod rate_limits;
mod reconcile;
mod remote_write;
mod retention;
mod rotation;
mod scanner;
mod scanner_orders;
mod simulation;
mod sms;
mod sse;
mod statistics;
mod streams;
mod summary;
mod support;
mod voice;
mod webhooks;
mod webhooks_away;
mod webhooks_live;
mod webhooks_low;
mod wishes;
