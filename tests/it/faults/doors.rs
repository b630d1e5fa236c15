//! The doors under those who mean no good: slow heads and bodies, floods, connections held open.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{interval, timeout};

use crate::support::database::Database;
use crate::support::faults;
use crate::support::http as plain;
use crate::support::program::Http;
use crate::support::replica::Replica;

/// Longer than any deadline of these stories.
const PATIENCE: Duration = Duration::from_secs(30);

fn client() -> Http {
    Client::builder(TokioExecutor::new()).build_http()
}

/// A connection from one of our own addresses, 127.0.0.`peer`: a limit holds for each of them.
async fn connect(replica: &Replica, peer: u8) -> Option<TcpStream> {
    let to: SocketAddr = replica.address.parse().unwrap();
    let socket = TcpSocket::new_v4().unwrap();
    let from = Ipv4Addr::new(127, 0, 0, peer);
    socket.bind(SocketAddr::from((from, 0))).unwrap();
    timeout(PATIENCE, socket.connect(to)).await.ok()?.ok()
}

/// Everything until the service closes; `None` if it does not.
async fn until_closed(stream: &mut TcpStream) -> Option<String> {
    let mut said = Vec::new();
    let mut part = [0; 4096];
    let closed = timeout(PATIENCE, async {
        while let Ok(n @ 1..) = stream.read(&mut part).await {
            said.extend_from_slice(&part[..n]);
        }
    });
    closed.await.ok()?;
    Some(String::from_utf8_lossy(&said).into_owned())
}

/// Sends `text` and then `drip` again and again until the service closes; what it said, and how long it took.
async fn dribble(mut stream: TcpStream, text: &str, drip: &str) -> (String, Duration) {
    let begun = Instant::now();
    let mut said = Vec::new();
    let mut part = [0; 4096];
    let mut drips = interval(Duration::from_millis(500));
    drop(stream.write_all(text.as_bytes()).await);
    while begun.elapsed() < PATIENCE {
        tokio::select! {
            read = stream.read(&mut part) => match read {
                Ok(0) | Err(_) => break,
                Ok(n) => said.extend_from_slice(&part[..n]),
            },
            // The service may have closed in between; the next read says so.
            _ = drips.tick() => drop(stream.write_all(drip.as_bytes()).await),
        }
    }
    let said = String::from_utf8_lossy(&said).into_owned();
    (said, begun.elapsed())
}

/// A trigger is accepted.
async fn asks(replica: &Replica, bearer: &str) {
    let url = format!("{}/v1/requests", replica.url);
    let body = json!({"channel": "chat", "to": "visitor-1", "conversation": "INC-1"});
    let answer = plain::post_json(&url, &[("authorization", bearer)], &body).await;
    assert_eq!(answer.status, 202, "{answer:?}");
}

/// The 99th percentile of `times`.
fn p99(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() * 99 / 100]
}

