//! What every row of the tables of channels and of providers must keep to.

use std::sync::Arc;

use onefive::channel::{self, Ask, Message, TAPS_MAX, Urls};
use onefive::clock::{ManualClock, SystemEntropy};
use onefive::domain::contact::Contact;
use onefive::domain::time::Timestamp;
use onefive::domain::wording::WordingOverrides;
use onefive::provider::{self, Built, Hook, HookError, Provider, Row};

#[test]
fn every_channel_keeps_the_contract() {
    let odd = [
        String::new(),
        "{desk}{agent}{score}".to_owned(),
        "<b>&\"'</b>".to_owned(),
        "\u{202e}\u{200d}👩‍👩‍👧 \r\n\0".to_owned(),
        "é".repeat(4000),
    ];
    let urls = Urls::new("https://feedback.example.com", "TOKEN");
    for channel in channel::ALL {
        let name = channel.name();
        assert!(!channel.description().is_empty(), "{name}");
        assert!((1..=TAPS_MAX).contains(&channel.taps()), "{name}");
        let long = "9".repeat(5000);
        for junk in ["", " ", "\0", "+1415\r\n5550123", " padded ", &long] {
            assert!(channel.address(junk).is_err(), "{name} takes {junk:?}");
        }
        let good = [
            "+14155550123",
            "ana@example.com",
            "CA00000000000000000000000000000001",
            "visitor-7",
        ];
        let taken: Vec<_> = good
            .iter()
            .filter_map(|raw| channel.address(raw).ok())
            .collect();
        assert!(!taken.is_empty(), "{name} takes no address at all");
        for address in taken {
            for text in &odd {
                let contact = Contact {
                    address: address.clone(),
                    id: text.clone(),
                    name: text.clone(),
                    phone: None,
                };
                let ask = Ask {
                    desk: text,
                    agent: text,
                    contact: &contact,
                    language: text,
                    touchpoint: text,
                    overrides: WordingOverrides::NONE,
                    mail: None,
                    conversation: text,
                    rating_url: &urls.rating,
                    opt_out_url: &urls.opt_out,
                    post_url: &urls.post,
                };
                match channel.render(&ask) {
                    Message::Text(text) => assert!(!text.is_empty(), "{name}"),
                    Message::Mail(mail) => assert!(!mail.html.contains("<b>&"), "{name}"),
                    Message::Buttons(ask) => assert_eq!(ask.buttons.len(), 5, "{name}"),
                    Message::Call => assert!(!channel::voice_prompt(&ask).0.is_empty(), "{name}"),
                }
            }
        }
    }
}

fn build(row: &Row, settings: &str) -> Result<Arc<dyn Provider>, String> {
    let built = Built {
        settings: settings.parse().unwrap(),
        public_url: "https://feedback.example.com".to_owned(),
        clock: Arc::new(ManualClock::at(Timestamp::from_millis(1_795_284_000_000))),
        entropy: Arc::new(SystemEntropy),
    };
    (row.build)(built).map_err(|error| error.to_string())
}

/// Settings of each provider that are enough to build it, and a key that it cannot do without.
fn example(name: &str) -> (&'static str, &'static str) {
    match name {
        "twilio" => (
            "account_sid = \"AC00000000000000000000000000000001\"\nsecret = \"s\"\nfrom = \"+14155550199\"",
            "account_sid",
        ),
        "smtp" => (
            "host = \"127.0.0.1\"\ntls = \"none\"\nfrom = \"feedback@acme.example\"",
            "host",
        ),
        "sandbox" => ("", ""),
        other => panic!("{other}: a new provider needs its example"),
    }
}

#[tokio::test]
async fn every_provider_keeps_the_contract() {
    for row in provider::ALL {
        assert!(!row.description.is_empty(), "{row:?}");
        let (settings, key) = example(row.name);
        if let Err(error) = build(row, "") {
            assert!(!key.is_empty() && error.contains(key), "{row:?}: {error}");
        }
        let error = build(row, &format!("{settings}\ncolour = \"red\"")).err();
        assert!(error.unwrap_or_default().contains("colour"), "{row:?}");
        let provider = build(row, settings).unwrap();
        assert_eq!(provider.name(), row.name);
        assert!(provider.in_flight() > 0, "{row:?}");
        let carried = channel::ALL.iter().filter(|c| provider.carries(c.name()));
        assert!(carried.count() > 0, "{row:?} carries nothing");
        let headers = http::HeaderMap::new();
        for path in [
            "",
            "sms",
            "mail",
            "voice",
            "voice/TOKEN",
            "status/TOKEN",
            "../sms",
        ] {
            for method in ["GET", "POST", "PUT"] {
                for body in [
                    &b""[..],
                    b"From=%2B14155550123&To=%2B14155550199&Body=5&MessageSid=SM00000000000000000000000000000001",
                    b"from=%2B14155550123&to=%2B14155550199&body=5&id=1&call=CA00000000000000000000000000000001&status=delivered",
                    b"{\"score\":5}",
                    b"\xff\xfe",
                ] {
                    let target = format!("/hooks/{}/{path}", row.name);
                    let hook = Hook {
                        method,
                        path,
                        target: &target,
                        query: "",
                        headers: &headers,
                        body,
                    };
                    let refused = provider.inbound(&hook);
                    assert!(
                        matches!(refused, Err(HookError::Forged | HookError::Unknown)),
                        "{row:?} {method} {path}: {refused:?}"
                    );
                }
            }
        }
    }
}
