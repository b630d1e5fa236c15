//! Values from outside, read strictly: what is wrong is named by its path, and so is a field that nobody here knows.
//!
//! Unknown fields are refused here and not by the types themselves: what is read back from the store may have been written by a
//! newer version.

use std::fmt::Display;

use serde::Deserializer;
use serde::de::DeserializeOwned;
use serde_ignored::Path;
use serde_path_to_error::Track;

/// Why a value was not taken.
#[derive(Debug, thiserror::Error)]
pub enum Refused<E: Display> {
    /// A field that is not known, by its path.
    #[error("`{0}` is no field that can be set here")]
    Unknown(String),
    /// A value that cannot be used, by its path.
    #[error("`{0}`: {1}")]
    Wrong(String, E),
    /// The whole cannot be used.
    #[error("{0}")]
    Whole(E),
}

/// The value as `T`, without fields that `T` does not know.
pub fn read<'de, T, D>(value: D) -> Result<T, Refused<D::Error>>
where
    T: DeserializeOwned,
    D: Deserializer<'de>,
    D::Error: Display,
{
    let (mut track, mut unknown) = (Track::new(), None);
    let tracked = serde_path_to_error::Deserializer::new(value, &mut track);
    let read = serde_ignored::deserialize(tracked, |path| {
        unknown.get_or_insert_with(|| dotted(&path));
    });
    let value = read.map_err(|error| match track.path().to_string() {
        // Where a text ends too early there is no path.
        top if top == "." || top == "?" => Refused::Whole(error),
        path => Refused::Wrong(path, error),
    })?;
    unknown.map_or(Ok(value), |path| Err(Refused::Unknown(path)))
}

/// The same of a JSON text with nothing behind it.
pub fn json<T: DeserializeOwned>(text: &[u8]) -> Result<T, Refused<serde_json::Error>> {
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let value = read(&mut deserializer)?;
    deserializer.end().map_err(Refused::Whole)?;
    Ok(value)
}

/// A path in the form in which other errors name it: `agent.name`, `caps[0].days`.
fn dotted(path: &Path<'_>) -> String {
    match path {
        Path::Root => String::new(),
        Path::Seq { parent, index } => format!("{}[{index}]", dotted(parent)),
        Path::Map { parent, key } => match dotted(parent) {
            parent if parent.is_empty() => key.clone(),
            parent => format!("{parent}.{key}"),
        },
        Path::Some { parent }
        | Path::NewtypeStruct { parent }
        | Path::NewtypeVariant { parent } => dotted(parent),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::desk::DeskSettings;

    #[test]
    fn what_is_wrong_or_unknown_is_named_by_its_path() {
        for (text, expected) in [
            (
                r#"{"rules": {"caps": [{"count": 1, "days": "x"}]}}"#,
                "`rules.caps[0].days`: invalid type",
            ),
            (
                r#"{"answers": {"colour": 1}}"#,
                "`answers.colour` is no field",
            ),
            (r#"{"colour": 1, "color": 2}"#, "`colour` is no field"),
            ("1", "invalid type"),
            ("{} {}", "trailing characters"),
            ("{", "EOF"),
        ] {
            let refused = json::<DeskSettings>(text.as_bytes())
                .unwrap_err()
                .to_string();
            assert!(refused.starts_with(expected), "{text}: {refused}");
        }
        assert_eq!(
            json::<DeskSettings>(b" {} ").unwrap(),
            DeskSettings::default()
        );
    }
}
