//! The double does what Twilio documents, so that what stories see of the service is worth something.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use onefive::clock::{Clock as _, ManualClock};
use onefive::domain::time::Timestamp;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::http::{self, Answer};
use crate::support::part;
use crate::support::proxy::{Deed, Plan, Proxy, Spot};
use crate::support::stage::{ANA, OUR_NUMBER};
use crate::support::twilio::{
    ACCOUNT, Behaviour, FakeTwilio, Listing, MESSAGING_SERVICE, POOL_NUMBER, TOKEN,
};

async fn started() -> (FakeTwilio, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::at(Timestamp::from_millis(1_795_284_000_000)));
    let prism = Some(part("ONEFIVE_TEST_PRISM"));
    let twilio = FakeTwilio::with_clock(prism, Arc::clone(&clock) as _).await;
    (twilio, clock)
}

fn login() -> String {
    format!("Basic {}", STANDARD.encode(format!("{ACCOUNT}:{TOKEN}")))
}

/// What a client of the API posts to `resource`.
async fn post(twilio: &FakeTwilio, resource: &str, form: &[(&str, &str)]) -> Answer {
    let url = format!(
        "{}/2010-04-01/Accounts/{ACCOUNT}/{resource}",
        twilio.base_url()
    );
    let login = login();
    let headers = [
        ("authorization", login.as_str()),
        ("content-type", "application/x-www-form-urlencoded"),
    ];
    let body = serde_urlencoded::to_string(form).unwrap();
    http::send(::http::Method::POST, &url, &headers, body).await
}

async fn get(twilio: &FakeTwilio, target: &str) -> Answer {
    let url = format!("{}{target}", twilio.base_url());
    let login = login();
    let headers = [("authorization", login.as_str())];
    http::send(::http::Method::GET, &url, &headers, "").await
}

