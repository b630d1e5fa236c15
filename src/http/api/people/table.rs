//! Opt-outs as files: CSV (RFC 4180) and JSON lines. What goes out can come in again.

use serde::Deserialize;

use super::OptOutView;
use crate::domain::opt_out::{EVERY_CHANNEL, NewOptOut, Origin};
use crate::http::api::formula::harmless;
use crate::http::error::Problem;

/// In which form a list is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::http::api) enum Kind {
    Json,
    Csv,
    Lines,
}

impl Kind {
    pub(in crate::http::api) const fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Csv => "text/csv; charset=utf-8",
            Self::Lines => "application/x-ndjson",
        }
    }
}

/// The first form in `accept` that there is.
pub(in crate::http::api) fn wanted(accept: &str) -> Kind {
    let kinds = accept.split(',').find_map(kind);
    kinds.unwrap_or(Kind::Json)
}

/// The form of a media type.
pub(in crate::http::api) fn kind(media: &str) -> Option<Kind> {
    match media.split(';').next().unwrap_or_default().trim() {
        "application/json" | "*/*" => Some(Kind::Json),
        "text/csv" => Some(Kind::Csv),
        "application/x-ndjson" => Some(Kind::Lines),
        _ => None,
    }
}

pub(in crate::http::api) fn csv(items: &[OptOutView]) -> Result<String, Problem> {
    let mut file = csv::Writer::from_writer(Vec::new());
    let columns = ["address", "channel", "origin", "reason", "at", "every_desk"];
    let mut written = file.write_record(columns);
    for item in items {
        let row = [
            cell(item.address.as_deref().unwrap_or_default()),
            item.channel.clone(),
            item.origin.to_owned(),
            cell(&item.reason),
            item.at.to_rfc3339(),
            item.every_desk.to_string(),
        ];
        written = written.and_then(|()| file.write_record(row));
    }
    let whole = written.ok().and_then(|()| file.into_inner().ok());
    let text = whole.and_then(|bytes| String::from_utf8(bytes).ok());
    text.ok_or_else(|| Problem::new("internal", ""))
}

pub(in crate::http::api) fn lines(items: &[OptOutView]) -> Result<String, Problem> {
    let mut text = String::new();
    for item in items {
        text += &serde_json::to_string(item).map_err(|_| Problem::new("internal", ""))?;
        text.push('\n');
    }
    Ok(text)
}

/// What a spreadsheet would take for a formula gets an apostrophe in front. A telephone number is none.
fn cell(text: &str) -> String {
    let number = text
        .strip_prefix('+')
        .is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_digit()));
    if number {
        text.to_owned()
    } else {
        harmless(text.to_owned())
    }
}

/// A line that cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::http::api) struct Bad {
    pub(in crate::http::api) line: u64,
    pub(in crate::http::api) field: &'static str,
    pub(in crate::http::api) message: String,
}

/// A line of a file. Other columns, such as those of our own lists, are read over.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Line {
    address: String,
    channel: String,
    reason: String,
}

impl Line {
    fn read(self, line: u64) -> Result<NewOptOut, Bad> {
        let bad = |field, message| Bad {
            line,
            field,
            message,
        };
        let every = EVERY_CHANNEL;
        let named = if self.channel.is_empty() {
            every.as_str()
        } else {
            &self.channel
        };
        let channel = super::channel(named).map_err(|message| bad("channel", message))?;
        let address = self.address.trim();
        let address = address.strip_prefix('\'').unwrap_or(address);
        let address = super::address(address, Some(named));
        let address = address.map_err(|message| bad("address", message))?;
        super::reason(&self.reason).map_err(|message| bad("reason", message))?;
        Ok(NewOptOut {
            channel,
            address,
            origin: Origin::Import,
            reason: self.reason,
        })
    }
}

/// The lines of a file: those that can be taken, and those that cannot with the reason.
pub(in crate::http::api) fn read(kind: Kind, text: &[u8]) -> (Vec<NewOptOut>, Vec<Bad>) {
    let read = match kind {
        Kind::Csv => read_csv(text),
        Kind::Lines | Kind::Json => read_lines(text),
    };
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    for line in read {
        match line {
            Ok(line) => good.push(line),
            Err(error) => bad.push(error),
        }
    }
    (good, bad)
}

