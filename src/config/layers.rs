//! The layers of settings: defaults, file, environment, and secrets in files of their own. Knows TOML and no setting.

use super::{ConfigError, PREFIX};

pub(super) fn parse(place: &str, text: &str) -> Result<toml::Table, ConfigError> {
    text.parse::<toml::Table>()
        .map_err(|error| ConfigError::new(place, error.to_string().trim_end()))
}

/// Puts one table over another, key by key.
pub(super) fn merge(below: &mut toml::Table, above: toml::Table) {
    for (key, value) in above {
        match (below.get_mut(&key), value) {
            (Some(toml::Value::Table(below)), toml::Value::Table(above)) => merge(below, above),
            (_, value) => {
                below.insert(key, value);
            }
        }
    }
}

/// Puts one variable over the table: `SERVER__PUBLIC_URL`. It takes the type of what is there; a new key is a number or a truth
/// value if it reads as one, and a text otherwise.
pub(super) fn overlay(table: &mut toml::Table, key: &str, value: &str) -> Result<(), ConfigError> {
    let path: Vec<String> = key.split("__").map(str::to_lowercase).collect();
    let wrong =
        |message: &str| ConfigError::new(path.join("."), format!("{message} (from {PREFIX}{key})"));
    let Some((last, sections)) = path.split_last() else {
        return Ok(());
    };
    let mut here = table;
    for section in sections {
        let inner = here
            .entry(section.clone())
            .or_insert_with(|| toml::Value::Table(toml::Table::new()));
        here = inner
            .as_table_mut()
            .ok_or_else(|| wrong("is inside something that is no section"))?;
    }
    let text = || toml::Value::String(value.to_owned());
    let typed = match here.get(last) {
        Some(toml::Value::String(_)) => text(),
        Some(toml::Value::Integer(_)) => {
            toml::Value::Integer(value.parse().map_err(|_| wrong("must be a whole number"))?)
        }
        Some(toml::Value::Boolean(_)) => {
            toml::Value::Boolean(value.parse().map_err(|_| wrong("must be true or false"))?)
        }
        // A list of texts; only lists of numbers are never empty.
        Some(toml::Value::Array(known)) if known.iter().all(toml::Value::is_str) => {
            let texts = value.split(',').map(str::trim);
            let texts = texts.filter(|text| !text.is_empty());
            toml::Value::Array(texts.map(|text| text.to_owned().into()).collect())
        }
        Some(toml::Value::Array(_)) => {
            let numbers = value
                .split(',')
                .map(|number| number.trim().parse().map(toml::Value::Integer));
            toml::Value::Array(
                numbers
                    .collect::<Result<_, _>>()
                    .map_err(|_| wrong("must be whole numbers with commas between them"))?,
            )
        }
        Some(_) => return Err(wrong("cannot be set by a variable")),
        // A secret may look like a number and is none.
        None if ["secret", "token", "password", "inbound_key"]
            .iter()
            .any(|word| last.contains(word)) =>
        {
            text()
        }
        None => match (value.parse::<i64>(), value.parse::<bool>()) {
            (Ok(number), _) if !value.starts_with('+') => toml::Value::Integer(number),
            (_, Ok(truth)) => toml::Value::Boolean(truth),
            _ => text(),
        },
    };
    here.insert(last.clone(), typed);
    Ok(())
}

/// Replaces `key_file = "PATH"` by `key = "what the file says"`. The key file of `[secrets]` is no such text and stays a path.
pub(super) fn read_files(table: &mut toml::Table, above: &str) -> Result<(), ConfigError> {
    for (key, value) in std::mem::take(table) {
        let path = if above.is_empty() {
            key.clone()
        } else {
            format!("{above}.{key}")
        };
        let is_path = path == "secrets.keys_file" || key == "ca_file";
        match (key.strip_suffix("_file"), value) {
            (Some(inner), toml::Value::String(file)) if !is_path => {
                let text = std::fs::read_to_string(&file)
                    .map_err(|error| ConfigError::new(path.clone(), format!("{file}: {error}")))?;
                table.insert(
                    inner.to_owned(),
                    toml::Value::String(text.trim_end().to_owned()),
                );
            }
            (_, toml::Value::Table(mut inner)) => {
                read_files(&mut inner, &path)?;
                table.insert(key, toml::Value::Table(inner));
            }
            (_, value) => {
                // A value from a file goes over one beside it, whatever the order of the keys.
                if !table.contains_key(&key) {
                    table.insert(key, value);
                }
            }
        }
    }
    Ok(())
}
