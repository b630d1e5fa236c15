//! map comes later
pub mod domain;
pub mod clock;