fn read_csv(text: &[u8]) -> Vec<Result<NewOptOut, Bad>> {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let mut file = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .flexible(true)
        .from_reader(text);
    let headers = file.headers().cloned().unwrap_or_default();
    if !headers.iter().any(|name| name == "address") {
        return vec![Err(Bad {
            line: 1,
            field: "address",
            message: "must be a column of the first line".to_owned(),
        })];
    }
    let mut lines = Vec::new();
    for (n, record) in file.records().enumerate() {
        let at = |record: &csv::StringRecord| {
            record.position().map_or(n as u64 + 2, csv::Position::line)
        };
        lines.push(match record {
            Ok(record) => {
                let line = at(&record);
                match record.deserialize::<Line>(Some(&headers)) {
                    Ok(read) => read.read(line),
                    Err(_) => Err(unreadable(line)),
                }
            }
            Err(error) => {
                let line = error.position().map_or(n as u64 + 2, csv::Position::line);
                Err(unreadable(line))
            }
        });
    }
    lines
}

fn read_lines(text: &[u8]) -> Vec<Result<NewOptOut, Bad>> {
    let lines = text.split(|byte| *byte == b'\n').zip(1_u64..);
    lines
        .filter(|(text, _)| !text.trim_ascii().is_empty())
        .map(|(text, line)| match serde_json::from_slice::<Line>(text) {
            Ok(read) => read.read(line),
            Err(_) => Err(unreadable(line)),
        })
        .collect()
}

/// What a parser says may repeat what stands there, so it is not passed on.
fn unreadable(line: u64) -> Bad {
    Bad {
        line,
        field: "",
        message: "cannot be read in this format".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::Timestamp;

    #[test]
    fn what_goes_out_can_come_in_again() {
        let item = |address: &str, channel: &str, reason: &str| OptOutView {
            address: Some(address.to_owned()),
            channel: channel.to_owned(),
            origin: "api",
            reason: reason.to_owned(),
            at: Timestamp::from_millis(1_700_000_000_000),
            every_desk: false,
        };
        let items = [
            item("+14155550123", "*", "said, \"never\""),
            item("ana@example.com", "email", ""),
            item("=cmd()", "chat", ""),
        ];
        let file = csv(&items).unwrap();
        assert!(file.contains("\n'=cmd(),chat") && file.contains("\n+14155550123,"));
        for (kind, text) in [(Kind::Csv, file), (Kind::Lines, lines(&items).unwrap())] {
            let (good, bad) = read(kind, text.as_bytes());
            assert_eq!(bad, [], "{text}");
            let back: Vec<(&str, &str)> = good
                .iter()
                .map(|new| (new.address.expose(), new.reason.as_str()))
                .collect();
            let expected = [
                ("+14155550123", "said, \"never\""),
                ("ana@example.com", ""),
                ("=cmd()", ""),
            ];
            assert_eq!(back, expected, "{text}");
        }
    }

    #[test]
    fn each_bad_line_is_named_and_its_content_is_not_repeated() {
        let file = b"address,channel\n+14155550123,\nnobody,\nana@example.com,fax\n+1 415,sms\n";
        let (good, bad) = read(Kind::Csv, file);
        assert_eq!(good.len(), 1);
        let named: Vec<(u64, &str)> = bad.iter().map(|bad| (bad.line, bad.field)).collect();
        assert_eq!(named, [(3, "address"), (4, "channel"), (5, "address")]);
        let (good, bad) = read(
            Kind::Lines,
            b"{\"address\":\"+14155550123\"}\n\n{secret\n7\n",
        );
        assert_eq!((good.len(), bad.len(), bad[0].line), (1, 2, 3));
        assert!(!bad[0].message.contains("secret"));
        assert_eq!(read(Kind::Csv, b"a,b\n1,2\n").1[0].line, 1);
        assert_eq!(read(Kind::Csv, b"").1.len(), 1);
        for bytes in [
            &b"\xff\xfe\x00"[..],
            b"address\n\xff\xff\n",
            b"{\"address\":7}",
        ] {
            assert!(read(Kind::Csv, bytes).0.is_empty());
            assert!(read(Kind::Lines, bytes).0.is_empty());
        }
    }

    #[test]
    fn the_first_form_that_there_is_is_taken() {
        assert_eq!(wanted("text/html, text/csv;q=0.9"), Kind::Csv);
        assert_eq!(wanted("application/x-ndjson"), Kind::Lines);
        assert_eq!(wanted(""), Kind::Json);
        assert_eq!(wanted("*/*"), Kind::Json);
    }
}
