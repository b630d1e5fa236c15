//! Twilio's own vectors, every mutation of one of them, and an independent implementation as oracle.

use proptest::prelude::*;

use super::*;

/// A signed call, owned.
struct Call {
    target: String,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Call {
    fn new(target: &str, body: &str, signature: &str) -> Self {
        let mut call = Self {
            target: target.to_owned(),
            headers: HeaderMap::new(),
            body: body.into(),
        };
        call.headers.insert(SIGNATURE, signature.parse().unwrap());
        call
    }

    fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.append(name, value.parse().unwrap());
        self
    }

    fn passes(&self, verifier: &Verifier) -> bool {
        let query = self.target.split_once('?').map_or("", |(_, query)| query);
        let (target, headers, body) = (self.target.as_str(), &self.headers, self.body.as_slice());
        verifier
            .verify(&Hook {
                method: "POST",
                path: "sms",
                target,
                query,
                headers,
                body,
            })
            .is_ok()
    }
}

fn verifier(base: &str) -> Verifier {
    let keys = BTreeMap::from([
        ("k1".to_owned(), "12345".into()),
        ("k2".to_owned(), "other".into()),
    ]);
    Verifier::new(base, vec!["newer".into(), "12345".into()], keys)
}

fn signed(base: &str, target: &str, body: &str) -> String {
    let mut text = format!("{base}{target}");
    Form::parse(body.as_bytes()).append_to(&mut text);
    STANDARD.encode(
        Hmac::<Sha1>::new_from_slice(b"12345")
            .unwrap()
            .chain_update(text)
            .finalize()
            .into_bytes(),
    )
}

const BASE: &str = "https://mycompany.com";
const TARGET: &str = "/myapp.php?foo=1&bar=2";
const BODY: &str = "CallSid=CA1234567890ABCDE&Caller=%2B14158675309&Digits=1234&From=%2B14158675309&To=%2B18005551212";
const SHA1: &str = "RSOYDt4T1cUTdK1PDd93/VVr8B8=";
const SHA256: &str = "033hgUJA9M/hXIZsYjwkerEP/DBm35nEri5FhCYjA5s=";

#[test]
fn the_published_vectors_pass() {
    assert!(Call::new(TARGET, BODY, SHA1).passes(&verifier(BASE)));
    let older = BODY.replace("14158675309", "12349013030");
    assert!(Call::new(TARGET, &older, "0/KCTR6DLpKmkAf8muzZqo1nDgQ=").passes(&verifier(BASE)));
    let repeated = "From=%2B1&To=%2B2&MessageSid=SM1&Body=5&MediaUrl=b&MediaUrl=a&MediaUrl=a";
    assert!(
        Call::new("/sms", repeated, "adITCbxbuEmSWejurchYOGxclq4=")
            .passes(&verifier("https://x.example"))
    );
}

#[test]
fn a_shared_key_signs_with_the_algorithm_that_the_header_names() {
    let sha256 = |settings| {
        Call::new(TARGET, BODY, SHA256)
            .with(SETTINGS, settings)
            .passes(&verifier(BASE))
    };
    assert!(sha256("key=k1,algorithm=HMAC_SHA256"));
    assert!(sha256("algorithm=HMAC_SHA256, key=k1"));
    for refused in [
        "key=k2,algorithm=HMAC_SHA256",
        "key=k3,algorithm=HMAC_SHA256",
        "key=k1,algorithm=HMAC_SHA1",
        "key=k1,algorithm=HMAC_MD5",
        "key=k1",
        "algorithm=HMAC_SHA256",
        "key=k2,key=k1,algorithm=HMAC_SHA256",
        "",
    ] {
        assert!(!sha256(refused), "{refused}");
    }
    assert!(
        Call::new(TARGET, BODY, SHA1)
            .with(SETTINGS, "key=k1,algorithm=HMAC_SHA1")
            .passes(&verifier(BASE))
    );
    // Signed with the auth token, while the header names a key that we do not have.
    assert!(
        !Call::new(TARGET, BODY, SHA1)
            .with(SETTINGS, "key=k3,algorithm=HMAC_SHA1")
            .passes(&verifier(BASE))
    );
    assert!(!Call::new(TARGET, BODY, SHA256).passes(&verifier(BASE)));
}

#[test]
fn every_changed_character_is_refused() {
    let verifier = verifier(BASE);
    for (place, old) in BODY.bytes().enumerate() {
        for new in [b'q', b'7', b'=', b'&', b'%', b'+'] {
            let mut body = BODY.as_bytes().to_vec();
            body[place] = new;
            let changed = Form::parse(&body) != Form::parse(BODY.as_bytes());
            let call = Call {
                body,
                ..Call::new(TARGET, "", SHA1)
            };
            assert_eq!(
                call.passes(&verifier),
                !changed,
                "{} became {} at {place}",
                char::from(old),
                char::from(new)
            );
        }
    }
    for place in 0..TARGET.len() {
        let mut target = TARGET.to_owned();
        target.replace_range(place..=place, "~");
        assert!(
            !Call::new(&target, BODY, SHA1).passes(&verifier),
            "{target}"
        );
    }
    assert!(!Call::new(TARGET, BODY, SHA1).passes(&self::verifier("https://mycompany.org")));
    assert!(!Call::new(TARGET, BODY, SHA1).passes(&self::verifier("http://mycompany.com")));
    assert!(!Call::new("/myapp.php", BODY, SHA1).passes(&verifier));
}

