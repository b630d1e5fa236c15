//! What is sent: triggers of a desk and signed replies of customers, as whole HTTP requests.
//!
//! Conversations and telephone numbers are random, as a desk's are: numbers that rise would flatter every index. Replies are
//! made before a run, so that signing them takes nothing from the server while it is measured.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;

/// The public address that replies are signed for.
pub(crate) const PUBLIC_URL: &str = "https://bench.example";
/// The account that the pretend provider belongs to.
pub(crate) const ACCOUNT: &str = "AC00000000000000000000000000000001";
/// What signs its calls.
pub(crate) const SECRET: &str = "0123456789abcdef0123456789abcdef";
/// The number that asks.
pub(crate) const SENDER: &str = "+14155550100";
/// Where texts come in.
pub(crate) const HOOK: &str = "/hooks/twilio/sms";

/// Requests, one after the other.
#[derive(Debug)]
pub(crate) enum Work {
    /// New triggers, at most so many more.
    Triggers(Triggers, u64),
    /// Prepared requests; the last one goes first.
    Prepared(Vec<Vec<u8>>),
}

impl Work {
    /// Writes the next request; `false` if there is none left.
    pub(crate) fn next(&mut self, request: &mut Vec<u8>) -> bool {
        match self {
            Self::Triggers(_, 0) => false,
            Self::Triggers(triggers, left) => {
                *left -= 1;
                triggers.next(request);
                true
            }
            Self::Prepared(requests) => requests.pop().is_some_and(|next| {
                *request = next;
                true
            }),
        }
    }

    /// The numbers that were asked for a rating.
    pub(crate) fn asked(self) -> Vec<u64> {
        match self {
            Self::Triggers(triggers, _) => triggers.asked,
            Self::Prepared(_) => Vec::new(),
        }
    }
}

/// Makes triggers.
#[derive(Debug)]
pub(crate) struct Triggers {
    template: Vec<u8>,
    conversation: usize,
    phone: usize,
    random: Random,
    /// Where the next telephone number is taken from.
    place: u64,
    asked: Vec<u64>,
}

const CONVERSATION: &str = "0000000000000000";
const PHONE: &str = "+10000000000";

impl Triggers {
    /// Triggers of the desk with this API key. They are due in an hour: what is measured is taking them, not sending.
    pub(crate) fn new(key: &str, seed: u64) -> Self {
        let body = format!(
            "{{\"channel\":\"sms\",\"to\":\"{PHONE}\",\"conversation\":\"{CONVERSATION}\",\"delay_seconds\":3600,\
             \"contact\":{{\"language\":\"en\"}},\"agent\":{{\"id\":\"a-17\",\"name\":\"Sam\",\"kind\":\"human\"}},\
             \"team\":\"network\",\"touchpoint\":\"incident.resolved\",\"topic\":\"printer\"}}"
        );
        let text = format!(
            "POST /v1/requests HTTP/1.1\r\nhost: bench.example\r\nauthorization: Bearer {key}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        Self {
            conversation: text.find(CONVERSATION).unwrap_or_default(),
            phone: text.find(PHONE).unwrap_or_default(),
            template: text.into_bytes(),
            random: Random(seed | 1),
            place: seed % 8_000_000_000,
            asked: Vec::new(),
        }
    }

    /// Another number each time, as far apart as random ones: one that came twice would be asked once.
    fn number(&mut self) -> u64 {
        loop {
            // Without a factor of what it is taken modulo, so that none comes again before all have come.
            self.place = (self.place + 4_967_293_747) % 8_000_000_000;
            let number = 2_000_000_000 + self.place;
            // Whoever is called there pays for it, so nobody there is asked: 900, and an exchange each of Barbados and the Cayman Islands.
            if number / 10_000_000 != 900 && !matches!(number / 10_000, 246_976 | 345_976) {
                return number;
            }
        }
    }

    fn next(&mut self, request: &mut Vec<u8>) {
        request.clear();
        request.extend_from_slice(&self.template);
        let mut bits = self.random.next();
        for byte in &mut request[self.conversation..self.conversation + CONVERSATION.len()] {
            *byte = b"0123456789abcdef"[usize::from(bits.to_le_bytes()[0] & 15)];
            bits >>= 4;
        }
        let number = self.number();
        self.asked.push(number);
        let mut rest = number;
        for byte in request[self.phone + 2..self.phone + PHONE.len()]
            .iter_mut()
            .rev()
        {
            *byte = b"0123456789"[usize::try_from(rest % 10).unwrap_or_default()];
            rest /= 10;
        }
    }
}

/// So many look-ups of ended requests, of which so many are stored (see `seed::ended`).
pub(crate) fn lookups(key: &str, stored: usize, count: usize, seed: u64) -> Vec<Vec<u8>> {
    let mut random = Random(seed | 1);
    let mut lookup = || {
        let n = random.next() % u64::try_from(stored.max(1)).unwrap_or(1);
        let id = format!("{:012x}70008{n:015x}", 1_600_000_000_000 + n);
        format!(
            "GET /v1/requests/req_{id} HTTP/1.1\r\nhost: bench.example\r\nauthorization: Bearer {key}\r\n\r\n"
        )
        .into_bytes()
    };
    (0..count).map(|_| lookup()).collect()
}

/// Signed texts with a score, from each of these numbers.
pub(crate) fn replies(from: &[u64], seed: u64) -> Vec<Vec<u8>> {
    let mut random = Random(seed | 1);
    from.iter()
        .map(|number| reply(*number, &mut random))
        .collect()
}

fn reply(number: u64, random: &mut Random) -> Vec<u8> {
    let sid = format!("SM{:016x}{:016x}", random.next(), random.next());
    let score = 1 + random.next() % 5;
    let body = format!(
        "ToCountry=US&ToState=CA&SmsMessageSid={sid}&NumMedia=0&ToCity=SAN+FRANCISCO&FromZip=94110&SmsSid={sid}&\
         FromState=CA&SmsStatus=received&FromCity=SAN+FRANCISCO&Body={score}&FromCountry=US&To=%2B{}&ToZip=94110&\
         NumSegments=1&MessageSid={sid}&AccountSid={ACCOUNT}&From=%2B1{number}&ApiVersion=2010-04-01",
        &SENDER[1..]
    );
    let signature = sign(body.as_bytes());
    format!(
        "POST {HOOK} HTTP/1.1\r\nhost: bench.example\r\ncontent-type: application/x-www-form-urlencoded\r\n\
         x-twilio-signature: {signature}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// The signature of a form, as Twilio makes it: HMAC-SHA1 over the address and the sorted names and values.
pub(crate) fn sign(form: &[u8]) -> String {
    let mut pairs: Vec<(String, String)> = serde_urlencoded::from_bytes(form).unwrap_or_default();
    pairs.sort_unstable();
    let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(SECRET.as_bytes()) else {
        return String::new();
    };
    mac.update(PUBLIC_URL.as_bytes());
    mac.update(HOOK.as_bytes());
    for (name, value) in &pairs {
        mac.update(name.as_bytes());
        mac.update(value.as_bytes());
    }
    STANDARD.encode(mac.finalize().into_bytes())
}

/// Numbers that look random, the same for every run (xorshift).
#[derive(Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}
