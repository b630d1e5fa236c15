//! What may go wrong around the service, done on purpose, and what has to hold all the same.

mod clocks;
mod database;
mod doors;
mod files;
mod rolling;
