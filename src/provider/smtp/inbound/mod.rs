//! Reads a mail that came back: is it a server's news, a complaint, a machine's note or a person's answer? Pure and total: any
//! bytes are something, and in doubt they are nobody's answer.
//!
//! The order matters. Reports come first, because they are marked as automatic too; then everything that a machine may have
//! written; and only what is left is an answer.

use std::collections::BTreeSet;

use mail_parser::{Encoding, Message, MessageParser, MimeHeaders as _};
use sha2::{Digest as _, Sha256};

use crate::domain::contact::Address;
use crate::provider::Returned;

mod automatic;
mod report;
mod words;

#[cfg(test)]
mod tests;

/// How much of a mail is looked at. What was written and what a server reports stand before what is attached.
pub(super) const BYTES_MAX: usize = 256 * 1024;
/// The most Message-IDs that a mail may refer to.
const NAMES_MAX: usize = 64;
/// The most headers that are looked at.
const HEADERS_MAX: usize = 300;

/// A mail in our words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Read {
    /// The Message-IDs that it refers to, in small letters and without brackets, the likeliest first.
    pub(super) refers_to: Vec<String>,
    /// Its own Message-ID, or a hash where it has none that can be used.
    pub(super) id: String,
    /// What it is.
    pub(super) returned: Returned,
}

/// Reads a mail. `None` if it has no header that every mail has: then it is something else.
pub(super) fn read(raw: &[u8]) -> Option<Read> {
    let raw = raw.get(..BYTES_MAX).unwrap_or(raw);
    let flat = flat(without_envelope(raw));
    let mail = MessageParser::default().parse(&flat)?;
    let look = Look::new(&mail, &flat);
    let usual = ["from", "date", "received", "message-id"];
    if !usual.iter().any(|name| look.header(name).is_some()) {
        return None;
    }
    let returned = returned(&look);
    let refers_to = if matches!(returned, Returned::Answer { .. }) {
        look.answered()
    } else {
        look.named()
    };
    Some(Read {
        refers_to,
        id: look.id(),
        returned,
    })
}

fn returned(look: &Look<'_>) -> Returned {
    if let Some(complaint) = report::complaint(look) {
        return if complaint {
            Returned::Complaint
        } else {
            Returned::Automatic
        };
    }
    if let Some(reported) = report::delivery(look) {
        return reported;
    }
    if let Some(status) = report::bounce(look) {
        return Returned::News(status);
    }
    match look.from().filter(|_| !automatic::is(look)) {
        Some(from) => Returned::Answer {
            from,
            words: words::of(look.mail),
        },
        None => Returned::Automatic,
    }
}

/// A mail as the parts of this folder look at it.
struct Look<'a> {
    mail: &'a Message<'a>,
    /// Names in small letters, values unfolded.
    headers: Vec<(String, String)>,
    flat: &'a [u8],
}

impl<'a> Look<'a> {
    fn new(mail: &'a Message<'a>, flat: &'a [u8]) -> Self {
        let unfold = |value: &str| value.split_whitespace().collect::<Vec<_>>().join(" ");
        let headers = mail
            .headers_raw()
            .take(HEADERS_MAX)
            .map(|(name, value)| (name.to_ascii_lowercase(), unfold(value)))
            .collect();
        Self {
            mail,
            headers,
            flat,
        }
    }

    /// The value of a header, `None` if it is missing.
    fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The contents of the parts with this media type, as text.
    fn parts(&self, kind: &str, subtypes: &[&str]) -> impl Iterator<Item = String> {
        self.mail.parts.iter().filter_map(move |part| {
            let mime = part.content_type()?;
            let fits =
                mime.ctype() == kind && mime.subtype().is_some_and(|sub| subtypes.contains(&sub));
            fits.then(|| String::from_utf8_lossy(part.contents()).into_owned())
        })
    }

    /// The one whom the mail comes from. Two are nobody.
    fn from(&self) -> Option<Address> {
        let headers = self.headers.iter().filter(|(name, _)| name == "from");
        if headers.count() != 1 {
            return None;
        }
        let mut all = self.mail.from()?.iter();
        let (first, more) = (all.next()?, all.next());
        if more.is_some() {
            return None;
        }
        Address::mail(first.address.as_deref()?.trim()).ok()
    }

