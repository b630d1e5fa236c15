//! What mail servers report: delivery status notifications (RFC 3464), bounces in plain words from before them, and complaints
//! (RFC 5965).

use super::Look;
use crate::domain::delivery::Status;
use crate::provider::Returned;
use crate::provider::smtp::codes::enhanced;

/// Beginnings of subjects of bounces in plain words.
const SUBJECTS: &[&str] = &[
    "delivery failure",
    "delivery has failed",
    "delivery status notification (failure)",
    "failure notice",
    "mail delivery failed",
    "mail delivery failure",
    "mail delivery system",
    "mail system error - returned mail",
    "message undeliverable",
    "returned mail",
    "undeliverable",
    "undelivered mail",
    "unzustellbar",
];
/// What a server writes from.
const SENDERS: &[&str] = &[
    "mailer-daemon",
    "postmaster",
    "mail-daemon",
    "microsoftexchange",
];

/// What a delivery status notification says; one that does not say what happened is a machine's note like any other. Several recipients are one only where the contact's mail is handed on; what
/// arrived anywhere has arrived.
pub(super) fn delivery(look: &Look<'_>) -> Option<Returned> {
    let report = look
        .parts("message", &["delivery-status", "global-delivery-status"])
        .next()?;
    let all: Vec<Status> = groups(&report).iter().filter_map(recipient).collect();
    let rank = |status: &Status| match status {
        Status::Taken => 0,
        Status::Failed { .. } => 1,
        Status::Delivered => 2,
    };
    let news = all.into_iter().max_by_key(rank);
    Some(news.map_or(Returned::Automatic, Returned::News))
}

type Fields = Vec<(String, String)>;

/// The groups of fields of a report: the first is about the mail, each further one about a recipient. Some servers leave out the
/// empty line between the two, so a group may be both.
fn groups(report: &str) -> Vec<Fields> {
    let mut groups = vec![Fields::new()];
    for line in report.lines().take(500) {
        let Some(group) = groups.last_mut() else {
            break;
        };
        if line.trim().is_empty() {
            groups.push(Fields::new());
        } else if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = group.last_mut() {
                value.push(' ');
                value.push_str(line.trim());
            }
        } else if let Some((name, value)) = line.split_once(':') {
            group.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
    groups
}

fn recipient(group: &Fields) -> Option<Status> {
    let field = |name: &str| {
        let found = group.iter().find(|(known, _)| known == name);
        found.map_or("", |(_, value)| value.as_str())
    };
    let status = enhanced(field("status"));
    let action = field("action")
        .split_whitespace()
        .next()
        .unwrap_or_default();
    let failed = || Status::Failed {
        code: code(status, field("diagnostic-code")),
        opted_out: false,
    };
    match action.to_ascii_lowercase().as_str() {
        // Given up is final, whatever class the status has: "4.4.7" is a mail that waited for days.
        "failed" => Some(failed()),
        "delivered" => Some(Status::Delivered),
        // It is there, and it is on its way.
        "delayed" | "relayed" | "expanded" => Some(Status::Taken),
        "" => match status?.as_bytes().first() {
            Some(b'5') => Some(failed()),
            Some(b'2') => Some(Status::Delivered),
            _ => Some(Status::Taken),
        },
        _ => None,
    }
}

/// The status, unless it says less than the words of the server that refused: "5.0.0" is any failure.
fn code(status: Option<&str>, diagnostic: &str) -> String {
    let vague = |code: &str| code.ends_with(".0.0");
    match (status, enhanced(diagnostic)) {
        (Some(status), Some(said)) if vague(status) && !said.starts_with('2') => said.to_owned(),
        (Some(status), _) => status.to_owned(),
        (None, Some(said)) => said.to_owned(),
        (None, None) => "5.0.0".to_owned(),
    }
}

/// A bounce in plain words, as qmail and older servers write them. `None` if it is none, or if it only says that the mail is
/// late: what is not sure changes nothing.
pub(super) fn bounce(look: &Look<'_>) -> Option<Status> {
    let from = look.from().map_or(String::new(), |from| from.lookup_form());
    let from = from.split('@').next().unwrap_or_default();
    let subject = look
        .mail
        .subject()
        .unwrap_or_default()
        .trim()
        .to_lowercase();
    let by_server = SENDERS.iter().any(|sender| from.starts_with(sender));
    let returned = look.header("return-path").is_some_and(|path| path == "<>");
    let says_failed = SUBJECTS.iter().any(|start| subject.starts_with(start));
    let lists_failed = look.header("x-failed-recipients").is_some();
    if !(by_server || returned) || !(says_failed || lists_failed) {
        return None;
    }
    let text = look.mail.body_text(0).unwrap_or_default();
    // What stands below our own mail's headers is ours.
    let end = text
        .find("Message-ID:")
        .or_else(|| text.find("Message-Id:"));
    let words = text.get(..end.unwrap_or(text.len())).unwrap_or_default();
    let code = words
        .lines()
        .filter_map(enhanced)
        .find(|code| code.starts_with('5'));
    Some(Status::Failed {
        code: code.unwrap_or("5.0.0").to_owned(),
        opted_out: false,
    })
}

/// Whether it is a complaint. `None` if it is no feedback report at all, `Some(false)` if it is one about something else.
pub(super) fn complaint(look: &Look<'_>) -> Option<bool> {
    let report = look.parts("message", &["feedback-report"]).next()?;
    let groups = groups(&report);
    let kind = groups
        .iter()
        .flatten()
        .find(|(name, _)| name == "feedback-type");
    let kind = kind
        .map_or("abuse", |(_, value)| value.as_str())
        .to_ascii_lowercase();
    Some(["abuse", "fraud", "opt-out", "opt-out-list", "other"].contains(&kind.as_str()))
}
