//! How much of something that lasts goes on at once for each of many, such as the streams that are read with a key.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus::IntGauge;

/// Places taken by name.
#[derive(Debug, Clone, Default)]
pub struct Seats(Arc<Mutex<HashMap<String, usize>>>);

/// One place; leaving it frees it.
pub(super) struct Seat {
    seats: Seats,
    name: String,
    gauge: Option<IntGauge>,
}

impl Seats {
    /// A place, unless `most` are taken under this name. The gauge counts those of all names.
    pub(super) fn sit(&self, name: String, most: usize, gauge: Option<IntGauge>) -> Option<Seat> {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = taken.entry(name.clone()).or_insert(0);
        if *count >= most {
            return None;
        }
        *count += 1;
        if let Some(gauge) = &gauge {
            gauge.inc();
        }
        Some(Seat {
            seats: self.clone(),
            name,
            gauge,
        })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(gauge) = &self.gauge {
            gauge.dec();
        }
        let mut taken = self.seats.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&self.name) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_free_again_when_it_is_left_and_names_do_not_mix() {
        let (seats, gauge) = (Seats::default(), IntGauge::new("n", "n").unwrap());
        let sit = |name: &str| seats.sit(name.to_owned(), 2, Some(gauge.clone()));
        let (first, second) = (sit("a"), sit("a"));
        assert!(first.is_some() && second.is_some() && sit("a").is_none());
        let other = sit("b");
        assert_eq!((other.is_some(), gauge.get()), (true, 3));
        drop(first);
        assert!(sit("a").is_some());
        drop((second, other));
        assert_eq!((gauge.get(), seats.0.lock().unwrap().len()), (0, 0));
    }
}
