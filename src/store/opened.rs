//! Settings of desks as they were opened last: a desk's text stays the same over many replies, and opening and parsing it costs more
//! than comparing it. What the database holds decides every time; another text, or another key's, is opened anew.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::domain::desk::DeskSettings;
use crate::domain::id::DeskId;

/// Desks whose settings are kept. With longest texts about 30 MB.
const MAX: usize = 256;

/// A text as it is stored, and what it says.
type Kept = (String, Arc<DeskSettings>);

/// The settings that were opened last.
#[derive(Default)]
pub(super) struct OpenedSettings(Mutex<HashMap<DeskId, Kept>>);

impl OpenedSettings {
    /// What this text of the desk says: as it was opened before, or opened now. What does not open is not kept.
    pub(super) fn get_or_open<E>(
        &self,
        desk: DeskId,
        sealed: String,
        open: impl FnOnce(&str) -> Result<DeskSettings, E>,
    ) -> Result<Arc<DeskSettings>, E> {
        // Nothing that is kept is ever half written, so that a panic elsewhere leaves it good.
        let lock = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((text, settings)) = lock().get(&desk)
            && *text == sealed
        {
            return Ok(Arc::clone(settings));
        }
        // Opened without the lock: others need not wait for it.
        let settings = Arc::new(open(&sealed)?);
        let mut kept = lock();
        if kept.len() >= MAX && !kept.contains_key(&desk) {
            let any = kept.keys().next().copied();
            if let Some(any) = any {
                kept.remove(&any);
            }
        }
        kept.insert(desk, (sealed, Arc::clone(&settings)));
        Ok(settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::Timestamp;

    fn desk(n: u8) -> DeskId {
        DeskId::new(Timestamp::from_millis(1_700_000_000_000), [n; 10])
    }

    fn says(language: &str) -> Result<DeskSettings, ()> {
        Ok(DeskSettings {
            language: language.to_owned(),
            ..DeskSettings::default()
        })
    }

    #[test]
    fn a_text_is_opened_once_and_another_text_or_desk_anew() {
        let opened = OpenedSettings::default();
        let get = |desk, text: &str, open: Result<DeskSettings, ()>| {
            opened.get_or_open(desk, text.to_owned(), |_| open)
        };
        assert_eq!(get(desk(1), "a", says("de")).unwrap().language, "de");
        assert_eq!(get(desk(1), "a", Err(())).unwrap().language, "de");
        assert_eq!(get(desk(2), "a", says("fr")).unwrap().language, "fr");
        assert_eq!(get(desk(1), "b", Err(())), Err(()), "nothing old is said");
        assert_eq!(get(desk(1), "b", says("es")).unwrap().language, "es");
        assert_eq!(get(desk(1), "a", says("it")).unwrap().language, "it");
    }

    #[test]
    fn many_desks_do_not_fill_the_memory() {
        let opened = OpenedSettings::default();
        for n in 0..=u8::MAX {
            opened
                .get_or_open(desk(n), String::new(), |_| says("de"))
                .unwrap();
        }
        let one_more = DeskId::new(Timestamp::from_millis(1), [0; 10]);
        for _ in 0..2 {
            let got = opened.get_or_open(one_more, String::new(), |_| says("fr"));
            assert_eq!(got.unwrap().language, "fr");
        }
        assert_eq!(opened.0.lock().unwrap().len(), MAX);
    }
}
