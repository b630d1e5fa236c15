//! What people see, in a real browser: clicked, typed and looked at, in light and dark, on a phone and on a desktop.

mod board;
mod board_desk;
mod board_keys;
mod board_looks;
mod board_parts;
mod docs;
mod looks;
mod rating;
mod sandbox;
mod scanner;
mod widget;
