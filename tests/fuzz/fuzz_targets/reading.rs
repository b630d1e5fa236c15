//! Any bytes, as text, through the reader of replies: no panic, and what is read stands in what was written.

#![no_main]

use libfuzzer_sys::fuzz_target;
use onefive::channel::reading;
use onefive::domain::reply::Understood;

fuzz_target!(|bytes: &[u8]| {
    let raw = String::from_utf8_lossy(bytes);
    match reading::text(&raw) {
        Understood::Rating(score, comment) => {
            assert!((1..=5).contains(&score.get()) && raw.contains(&comment));
        }
        Understood::Words(words) => assert_eq!(words, raw.trim()),
        Understood::Stop | Understood::Start | Understood::Help => {}
    }
    let _ = reading::key(&raw);
});
