//! The doors under those who repeat themselves: answers that are lost and posted again, and one link posted many times at once.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::Request;
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};

use crate::story;
use crate::support::database::Database;
use crate::support::faults;
use crate::support::http::{self as plain, post_form};
use crate::support::program::{Http, once};
use crate::support::replica::{Balancer, Replica};
use crate::support::stage::{PUBLIC_URL, Stage};

/// Stands before a service and swallows every third answer after the service has given it: whoever asked must ask again.
struct Swallower {
    address: SocketAddr,
    swallowed: Arc<AtomicUsize>,
    accepting: AbortHandle,
}

impl Swallower {
    async fn start(to: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (swallowed, answers) = (Arc::default(), Arc::new(AtomicUsize::new(0)));
        let count = Arc::clone(&swallowed);
        let mut tasks = JoinSet::new();
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (answers, count) = (Arc::clone(&answers), Arc::clone(&count));
                tasks.spawn(Self::carry(stream, to, answers, count));
            }
        });
        Self {
            address,
            swallowed,
            accepting: accepting.abort_handle(),
        }
    }

    async fn carry(
        mut near: TcpStream,
        to: SocketAddr,
        answers: Arc<AtomicUsize>,
        swallowed: Arc<AtomicUsize>,
    ) {
        let mut far = TcpStream::connect(to).await.unwrap();
        let (mut asked, mut answered) = (vec![0; 65_536], vec![0; 65_536]);
        loop {
            tokio::select! {
                read = near.read(&mut asked) => match read {
                    Ok(n) if n > 0 && far.write_all(&asked[..n]).await.is_ok() => {}
                    _ => return,
                },
                read = far.read(&mut answered) => match read {
                    Ok(n) if n > 0 => {
                        if answers.fetch_add(1, Ordering::Relaxed).is_multiple_of(3) {
                            swallowed.fetch_add(1, Ordering::Relaxed);
                            return;
                        }
                        if near.write_all(&answered[..n]).await.is_err() {
                            return;
                        }
                    }
                    _ => return,
                },
            }
        }
    }
}

impl Drop for Swallower {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

story!(
    a_balancer_that_repeats_posts_makes_one_row_of_each,
    async |database: Database| {
        let mut replica = Replica::new(&database, "");
        let bearer = replica.desk();
        let http: Http = Client::builder(TokioExecutor::new()).build_http();
        replica.start(&http).await;
        let swallower = Swallower::start(replica.address.parse().unwrap()).await;
        // Connections to us are kept and shared; whatever has no good answer is sent again, posts too.
        let rules = "http-reuse always\nretries 5\nretry-on all-retryable-errors";
        let address = swallower.address.to_string();
        let balancer = Balancer::start(&[&address], rules, "").await;

        let asked = faults::count(120, 600);
        let post = async |path: &str, key: &str, body: serde_json::Value| {
            let request = Request::post(format!("{}{path}", balancer.url))
                .header("authorization", &bearer)
                .header("content-type", "application/json");
            // The conversation protects by itself; a key does so too.
            let request = if key.is_empty() {
                request
            } else {
                request.header("idempotency-key", key)
            };
            let request = request.body(Full::from(body.to_string())).unwrap();
            let (status, body) = once(&http, request).await.expect("an answer");
            let body = String::from_utf8_lossy(&body).into_owned();
            assert!((200..300).contains(&status), "{path}: {status} {body}");
            serde_json::from_str::<serde_json::Value>(&body).unwrap()
        };
        for n in 0..asked {
            let key = if n % 2 == 0 {
                String::new()
            } else {
                format!("key-{n}")
            };
            let trigger = json!({"channel": "chat", "to": format!("visitor-{n}"), "conversation": format!("INC-{n}")});
            let made = post("/v1/requests", &key, trigger).await;
            let path = format!("/w/{}", made["token"].as_str().unwrap());
            let answer = post(&path, "", json!({"score": n % 5 + 1})).await;
            assert_eq!(answer["score"], n % 5 + 1);
        }
        let lost = swallower.swallowed.load(Ordering::Relaxed);
        assert!(lost >= asked / 2, "only {lost} answers were lost");
        let metrics = plain::get(&format!("{}/metrics", replica.url)).await.body;
        let seen: usize = metrics
            .lines()
            .filter(|line| {
                line.starts_with("onefive_http_requests_total{") && line.contains("method=\"POST\"")
            })
            .map(|line| line.rsplit_once(' ').unwrap().1.parse::<usize>().unwrap())
            .sum();
        assert_eq!(
            seen,
            2 * asked + lost,
            "what was lost was repeated, and reached us"
        );
        let wanted = i64::try_from(asked).unwrap();
        for rows in [
            "select count(*) from requests",
            "select count(distinct conversation) from requests",
            "select count(*) from ratings",
            "select count(*) from events where kind = 'rating.created'",
        ] {
            assert_eq!(database.number(rows).await, wanted, "{rows}");
        }
        let totals = plain::get(&format!("{}/metrics/totals", replica.url)).await;
        let counted: i64 = totals
            .body
            .lines()
            .filter(|line| line.starts_with("onefive_ratings_total{"))
            .map(|line| line.rsplit_once(' ').unwrap().1.parse::<i64>().unwrap())
            .sum();
        assert_eq!(counted, wanted, "each is counted once");
        let result = format!("one row of each of {} posts", 2 * asked);
        faults::record(
            "F29",
            "answer lost behind HAProxy, post repeated",
            lost,
            &result,
        );
    }
);

story!(
    one_link_posted_a_hundred_times_at_once_is_one_rating,
    async |database: Database| {
        const POSTS: usize = 100;
        let stage = Stage::with(database, &[("SERVER__CONNECTIONS_PER_PEER", "1000")]).await;
        let links = faults::count(4, 20);
        for n in 0..links {
            stage
                .ask("email", &format!("ben{n}@example.com"), &format!("T-{n}"))
                .await;
        }
        while stage.deliver().await > 0 {}
        let mails = stage.mail.wait_for(links).await;
        for (n, mail) in mails.iter().enumerate() {
            let links = mail.html.split("href=\"").skip(1);
            let mut links = links.map(|part| part.split_once('"').unwrap().0);
            let link = links.find(|url| url.starts_with(&format!("{PUBLIC_URL}/r/")));
            let url = stage.real(link.unwrap().split_once('?').unwrap().0);
            stage.pass(60);
            let page = plain::get(&url).await.body;
            let view = page.split_once("name=\"view\" value=\"").unwrap().1;
            let view = view.split_once('"').unwrap().0.to_owned();
            stage.pass(60);
            let mut posts = JoinSet::new();
            for post in 0..POSTS {
                let (url, view, score) = (url.clone(), view.clone(), (post % 5 + 1).to_string());
                posts.spawn(async move {
                    let fields = [
                        ("view", view.as_str()),
                        ("event", "button"),
                        ("score", &score),
                    ];
                    let answer = post_form(&url, &fields, "application/json").await;
                    assert_eq!(answer.status, 200, "{answer:?}");
                    let said = answer.json();
                    (said["state"].clone(), said["score"].clone())
                });
            }
            while let Some(said) = posts.join_next().await {
                let (word, given) = said.unwrap();
                assert!(word == "answered" && given.is_u64(), "{word} {given}");
            }
            let so_far = i64::try_from(n + 1).unwrap();
            assert_eq!(stage.ratings("email").await, [so_far; 3], "link {n}");
        }
        let result = format!("{links} links, one rating and one count each");
        faults::record(
            "F35",
            "one link posted 100 times at once",
            links * POSTS,
            &result,
        );
        stage.finish().await;
    }
);