async fn list(twilio: &FakeTwilio, query: &str) -> Value {
    let target = format!("/2010-04-01/Accounts/{ACCOUNT}/Messages.json?{query}");
    let answer = get(twilio, &target).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

fn words(list: &Value) -> Vec<&str> {
    let messages = list["messages"].as_array().unwrap().iter();
    messages
        .map(|message| message["body"].as_str().unwrap())
        .collect()
}

async fn send(twilio: &FakeTwilio, body: &str) -> String {
    let form = [("To", ANA), ("From", OUR_NUMBER), ("Body", body)];
    let answer = post(twilio, "Messages.json", &form).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.json()["sid"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn messages_of_both_directions_are_listed_page_by_page_the_newest_first() {
    let (twilio, clock) = started().await;
    twilio.set_offset_ms(-90_000);
    for body in ["one", "two", "three"] {
        send(&twilio, body).await;
        clock.advance(1000);
    }
    twilio.unheard_text(ANA, OUR_NUMBER, "5");
    let to = list(&twilio, "To=%2B14155550123&PageSize=2").await;
    assert_eq!(words(&to), ["three", "two"]);
    // What comes between two pages moves nothing.
    send(&twilio, "four").await;
    let rest = get(&twilio, to["next_page_uri"].as_str().unwrap()).await;
    assert_eq!(words(&rest.json()), ["one"]);
    assert_eq!(rest.json()["next_page_uri"], Value::Null);
    let inbound = list(&twilio, "To=%2B14155550199").await;
    assert_eq!(inbound["messages"][0]["direction"], "inbound");
    assert_eq!(words(&inbound), ["5"]);
    let first = &rest.json()["messages"][0];
    assert_eq!(first["date_created"], "Sat, 21 Nov 2026 17:58:30 +0000");
    assert_eq!(rest.header("date"), "Sat, 21 Nov 2026 17:58:33 GMT");
    assert_eq!(
        (&first["status"], &first["date_sent"], &first["direction"]),
        (&"queued".into(), &Value::Null, &"outbound-api".into())
    );
    // What is not out has no date of sending, so asking for that date does not find it.
    let since = list(&twilio, "DateSent%3E=2026-11-01T00%3A00%3A00Z").await;
    assert_eq!(words(&since), ["5"]);
    assert_eq!(twilio.failures(), Vec::<String>::new());
    // The description stands behind lists too.
    list(&twilio, "PageSize=1001").await;
    assert_eq!(twilio.failures().len(), 1);
}

#[tokio::test]
async fn lists_lie_when_told() {
    let (twilio, clock) = started().await;
    twilio.lists_after(90);
    let sid = send(&twilio, "hidden words").await;
    assert_eq!(words(&list(&twilio, "").await), Vec::<&str>::new());
    clock.advance(90_000);
    assert_eq!(words(&list(&twilio, "").await), ["hidden words"]);
    twilio.redact(true);
    assert_eq!(words(&list(&twilio, "").await), [""]);
    let target = format!("/2010-04-01/Accounts/{ACCOUNT}/Messages/{sid}.json");
    assert_eq!(get(&twilio, &target).await.json()["sid"], sid);
    twilio.lists(Listing::EmptyLie);
    assert_eq!(words(&list(&twilio, "").await), Vec::<&str>::new());
    for (listing, status) in [
        (Listing::Fail500, 500),
        (Listing::TooMany { retry_after: 3 }, 429),
        (Listing::Malformed, 200),
    ] {
        twilio.next_list(listing);
        let answer = get(&twilio, &target).await;
        assert_eq!(answer.status, status);
    }
    assert_eq!((twilio.looks(), twilio.requests()), (8, 1));
    let host = twilio.base_url().strip_prefix("http://").unwrap();
    twilio.next_list(Listing::LoseAnswer);
    assert_eq!(talk(host).await, "");
    assert_eq!(twilio.looks(), 9);
}

#[tokio::test]
async fn a_scheduled_message_can_be_called_off_until_it_is_out() {
    let (twilio, clock) = started().await;
    let at = |seconds: i64| {
        let at = clock.now().plus_millis(seconds * 1000).as_millis();
        jiff::Timestamp::from_millisecond(at).unwrap().to_string()
    };
    let schedule = async |sender: (&str, &str), send_at: &str| {
        let form = [
            ("To", ANA),
            sender,
            ("Body", "later"),
            ("ScheduleType", "fixed"),
            ("SendAt", send_at),
        ];
        post(&twilio, "Messages.json", &form).await
    };
    let service = ("MessagingServiceSid", MESSAGING_SERVICE);
    for (seconds, code) in [(299, 35114), (35 * 86_400 + 1, 35117)] {
        let answer = schedule(service, &at(seconds)).await;
        assert_eq!((answer.status, &answer.json()["code"]), (400, &code.into()));
    }
    let cancel = async |sid: &str| {
        let form = [("Status", "canceled")];
        post(&twilio, &format!("Messages/{sid}.json"), &form).await
    };
    let (first, second) = (at(300), at(600));
    let (first, second) = (
        schedule(service, &first).await.json(),
        schedule(service, &second).await.json(),
    );
    assert_eq!(first["status"], "scheduled");
    assert_eq!(twilio.delivered_to(ANA), vec![]);
    clock.advance(300_000);
    assert_eq!(twilio.delivered_to(ANA).len(), 1);
    let late = cancel(first["sid"].as_str().unwrap()).await;
    assert_eq!((late.status, &late.json()["code"]), (400, &30409.into()));
    let called_off = cancel(second["sid"].as_str().unwrap()).await;
    assert_eq!(
        (called_off.status, &called_off.json()["status"]),
        (200, &"canceled".into())
    );
    clock.advance(600_000);
    assert_eq!(twilio.delivered_to(ANA).len(), 1);
    let shown = &list(&twilio, "").await["messages"];
    assert_eq!(
        (&shown[1]["from"], &shown[1]["messaging_service_sid"]),
        (&POOL_NUMBER.into(), &MESSAGING_SERVICE.into())
    );
    assert_eq!(shown[0]["status"], "canceled");
    // Without a Messaging Service the schedule counts for nothing.
    let now = schedule(("From", OUR_NUMBER), &at(900)).await;
    assert_eq!(now.json()["status"], "accepted");
    assert_eq!(twilio.reached_twice(), [ANA]);
}

#[tokio::test]
async fn a_held_answer_is_given_when_it_is_released() {
    let (twilio, _clock) = started().await;
    twilio.next(Behaviour::HoldAnswer);
    let (answer, ()) = tokio::join!(send(&twilio, "held"), async {
        twilio.held_once(1).await;
        assert_eq!((twilio.messages().len(), twilio.held()), (1, 1));
        twilio.release();
    });
    assert_eq!(twilio.messages()[0].sid, answer);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_proxy_breaks_connections_as_told() {
    let (twilio, _clock) = started().await;
    let host = twilio.base_url().strip_prefix("http://").unwrap();
    let mut proxy = Proxy::start(host);
    let send = async || {
        let address = proxy.address();
        let request = tokio::spawn(async move { talk(&address).await });
        request.await.unwrap()
    };
    assert!(send().await.contains("200 OK"));
    for (plan, said) in [
        (Plan::up(Spot::After(10), Deed::Reset), "reset"),
        (Plan::up(Spot::At(b"Messages"), Deed::Cut), ""),
        (Plan::down(Spot::After(0), Deed::Cut), ""),
        (Plan::down(Spot::After(12), Deed::Cut), "HTTP/1.1 200"),
        (Plan::up(Spot::At(b"Messages"), Deed::LoseAnswer), "reset"),
    ] {
        proxy.next(plan);
        assert_eq!(send().await, said, "{plan:?}");
    }
    assert_eq!((proxy.connections(), proxy.faults()), (6, 5));
    assert_eq!(twilio.looks(), 4, "two requests did not pass");
    proxy.next(Plan::up(Spot::After(4), Deed::Stall));
    let (said, ()) = tokio::join!(send(), async {
        proxy.faults_once(6).await;
        assert_eq!(twilio.looks(), 4);
        proxy.resume();
    });
    assert!(said.contains("200 OK"));
    proxy.hold(true, false);
    let before = proxy.bytes().0;
    let (said, ()) = tokio::join!(send(), async {
        proxy.sent_once(before + 1).await;
        proxy.reset_all();
    });
    assert_eq!((said.as_str(), twilio.looks()), ("reset", 5));
    proxy.hold(false, false);
    proxy.next(Plan::down(Spot::After(0), Deed::Swallow));
    assert_eq!(send().await, "");
    proxy.refuse().await;
    assert_eq!(talk(&proxy.address()).await, "refused");
    proxy.accept();
    proxy.always(Plan {
        latency: Duration::from_millis(1),
        jitter: Duration::from_millis(1),
        ..Plan::PASS
    });
    assert!(talk(&proxy.address()).await.contains("200 OK"));
}

/// One request on a connection of its own, which is closed afterwards; what came back.
async fn talk(address: &str) -> String {
    let Ok(mut stream) = TcpStream::connect(address).await else {
        return "refused".to_owned();
    };
    let request = format!(
        "GET /2010-04-01/Accounts/{ACCOUNT}/Messages.json HTTP/1.1\r\nhost: x\r\nauthorization: {}\r\nconnection: close\r\n\r\n",
        login()
    );
    let mut said = Vec::new();
    let whole = async {
        stream.write_all(request.as_bytes()).await?;
        stream.read_to_end(&mut said).await
    };
    match whole.await {
        Ok(_) => String::from_utf8(said).unwrap(),
        Err(_) => "reset".to_owned(),
    }
}
