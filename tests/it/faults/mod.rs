//! Faults on purpose: what is promised holds while processes die, answers are lost, and the network, the database, its disk and its
//! clock fail.
//!
//! Each story notes what it injected in `target/faults.jsonl`; `ONEFIVE_TEST_SOAK=1` makes most counts about ten times bigger.

mod ahead;
mod clocks;
mod database;
mod doors;
mod double;
mod files;
mod guarded;
mod kills;
mod mail;
mod pauses;
mod repeats;
mod replicas;
mod rolling;
mod scene;
mod sending;
mod settling;
mod totals;
