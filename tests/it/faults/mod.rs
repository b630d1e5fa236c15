//! Faults on purpose: what is promised holds while the database, its disk and its clock fail.

mod clocks;
mod database;
mod files;
