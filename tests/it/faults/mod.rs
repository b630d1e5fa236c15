//! Faults on purpose: what is promised holds while processes die, answers are lost and networks break.
//!
//! Each story notes what it injected in `target/faults.jsonl`; `ONEFIVE_TEST_SOAK=1` makes the counts ten times bigger.

mod double;
mod kills;
mod pauses;
mod replicas;
mod scene;
mod sending;
