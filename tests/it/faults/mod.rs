//! What may go wrong around the service, done on purpose, and what has to hold all the same.
//!
//! Each story notes what it injected in `target/faults.jsonl`; `ONEFIVE_TEST_SOAK=1` makes the counts about ten times bigger.

mod clocks;
mod database;
mod doors;
mod files;
mod mail;
mod rolling;
