//! The nouns of the business: pure values, no async, no I/O, nothing of ours imported.
//!
//! Read them in the order in which the data walks: a [`trigger`] gets a decision by [`policy`] and becomes a
//! [`request`], which is carried by a [`delivery`]; what comes back is a [`reply`], understood as a [`rating`]; every
//! change is an [`event`], and events add up to [`statistics`] and are told to others as a [`notice`], also by [`webhook`],
//! if wished as a text by [`slack`]. [`watch`] looks out for sending that somebody else earns on.

pub mod contact;
pub mod delivery;
pub mod desk;
pub mod event;
pub mod follow_up;
pub mod grade;
pub mod id;
pub mod notice;
pub mod opt_out;
pub mod policy;
pub mod rating;
pub mod reply;
pub mod request;
pub mod retention;
pub mod settling;
pub mod slack;
pub mod statistics;
pub mod strict;
pub mod time;
pub mod token;
pub mod trigger;
pub mod view;
pub mod watch;
pub mod webhook;
pub mod wording;