/// Asks for the longest of the small answers again and again, each time on a new connection.
async fn look_around(replica: &Replica, times: usize) -> Vec<Duration> {
    let mut taken = Vec::new();
    for _ in 0..times {
        let begun = Instant::now();
        let mut stream = connect(replica, 1).await.expect("a connection");
        let ask = b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        stream.write_all(ask).await.unwrap();
        let said = until_closed(&mut stream).await.expect("an answer");
        assert!(said.starts_with("HTTP/1.1 200"), "{said}");
        taken.push(begun.elapsed());
    }
    taken
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_half_open_headers_hold_up_nobody() {
    let database = Database::sqlite();
    let mut replica = Replica::new(&database, "");
    let bearer = replica.desk();
    let http = client();
    replica.start(&http).await;
    let quiet = p99(look_around(&replica, 200).await);

    let mut dribblers = JoinSet::new();
    for n in 0..2_000_u32 {
        // Within the limit of each peer, so that all of them get in.
        let peer = 2 + u8::try_from(n / 250).unwrap();
        let stream = connect(&replica, peer).await.expect("a connection");
        dribblers.spawn(async move {
            let text = "POST /v1/requests HTTP/1.1\r\nHost: x\r\nX-Slow: ";
            dribble(stream, text, "x").await
        });
    }
    let open = plain::get(&format!("{}/metrics", replica.url)).await.body;
    let open = open
        .lines()
        .find_map(|line| line.strip_prefix("onefive_http_connections "));
    let open: f64 = open.unwrap().parse().unwrap();
    assert!(open >= 1_900.0, "only {open} are half open");
    let busy = p99(look_around(&replica, 300).await);
    asks(&replica, &bearer).await;

    let mut longest = Duration::ZERO;
    while let Some(ended) = dribblers.join_next().await {
        let (said, after) = ended.unwrap();
        assert!(
            said.is_empty() || said.starts_with("HTTP/1.1 408"),
            "{said}"
        );
        longest = longest.max(after);
    }
    let memory = replica.memory_mib();
    let result = format!(
        "p99 {:.1} ms (quiet {:.1} ms), closed within {:.1} s, {memory} MiB",
        busy.as_secs_f64() * 1000.0,
        quiet.as_secs_f64() * 1000.0,
        longest.as_secs_f64()
    );
    assert!(longest < Duration::from_secs(15), "{result}");
    // The second bound is for a machine that is slow by itself.
    assert!(busy < Duration::from_millis(100).max(quiet * 4), "{result}");
    assert!(memory < 150, "{result}");
    faults::record("F27", "half-open headers, dribbled", 2_000, &result);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floods_and_endless_bodies_are_refused_in_little_memory() {
    let database = Database::sqlite();
    let mut replica = Replica::new(
        &database,
        "server.header_seconds = 2\nserver.body_seconds = 2",
    );
    let bearer = replica.desk();
    let http = client();
    replica.start(&http).await;
    let post = format!(
        "POST /v1/requests HTTP/1.1\r\nHost: x\r\nAuthorization: {bearer}\r\nContent-Type: application/json\r\n"
    );
    let large = "x".repeat(70 * 1024);
    let headers = "X-Many: y\r\n".repeat(10_000);
    let frames = format!(
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n{}",
        "\0\0\0\x04\0\0\0\0\0".repeat(2_000)
    );
    let attacks: [(&str, String, &str, &[&str]); 6] = [
        (
            "dribbled body",
            format!("{post}Content-Length: 500\r\n\r\n{{"),
            " ",
            &["408"],
        ),
        (
            "announced 1 GiB",
            format!("{post}Content-Length: 1073741824\r\n\r\n{large}"),
            "x",
            &["413"],
        ),
        (
            "endless chunks",
            format!("{post}Transfer-Encoding: chunked\r\n\r\n11800\r\n{large}\r\n"),
            "1\r\nx\r\n",
            &["413"],
        ),
        (
            "10,000 headers",
            format!("GET /livez HTTP/1.1\r\nHost: x\r\n{headers}\r\n"),
            "",
            &["431"],
        ),
        (
            "HTTP/2 preface",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(),
            "\0",
            &["", "400"],
        ),
        ("HTTP/2 flood", frames, "\0\0\0\x04\0\0\0\0\0", &["", "400"]),
    ];
    let each = faults::count(150, 1_000);
    let mut wrong = Vec::new();
    for (what, text, drip, wanted) in &attacks {
        let mut waves = JoinSet::new();
        for n in 0..each {
            let peer = 2 + u8::try_from(n / 200).unwrap();
            let stream = connect(&replica, peer).await.expect("a connection");
            let (text, drip) = (text.clone(), (*drip).to_owned());
            waves.spawn(async move { dribble(stream, &text, &drip).await });
        }
        let mut cut_short = 0;
        while let Some(ended) = waves.join_next().await {
            let (said, after) = ended.unwrap();
            assert!(
                after < Duration::from_secs(15),
                "{what}: open for {after:?}"
            );
            let status = said.get(9..12).unwrap_or_default();
            // A reset that overtakes the answer takes it away: what is still unread then is the sender's loss.
            if status.is_empty() {
                cut_short += 1;
            }
            if !status.is_empty() && !wanted.contains(&status) {
                wrong.push(format!("{what}: {said}"));
            }
        }
        let silent = wanted.contains(&"");
        assert!(
            silent || cut_short < each / 2,
            "{what}: {cut_short} of {each} were not answered"
        );
        assert_eq!(replica.readyz(&http).await, Some(200), "after {what}");
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let memory = replica.memory_mib();
    assert!(memory < 150, "{memory} MiB");
    asks(&replica, &bearer).await;
    let result = format!("408, 413, 431 or closed; most memory {memory} MiB");
    faults::record(
        "F28",
        "dribbled, endless and oversize requests, floods",
        each * attacks.len(),
        &result,
    );
}