#[test]
fn a_call_without_one_good_signature_is_refused() {
    let verifier = verifier(BASE);
    let mut none = Call::new(TARGET, BODY, SHA1);
    none.headers.clear();
    assert!(!none.passes(&verifier));
    assert!(
        !Call::new(TARGET, BODY, SHA1)
            .with(SIGNATURE, SHA1)
            .passes(&verifier)
    );
    for bad in [
        "",
        "x",
        "RSOYDt4T1cUTdK1PDd93",
        &SHA1[1..],
        &SHA1.to_lowercase(),
    ] {
        assert!(!Call::new(TARGET, BODY, bad).passes(&verifier), "{bad}");
    }
}

#[test]
fn an_empty_secret_verifies_nothing() {
    let empty = Verifier::new(
        BASE,
        vec!["".into()],
        BTreeMap::from([("k".to_owned(), "".into())]),
    );
    let text = format!("{BASE}/sms");
    let nothing = STANDARD.encode(
        Hmac::<Sha1>::new_from_slice(b"")
            .unwrap()
            .chain_update(text)
            .finalize()
            .into_bytes(),
    );
    assert!(!Call::new("/sms", "", &nothing).passes(&empty));
    assert!(
        !Call::new("/sms", "", &nothing)
            .with(SETTINGS, "key=k,algorithm=HMAC_SHA1")
            .passes(&empty)
    );
}

#[test]
fn the_port_may_be_written_or_not() {
    for (configured, signing, good) in [
        ("https://a.example", "https://a.example:443", true),
        ("https://a.example:443", "https://a.example", true),
        ("http://a.example/up", "http://a.example:80/up", true),
        ("https://a.example:8443", "https://a.example", true),
        ("https://[::1]", "https://[::1]:443", true),
        ("https://a.example", "https://a.example:8443", false),
        ("https://a.example", "https://b.example", false),
    ] {
        let call = Call::new("/sms", "Body=5", &signed(signing, "/sms", "Body=5"));
        assert_eq!(
            call.passes(&verifier(configured)),
            good,
            "{configured} {signing}"
        );
    }
}

#[test]
fn a_json_body_is_proved_by_its_digest_and_is_no_form() {
    let json = r#"{"x":"&MessageSid=SM1&Body=5"}"#;
    let target = format!("/sms?bodySHA256={}", hex::encode(Sha256::digest(json)));
    let call = Call::new(&target, json, &signed(BASE, &target, ""));
    assert!(call.passes(&verifier(BASE)));
    assert!(
        !Call {
            body: b"{}".to_vec(),
            ..call
        }
        .passes(&verifier(BASE))
    );
    let twice = format!("{target}&bodySHA256=0");
    assert!(!Call::new(&twice, json, &signed(BASE, &twice, "")).passes(&verifier(BASE)));
}

#[test]
fn blank_values_and_odd_bytes_are_kept() {
    let form = Form::parse(b"FromCity=&Body=a+b%20c%0D%0Ad&Odd=%FF%zz%");
    assert_eq!(form.required("FromCity"), Ok(""));
    assert_eq!(form.required("Body"), Ok("a b c\r\nd"));
    assert_eq!(form.required("Odd"), Ok("\u{fffd}%zz%"));
    assert!(form.required("To").is_err());
    assert!(Form::parse(b"a=1&a=2").get("a").is_err());
    assert_eq!(Form::parse(b"a=1&a=1").get("a"), Ok(Some("1")));
}

/// What the oracle reads; it only has to say yes or no.
struct Anything;

impl twilio_rs::FromMap for Anything {
    fn from_map(_: BTreeMap<String, String>) -> Result<Box<Self>, twilio_rs::TwilioError> {
        Ok(Box::new(Self))
    }
}

/// The oracle takes requests of an older HTTP library that we do not name: their type is inferred from its own function.
fn blank<R: Default, A>(_: &impl Fn(R) -> A) -> R {
    R::default()
}

/// What the independent implementation says. It knows only https, path-only addresses and the Host header.
async fn oracle(client: &twilio_rs::Client, path: &str, body: &str, signature: &str) -> bool {
    let ask = |request| client.parse_request::<Anything>(request);
    let mut request = blank(&ask);
    *request.method_mut() = twilio_rs::POST;
    *request.uri_mut() = path.parse().unwrap();
    request
        .headers_mut()
        .insert("host", "mycompany.com".parse().unwrap());
    request
        .headers_mut()
        .insert("x-twilio-signature", signature.parse().unwrap());
    *request.body_mut() = body.to_owned().into();
    ask(request).await.is_ok()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn an_independent_implementation_agrees(
        pairs in proptest::collection::btree_map("[A-Za-z]{1,12}", "\\PC{0,20}", 0..6),
        path in "/[a-z/]{0,12}",
        tampering in "[a-z]{1,3}",
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let client = twilio_rs::Client::new("AC1", "12345");
        let verifier = verifier(BASE);
        let body = serde_urlencoded::to_string(&pairs).unwrap();
        let good = signed(BASE, &path, &body);
        prop_assert!(Call::new(&path, &body, &good).passes(&verifier));
        prop_assert!(runtime.block_on(oracle(&client, &path, &body, &good)));
        for (path, body) in [
            (format!("{path}{tampering}"), body.clone()),
            (path.clone(), format!("{body}&{tampering}=1")),
            (path.clone(), format!("Added={tampering}&{body}")),
        ] {
            // The signed text only joins names and values, so that the two may tell different forms apart or not: what
            // counts is that they agree.
            let ours = Call::new(&path, &body, &good).passes(&verifier);
            let repeated = Form::parse(body.as_bytes()).0.values().any(|values| values.len() > 1);
            if !repeated {
                prop_assert_eq!(ours, runtime.block_on(oracle(&client, &path, &body, &good)));
            }
        }
    }
}