    /// Its own Message-ID. It keeps a mail that is brought twice from counting twice, so one that is missing or no usual one
    /// gives way to a hash of the mail; not of its first headers, which each way through a server changes.
    fn id(&self) -> String {
        let usual =
            |id: &&str| (3..=200).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic());
        if let Some(id) = self.mail.message_id().filter(usual) {
            return id.to_owned();
        }
        let body = self.mail.parts.first().map_or(0, |part| part.offset_body);
        let mut hash = Sha256::new();
        hash.update(self.header("from").unwrap_or_default());
        hash.update(self.header("date").unwrap_or_default());
        hash.update(self.flat.get(body as usize..).unwrap_or_default());
        format!("sha256-{}", hex::encode(&hash.finalize()[..16]))
    }

    /// What an answer answers: what it says itself, or else the last mail of its thread, or else what it quotes. Not the whole
    /// thread: an answer to a later mail of an agent's is no answer to ours.
    fn answered(&self) -> Vec<String> {
        let of = |name: &str| names(self.header(name).unwrap_or_default(), 1);
        let direct = of("in-reply-to");
        if !direct.is_empty() {
            return direct;
        }
        let thread = of("references");
        if let Some(last) = thread.last() {
            return vec![last.clone()];
        }
        self.quoted()
    }

    /// Every Message-ID that the mail names anywhere.
    fn named(&self) -> Vec<String> {
        let mut all = self.answered();
        all.extend(names(self.header("references").unwrap_or_default(), LONG));
        all.extend(self.quoted());
        let mut seen = BTreeSet::new();
        all.retain(|name| seen.insert(name.clone()));
        all.truncate(NAMES_MAX);
        all
    }

    /// What stands in the mail itself: the headers of a mail that was sent back, or words of a server. Our own come in small
    /// letters; so the bytes are looked at as they are, and decoded parts once more.
    fn quoted(&self) -> Vec<String> {
        let body = self
            .mail
            .parts
            .first()
            .map_or(0, |part| part.offset_body as usize);
        let plain = String::from_utf8_lossy(self.flat.get(body..).unwrap_or_default());
        let mut all = names(&plain, LONG);
        for part in &self.mail.parts {
            if part.encoding != Encoding::None {
                all.extend(names(&String::from_utf8_lossy(part.contents()), LONG));
            }
        }
        all.truncate(NAMES_MAX);
        all
    }
}

/// Ours are at least so long; mail addresses in brackets are not.
const LONG: usize = 64;

/// Everything between brackets that looks like a Message-ID of at least so many bytes.
fn names(text: &str, shortest: usize) -> Vec<String> {
    let inside = text.split('<').skip(1).filter_map(|rest| {
        let (inside, _) = rest.split_once('>')?;
        let plain: String = inside.chars().filter(|c| !c.is_whitespace()).collect();
        ((shortest..400).contains(&plain.len()) && plain.contains('@'))
            .then(|| plain.to_lowercase())
    });
    inside.take(NAMES_MAX).collect()
}

/// Without the line that some mail servers put before a mail they hand to a command: `From ana@example.org Sat Nov 21 …`.
fn without_envelope(raw: &[u8]) -> &[u8] {
    if !raw.starts_with(b"From ") {
        return raw;
    }
    let end = raw.iter().position(|b| *b == b'\n');
    end.and_then(|end| raw.get(end + 1..)).unwrap_or_default()
}

/// The most parts with parts of their own. A usual mail has one to three.
const MULTIPARTS_MAX: usize = 40;

/// The mail with no mails inside, and with few parts inside of parts: further media types of these kinds are made unknown, so that
/// the parser leaves such a part as it is. Nothing in here needs the insides of a mail that was sent back but its Message-ID,
/// which is found without it; and a mail of mails of mails, ten thousand deep, cannot exhaust the stack, nor can one with ten
/// thousand parts that never end keep us busy.
fn flat(raw: &[u8]) -> Vec<u8> {
    let mut flat = raw.to_vec();
    let (mut slash, mut last, mut multiparts) = (false, b'\n', 0_usize);
    for at in 0..flat.len() {
        // The second half of a media type: on its line a slash comes before it, with nothing between that a reader heeds.
        if slash && matches!(last, b'/' | b')') {
            for word in [&b"rfc822"[..], b"global", b"digest"] {
                spoil(&mut flat, at, word, true);
            }
        }
        multiparts += usize::from(spoil(
            &mut flat,
            at,
            b"multipart",
            multiparts >= MULTIPARTS_MAX,
        ));
        let byte = flat[at];
        slash = byte == b'/' || slash && byte != b'\n';
        if !byte.is_ascii_whitespace() && !matches!(byte, b'"' | b'\\') {
            last = byte;
        }
    }
    flat
}

/// Whether the word stands here; if so and if `spoils`, it becomes another one.
fn spoil(text: &mut [u8], at: usize, word: &[u8], spoils: bool) -> bool {
    let Some(here) = text.get_mut(at..at + word.len()) else {
        return false;
    };
    let found = here.eq_ignore_ascii_case(word);
    if let Some(last) = here.last_mut().filter(|_| found && spoils) {
        *last = b'x';
    }
    found
}
