//! The accept loop under those who are slow, silent, many or too large: each deadline and limit, on real sockets.
//!
//! Real time cannot be avoided here; every wait is on the socket itself.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::database::Database;
use crate::support::stage::{ANA, Stage};

/// No deadline of these tests is longer than a second, so whatever takes this long has failed.
const PATIENCE: Duration = Duration::from_secs(6);
const QUICK: &[(&str, &str)] = &[
    ("SERVER__HEADER_SECONDS", "1"),
    ("SERVER__BODY_SECONDS", "1"),
    ("SERVER__REQUEST_SECONDS", "3"),
    ("SERVER__DRAIN_SECONDS", "2"),
];

fn connect(address: SocketAddr, text: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(text.as_bytes()).unwrap();
    stream
}

/// Everything until the service closes; panics if it does not.
fn until_closed(mut stream: TcpStream) -> String {
    let mut all = Vec::new();
    match stream.read_to_end(&mut all) {
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
        Err(error) => panic!("still open: {error}"),
    }
    String::from_utf8_lossy(&all).into_owned()
}

/// The head of one answer on a connection that stays open.
fn head(stream: &mut TcpStream) -> String {
    let mut read = Vec::new();
    let mut byte = [0];
    while !read.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).unwrap() == 0 {
            break;
        }
        read.push(byte[0]);
    }
    String::from_utf8(read).unwrap()
}

