//! The voices that speak: one for each language that has its own, and the usual one.

use std::collections::BTreeMap;

use super::settings::ensure;
use crate::provider::SettingsError;

/// The voices, as Twilio calls them.
#[derive(Debug, Clone, Default)]
pub(super) struct Voices {
    /// May be empty: Twilio's default.
    usual: String,
    by_language: BTreeMap<String, String>,
}

impl Voices {
    /// Every voice needs a name, and a language tag to go by.
    pub(super) fn check(
        usual: String,
        by_language: BTreeMap<String, String>,
    ) -> Result<Self, SettingsError> {
        for (tag, voice) in &by_language {
            let tagged = tag.starts_with(|c: char| c.is_ascii_alphabetic())
                && tag.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
            let key = format!("voices.{tag}");
            ensure(
                tagged,
                &key,
                "must be named by a language tag such as es or es-MX",
            )?;
            ensure(
                !voice.trim().is_empty(),
                &key,
                "must be a voice such as Polly.Mia",
            )?;
        }
        Ok(Self { usual, by_language })
    }

    /// The voice for a language: of its tag, of a wider one (`es` for `es-MX`), the usual one. May be empty.
    pub(super) fn of(&self, language: &str) -> &str {
        let mut wanted = language;
        loop {
            let mut all = self.by_language.iter();
            let found = all.find(|(tag, _)| tag.eq_ignore_ascii_case(wanted));
            match (found, wanted.rsplit_once('-')) {
                (Some((_, voice)), _) => return voice,
                (None, Some((wider, _))) => wanted = wider,
                (None, None) => return &self.usual,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::settings::tests::settings;

    #[test]
    fn each_language_has_its_voice() {
        let settings = settings(
            "voice = 'Polly.Joanna'\nvoices = { es = 'Polly.Lucia', es-MX = 'Polly.Mia' }",
        )
        .unwrap();
        for (language, voice) in [
            ("es-MX", "Polly.Mia"),
            ("es-ES", "Polly.Lucia"),
            ("ES", "Polly.Lucia"),
            ("en-US", "Polly.Joanna"),
        ] {
            assert_eq!(settings.voices.of(language), voice, "{language}");
        }
    }
}
