//! Which message in a provider's list is the one in doubt. Pure.
//!
//! The contact's number and the time alone would not do: the desk may have written to the same person from the same number. One
//! open request between two addresses at a time, the sender, the text and the time together tell.

use crate::domain::time::Timestamp;
use crate::provider::ledger::Sent;

/// The provider's stamp may be this much before our start: its list knows whole seconds, and so does its clock.
const EARLY_MS: i64 = 120_000;
/// And this much after the window is over: longer than a call of ours may take.
const LATE_MS: i64 = 330_000;

/// What is looked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'a> {
    /// Our address.
    pub(super) sender: &'a str,
    /// What the text is known by.
    pub(super) body: [u8; 32],
    /// When the attempt started.
    pub(super) started_at: Timestamp,
    /// When its message may have been made at the latest.
    pub(super) until: Timestamp,
}

/// What a list says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Match<'a> {
    /// These could be it, the earliest first. None of them: it is not there.
    Found(Vec<&'a Sent>),
    /// Something could be it, and its text is not shown.
    Unclear,
}

/// From when on a list is needed.
pub(super) fn since(started_at: Timestamp) -> Timestamp {
    started_at.plus_millis(-EARLY_MS)
}

/// Until when a message may be the one of this attempt. A process may have stood still before its first byte for as long as the
/// window; what the next attempt made is not this one's.
pub(super) fn until(started_at: Timestamp, window_ms: i64, next: Option<Timestamp>) -> Timestamp {
    let late = started_at.plus_millis(window_ms + LATE_MS);
    match next {
        Some(next) => late.min(next.plus_millis(-EARLY_MS)),
        None => late,
    }
}

/// Looks for it.
pub(super) fn find<'a>(
    wanted: Wanted<'_>,
    listed: &'a [Sent],
    hash: impl Fn(&str) -> [u8; 32],
) -> Match<'a> {
    let mut found = Vec::new();
    let mut unclear = false;
    for sent in listed {
        let ours = sent.from.iter().any(|name| name == wanted.sender);
        let in_time =
            since(wanted.started_at) <= sent.created_at && sent.created_at <= wanted.until;
        if !ours || !in_time {
            continue;
        }
        match &sent.body {
            Some(body) if hash(body) == wanted.body => found.push(sent),
            Some(_) => {}
            None => unclear = true,
        }
    }
    found.sort_by_key(|sent| sent.created_at.as_millis());
    if found.is_empty() && unclear {
        Match::Unclear
    } else {
        Match::Found(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::delivery::Status;
    use crate::domain::settling::body_hash;

    const ASK: &str = "How was it with Sam? Reply 1-5.";

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(1_000_000_000 + seconds * 1000)
    }

    fn sent(id: &str, from: &str, body: Option<&str>, seconds: i64) -> Sent {
        Sent {
            provider_id: id.to_owned(),
            from: vec![from.to_owned(), "MG1".to_owned()],
            body: body.map(str::to_owned),
            created_at: at(seconds),
            status: Status::Taken,
        }
    }

    fn ids(listed: &[Sent], sender: &str) -> Option<Vec<String>> {
        let wanted = Wanted {
            sender,
            body: body_hash(ASK),
            started_at: at(0),
            until: until(at(0), 600_000, None),
        };
        match find(wanted, listed, body_hash) {
            Match::Found(found) => Some(found.iter().map(|s| s.provider_id.clone()).collect()),
            Match::Unclear => None,
        }
    }

    #[test]
    fn sender_text_and_time_have_to_fit() {
        let listed = [
            sent("other text", "+1", Some("Your ticket is solved."), 1),
            sent("other sender", "+2", Some(ASK), 1),
            sent("too early", "+1", Some(ASK), -121),
            sent("too late", "+1", Some(ASK), 931),
        ];
        assert_eq!(ids(&listed, "+1"), Some(vec![]));
        let listed = [sent("it", "+1", Some(ASK), -2)];
        assert_eq!(ids(&listed, "+1"), Some(vec!["it".to_owned()]));
        assert_eq!(
            ids(&listed, "MG1"),
            Some(vec!["it".to_owned()]),
            "by the service's name"
        );
    }

    #[test]
    fn what_the_next_attempt_made_is_not_this_ones() {
        assert_eq!(until(at(0), 600_000, None), at(930));
        assert_eq!(until(at(0), 600_000, Some(at(1_200))), at(930));
        assert_eq!(until(at(0), 600_000, Some(at(700))), at(580));
    }

    #[test]
    fn of_several_the_earliest_comes_first() {
        let listed = [sent("b", "+1", Some(ASK), 9), sent("a", "+1", Some(ASK), 3)];
        assert_eq!(
            ids(&listed, "+1"),
            Some(vec!["a".to_owned(), "b".to_owned()])
        );
    }

    #[test]
    fn a_text_that_is_not_shown_is_no_proof_of_absence() {
        assert_eq!(ids(&[sent("a", "+1", None, 1)], "+1"), None);
        assert_eq!(ids(&[sent("a", "+2", None, 1)], "+3"), Some(vec![]));
        let both = [sent("a", "+1", None, 1), sent("b", "+1", Some(ASK), 2)];
        assert_eq!(ids(&both, "+1"), Some(vec!["b".to_owned()]));
    }
}