async fn quick(more: &[(&str, &str)]) -> Stage {
    let settings: Vec<_> = QUICK.iter().chain(more).copied().collect();
    Stage::with(Database::sqlite(), &settings).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_does_not_get_on_with_its_header_is_closed() {
    let stage = quick(&[]).await;
    let begun = Instant::now();
    let open = [
        "",
        "G",
        "GET /livez HTTP/1.1\r\n",
        "GET /livez HTTP/1.1\r\nHost: x\r\nX-Half: ",
    ]
    .map(|text| connect(stage.app.public, text));
    for stream in open {
        let said = until_closed(stream);
        assert!(
            said.is_empty() || said.starts_with("HTTP/1.1 408"),
            "{said}"
        );
    }
    assert!(begun.elapsed() >= Duration::from_millis(900), "too hasty");
    // The pause between two requests has the same deadline.
    let mut idle = connect(stage.app.public, "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(head(&mut idle).starts_with("HTTP/1.1 200"));
    assert!(until_closed(idle).ends_with("ok\n"));
    stage.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_does_not_arrive_is_answered_and_nothing_is_stored() {
    let stage = quick(&[]).await;
    let before = stage.database.rows().await;
    let text = format!(
        "POST /v1/requests HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n\
         Connection: close\r\nContent-Length: 500\r\n\r\n{{\"channel\":",
        stage.key
    );
    let mut dribbling = connect(stage.app.public, &text);
    let begun = Instant::now();
    dribbling
        .set_read_timeout(Some(Duration::from_millis(200)))
        .unwrap();
    let (mut said, mut part) = (Vec::new(), [0; 4096]);
    // One byte each time that the socket has said nothing for a while.
    while begun.elapsed() < PATIENCE {
        match dribbling.read(&mut part) {
            Ok(0) => break,
            Ok(n) => said.extend_from_slice(&part[..n]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                // The service may have closed in between.
                drop(dribbling.write_all(b" "));
            }
            Err(_) => break,
        }
    }
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(begun.elapsed() < Duration::from_secs(4), "{said}");
    assert!(
        said.starts_with("HTTP/1.1 408") && said.contains("\"timeout\""),
        "{said}"
    );
    assert_eq!(stage.database.rows().await, before);
    stage.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_gets_its_connections_and_no_more() {
    let stage = quick(&[
        ("SERVER__CONNECTIONS_PER_PEER", "3"),
        ("SERVER__HEADER_SECONDS", "5"),
    ])
    .await;
    let ask = "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut seats: Vec<TcpStream> = (0..3)
        .map(|_| {
            let mut seat = connect(stage.app.public, ask);
            assert!(head(&mut seat).starts_with("HTTP/1.1 200"));
            seat
        })
        .collect();
    for _ in 0..3 {
        let refused = TcpStream::connect(stage.app.public).unwrap();
        refused.set_read_timeout(Some(PATIENCE)).unwrap();
        assert_eq!(until_closed(refused), "");
    }
    for seat in &mut seats {
        let mut body = [0; 3];
        seat.read_exact(&mut body).unwrap();
        seat.write_all(ask.as_bytes()).unwrap();
        assert!(
            head(seat).starts_with("HTTP/1.1 200"),
            "the earlier ones still work"
        );
    }
    // Whoever leaves makes room; the service hears of it a moment later.
    drop(seats);
    let begun = Instant::now();
    loop {
        let mut stream = TcpStream::connect(stage.app.public).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let close = "GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        drop(stream.write_all(close.as_bytes()));
        if until_closed(stream).starts_with("HTTP/1.1 200") {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "no room is made");
    }
    stage.app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heads_that_are_too_large_are_refused_and_harm_nobody() {
    let stage = quick(&[]).await;
    let many = "X-Many: 1\r\n".repeat(65);
    let long = format!("X-Long: {}\r\n", "x".repeat(32 * 1024));
    let target = "x".repeat(40 * 1024);
    for text in [
        format!("GET /livez HTTP/1.1\r\nHost: x\r\n{many}\r\n"),
        format!("GET /livez HTTP/1.1\r\nHost: x\r\n{long}\r\n"),
        format!("GET /{target} HTTP/1.1\r\nHost: x\r\n\r\n"),
        "\0\u{1}\u{2} no protocol at all\r\n\r\n".to_owned(),
        "GET /livez HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n".to_owned(),
        "POST /v1/requests HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"
            .to_owned(),
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(),
    ] {
        let mut stream = TcpStream::connect(stage.app.public).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        // It may close before it has read everything.
        drop(stream.write_all(text.as_bytes()));
        let said = until_closed(stream);
        assert!(said.is_empty() || said.starts_with("HTTP/1.1 4"), "{said}");
    }
    let few = "X-Few: 1\r\n".repeat(60);
    let text = format!("GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{few}\r\n");
    assert!(until_closed(connect(stage.app.public, &text)).starts_with("HTTP/1.1 200"));
    stage.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_half_open_connections_do_not_stop_a_request() {
    let stage = quick(&[("SERVER__HEADER_SECONDS", "5")]).await;
    let half: Vec<TcpStream> = (0..200)
        .map(|_| connect(stage.app.public, "POST /v1/requests HTTP/1.1\r\nHost: "))
        .collect();
    let begun = Instant::now();
    stage.ask("sms", ANA, "INC-1").await;
    assert!(begun.elapsed() < Duration::from_secs(2));
    drop(half);
    stage.deliver().await;
    stage.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopping_answers_what_is_in_flight_and_closes_what_is_idle() {
    let stage = quick(&[
        ("SERVER__BODY_SECONDS", "5"),
        ("SERVER__HEADER_SECONDS", "30"),
        ("SERVER__REQUEST_SECONDS", "10"),
        ("SERVER__DRAIN_SECONDS", "5"),
    ])
    .await;
    let address = stage.app.public;
    let mut idle = connect(address, "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(head(&mut idle).starts_with("HTTP/1.1 200"));
    let body = json!({"channel": "chat", "to": "visitor-7", "conversation": "INC-1"}).to_string();
    let text = format!(
        "POST /v1/requests HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n\
         Expect: 100-continue\r\nContent-Length: {}\r\n\r\n",
        stage.key,
        body.len()
    );
    let mut busy = connect(address, &text);
    // The service says this once the handler reads the body: from here on the request is in flight.
    assert!(head(&mut busy).starts_with("HTTP/1.1 100"));
    busy.write_all(&body.as_bytes()[..20]).unwrap();
    let (database, app) = (stage.database, stage.app);
    let begun = Instant::now();
    let (stopped, answer) = tokio::join!(
        async {
            app.stop().await;
            begun.elapsed()
        },
        async {
            tokio::task::spawn_blocking(move || {
                assert!(
                    until_closed(idle).ends_with("ok\n"),
                    "the idle one is closed"
                );
                busy.write_all(&body.as_bytes()[20..]).unwrap();
                until_closed(busy)
            })
            .await
            .unwrap()
        }
    );
    assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
    assert!(stopped < Duration::from_secs(4), "{stopped:?}");
    assert_eq!(database.number("select count(*) from requests").await, 1);
    assert!(
        TcpStream::connect(address).is_err(),
        "nobody listens any more"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_leaves_says_so_and_serves_on_until_it_is_noticed() {
    let stage = quick(&[("SERVER__DRAIN_GRACE_SECONDS", "1")]).await;
    let address = stage.app.public;
    let ask = "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut kept = connect(address, ask);
    let said = head(&mut kept).to_lowercase();
    assert!(
        said.starts_with("http/1.1 200") && !said.contains("connection: close"),
        "{said}"
    );
    let ready = "GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n";
    stage.app.drain();
    assert!(until_closed(connect(address, ready)).starts_with("HTTP/1.1 503"));
    // Who keeps a connection is answered once more, and told to take another one.
    let mut body = [0; 3];
    kept.read_exact(&mut body).unwrap();
    kept.write_all(ask.as_bytes()).unwrap();
    let said = until_closed(kept).to_lowercase();
    assert!(
        said.starts_with("http/1.1 200") && said.contains("connection: close"),
        "{said}"
    );
    // Whoever has not noticed yet is served as before.
    stage.ask("sms", ANA, "INC-1").await;
    let (app, begun) = (stage.app, Instant::now());
    app.leave().await;
    assert!(
        begun.elapsed() >= Duration::from_secs(1),
        "it left too early"
    );
    assert!(TcpStream::connect(address).is_err());
}
