//! One whole story with values that occur nowhere else, at the most talkative log level; afterwards everything that was ever put out
//! is searched for them: the log, the bodies of errors, the metrics, and every byte of the database.

use std::time::Duration;

use http::Method;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tokio::time::{interval, timeout};

use crate::story;
use crate::support::database::Database;
use crate::support::http::{Answer, get, post_form, post_json, send};
use crate::support::mail::MailServer;
use crate::support::program::Program;
use crate::support::search::{around, holds, readable, stored};
use crate::support::stage::OUR_NUMBER;
use crate::support::twilio::{Behaviour, FakeTwilio};

mod results;

/// For what the service does by itself. Only a broken service comes near.
const DEADLINE: Duration = Duration::from_secs(40);

const NUMBER: &str = "+14155559731";
const MAIL: &str = "canary.mailbox@example.com";
const HANDLE: &str = "canary-visitor-handle";
const CALL: &str = "CAca0a7900000000000000000000000042";
const NAME: &str = "Canary Personname";
const CONTACT: &str = "canary-contact-id";
const METADATA: &str = "canary-metadata";
const SUBJECT: &str = "canary-subject-of-ticket";
const MESSAGE_ID: &str = "<canary-message-id@example.com>";
const RAW: &str = "canary words that are no score";
const COMMENT: &str = "canary words of review";
const REASON: &str = "canary reason to stop";
const IDEMPOTENCY: &str = "canary-idempotency-key";

/// A running service and everything that it put out.
struct Scene {
    program: Program,
    twilio: FakeTwilio,
    mail: MailServer,
    key: String,
    /// What must be nowhere.
    secrets: Vec<String>,
    /// Bodies of answers that are errors, and metrics.
    put_out: Vec<String>,
}

impl Scene {
    async fn start(database: &Database) -> Self {
        let twilio = FakeTwilio::start(None).await;
        let mail = MailServer::start();
        let mut program = Program::twilio(database, &twilio, OUR_NUMBER);
        program.set("channels.voice", "twilio");
        program.set("channels.email", "smtp");
        program.set("providers.smtp.host", "127.0.0.1");
        program.set("providers.smtp.port", &mail.port.to_string());
        program.set("providers.smtp.tls", "none");
        program.set("providers.smtp.from", "feedback@acme.example");
        program.set("sinks.webhook.allow_networks", "[\"127.0.0.0/8\"]");
        program.set("sinks.webhook.allow_http", "true");
        program.env("ONEFIVE_LOG__LEVEL", "trace");
        let http = Client::builder(TokioExecutor::new()).build_http();
        program.serve(&http).await;
        program.desk();
        let scopes = "send,read,admin,metrics";
        let key = program.run(&["key", "create", "--desk", "acme", "--scopes", scopes]);
        let settings: toml::Table = twilio.settings(OUR_NUMBER).parse().unwrap();
        let provider = settings["secret"].as_str().unwrap().to_owned();
        let mut secrets: Vec<String> = [
            NUMBER,
            &NUMBER[1..],
            MAIL,
            HANDLE,
            NAME,
            CONTACT,
            METADATA,
            SUBJECT,
            MESSAGE_ID,
            RAW,
            COMMENT,
            REASON,
            IDEMPOTENCY,
        ]
        .map(str::to_owned)
        .to_vec();
        secrets.extend([key[12..].to_owned(), provider]);
        secrets.extend(results::SECRETS.map(str::to_owned));
        Self {
            program,
            twilio,
            mail,
            key,
            secrets,
            put_out: Vec::new(),
        }
    }

    async fn call(&mut self, method: Method, path: &str, body: &str) -> Answer {
        let bearer = format!("Bearer {}", self.key);
        let kind = if path.contains("import") {
            "text/csv"
        } else {
            "application/json"
        };
        let headers = [
            ("authorization", bearer.as_str()),
            ("content-type", kind),
            ("idempotency-key", IDEMPOTENCY),
        ];
        let headers =
            if path == "/v1/requests" && method == Method::POST && body.contains("first-1") {
                &headers[..]
            } else {
                &headers[..2]
            };
        let url = format!("{}{path}", self.program.url);
        let answer = send(method, &url, headers, body.to_owned()).await;
        self.keep(&answer);
        answer
    }

    /// Errors are put out; other answers are for whoever asked.
    fn keep(&mut self, answer: &Answer) {
        if answer.status >= 400 {
            self.put_out
                .push(format!("{:?} {}", answer.headers, answer.body));
        }
    }

    async fn trigger(&mut self, channel: &str, to: &str, conversation: &str) -> Value {
        let mail = json!({"message_id": MESSAGE_ID, "subject": SUBJECT});
        let body = json!({
            "channel": channel, "to": to, "conversation": conversation, "metadata": {"note": METADATA},
            "contact": {"id": CONTACT, "name": NAME}, "mail": if channel == "email" { mail } else { Value::Null },
        });
        let mut body = body;
        if channel != "email" {
            body.as_object_mut().unwrap().remove("mail");
        }
        let answer = self
            .call(Method::POST, "/v1/requests", &body.to_string())
            .await;
        assert!(answer.status < 300, "{answer:?}");
        answer.json()
    }

    async fn text(&self, body: &str) -> String {
        let service = self.program.service();
        let answer = self.twilio.text(&service, NUMBER, OUR_NUMBER, body).await;
        assert_eq!(answer.0, 200);
        answer.1
    }

    /// Text messages, in clear weather and not.
    async fn texts(&mut self) {
        // A provider that fails, then one that works; the contact writes words, a score with words, and words again.
        self.twilio.next(Behaviour::Reject {
            http: 400,
            code: 21211,
        });
        let first = self.trigger("sms", NUMBER, "first-1").await;
        let path = format!("/v1/requests/{}", first["id"].as_str().unwrap());
        let failed = timeout(DEADLINE, async {
            let mut ticks = interval(Duration::from_millis(10));
            while self.call(Method::GET, &path, "").await.json()["state"] != "failed" {
                ticks.tick().await;
            }
        });
        assert!(failed.await.is_ok(), "the first one fails");
        self.trigger("sms", NUMBER, "first-2").await;
        until(|| !self.twilio.messages().is_empty()).await;
        let message = self.twilio.messages().remove(0);
        let token = message
            .status_callback
            .rsplit_once('/')
            .unwrap()
            .1
            .to_owned();
        self.secrets.push(token);
        let service = self.program.service();
        self.twilio.status(&service, &message, "delivered").await;
        self.text(RAW).await;
        self.text(&format!("2 but {COMMENT}")).await;
        self.text(RAW).await;
        let false_signature = [("From", NUMBER), ("To", OUR_NUMBER), ("Body", RAW)];
        let refused =
            self.twilio
                .post_signed(&service, "/hooks/twilio/sms", &false_signature, "AAAA");
        self.put_out.push(refused.await.1);
    }

    /// A mail: its page, words, its opt-out page. The page's address.
    async fn mailed(&mut self) -> String {
        self.trigger("email", MAIL, "T-1").await;
        let mail = self.mail.wait_for(1).await.remove(0);
        let link = mail
            .header("list-unsubscribe")
            .trim_matches(['<', '>'])
            .to_owned();
        self.secrets
            .push(link.rsplit_once('/').unwrap().1.to_owned());
        let page_url = link.replace("/u/", "/r/");
        let page = get(&page_url).await;
        let after = page.body.split_once("name=\"view\" value=\"").unwrap().1;
        let view = after.split_once('"').unwrap().0.to_owned();
        let bad = post_form(
            &page_url,
            &[("view", &view), ("score", "9"), ("comment", COMMENT)],
            "*/*",
        )
        .await;
        self.keep(&bad);
        let good = [
            ("view", view.as_str()),
            ("score", "1"),
            ("comment", COMMENT),
            ("event", "button"),
        ];
        assert_eq!(
            post_form(&page_url, &good, "application/json").await.status,
            200
        );
        page_url
    }

    /// The mail program's one click: nobody asks the person any more.
    async fn opted_out(&mut self, page_url: &str) {
        let link = page_url.replace("/r/", "/u/");
        let one_click = [("List-Unsubscribe", "One-Click")];
        assert_eq!(post_form(&link, &one_click, "*/*").await.status, 200);
        let again = self.trigger("email", MAIL, "T-9").await;
        assert_eq!(again["reason"], "opted_out", "{again}");
    }

    /// A chat and a call.
    async fn chat_and_call(&mut self) {
        let service = self.program.service();
        let chat = self.trigger("chat", HANDLE, "CH-1").await;
        let token = chat["token"].as_str().unwrap().to_owned();
        self.secrets.push(token.clone());
        let ask = format!("{}/w/{token}", self.program.url);
        let press = json!({"score": 3, "comment": COMMENT});
        assert_eq!(post_json(&ask, &[], &press).await.status, 200);
        let bad = post_json(
            &ask,
            &[],
            &json!({"score": 3, "comment": COMMENT, "more": NAME}),
        )
        .await;
        self.keep(&bad);
        let flow = "/hooks/twilio/voice?desk=acme&conversation=C-1";
        let (status, twiml) = self.twilio.call(&service, flow, CALL, &[]).await;
        assert_eq!(status, 200);
        let action = twiml
            .split_once("action=\"")
            .unwrap()
            .1
            .split_once('"')
            .unwrap()
            .0;
        let action = service.target_of(&action.replace("&amp;", "&"));
        let key = [("Digits", "4"), ("From", NUMBER)];
        assert_eq!(self.twilio.call(&service, &action, CALL, &key).await.0, 200);
    }

    /// The desk: a list, an error of each kind with what must not come back.
    async fn errors(&mut self, page_url: &str) {
        let reason = json!({"reason": REASON}).to_string();
        self.call(Method::PUT, &format!("/v1/opt-outs/{MAIL}"), &reason)
            .await;
        let file = format!("address\n{MAIL}\n{NAME}\n");
        self.call(Method::POST, "/v1/opt-outs/import", &file).await;
        for path in [
            format!("/v1/opt-outs/{HANDLE}"),
            format!("/v1/contacts/{HANDLE}"),
            format!("/v1/nothing/{NUMBER}"),
            format!("/v1/opt-outs?cursor={MAIL}"),
        ] {
            assert!(
                self.call(Method::GET, &path, "").await.status >= 400,
                "{path}"
            );
        }
        for body in [
            format!("{{\"channel\":\"sms\",\"to\":\"{MAIL}\",\"conversation\":\"x\"}}"),
            format!(
                "{{\"channel\":\"sms\",\"to\":\"{NUMBER}\",\"conversation\":\"x\",\"contact\":{{\"name\":7}}}}"
            ),
            format!("{{\"{NAME}"),
        ] {
            let answer = self.call(Method::POST, "/v1/requests", &body).await;
            assert!(answer.status >= 400, "{answer:?}");
        }
        let wrong = self.key.replace("o5_", "o5-");
        let stranger = [("authorization", format!("Bearer {wrong}"))];
        let stranger = [(stranger[0].0, stranger[0].1.as_str())];
        let url = format!("{}/v1/requests", self.program.url);
        let answer = send(Method::GET, &url, &stranger, "").await;
        assert_eq!(answer.status, 401);
        self.keep(&answer);
        let wrong_link = get(&format!("{page_url}x")).await;
        assert_eq!(wrong_link.status, 404);
        self.keep(&wrong_link);
    }

    /// STOP, given out, erased; then what the metrics say.
    async fn the_end(&mut self) {
        self.text("STOP").await;
        let path = "/v1/contacts/%2B14155559731";
        let held = self.call(Method::GET, path, "").await;
        assert!(
            [COMMENT, RAW, results::TOLD]
                .iter()
                .all(|words| held.body.contains(words)),
            "given out"
        );
        assert_eq!(
            self.call(Method::DELETE, path, "").await.json()["requests"],
            2
        );
        for metrics in ["/metrics", "/metrics/totals"] {
            let answer = self.call(Method::GET, metrics, "").await;
            assert_eq!(answer.status, 200);
            self.put_out.push(answer.body);
        }
    }
}

async fn until(done: impl Fn() -> bool) {
    let waited = timeout(DEADLINE, async {
        let mut ticks = interval(Duration::from_millis(10));
        while !done() {
            ticks.tick().await;
        }
    });
    assert!(waited.await.is_ok(), "it does not happen");
}

story!(
    what_names_a_person_or_opens_a_door_is_put_out_nowhere,
    async |database: Database| {
        let mut scene = Scene::start(&database).await;
        let receiver = scene.settings().await;
        scene.texts().await;
        let page_url = scene.mailed().await;
        scene.held().await;
        scene.followed_up().await;
        scene.chat_and_call().await;
        scene.opted_out(&page_url).await;
        scene.errors(&page_url).await;
        // Before anything of it is erased, too.
        let mut places = stored(&database).await;
        scene.the_end().await;
        receiver.wait(|told| told.len() > 1).await;
        let failed = "select count(*) from webhook_deliveries where status = 500";
        let logged = timeout(DEADLINE, async {
            let mut ticks = interval(Duration::from_millis(100));
            while database.number(failed).await == 0 {
                ticks.tick().await;
            }
        });
        assert!(logged.await.is_ok(), "the failures are noted");
        places.extend(stored(&database).await);
        scene.program.kill();
        let log = scene.program.log();
        assert!(
            log.contains("TRACE") && log.contains("a contact was erased"),
            "the log says everything"
        );
        places.push(("the log".to_owned(), log.into_bytes()));
        places.push((
            "errors and metrics".to_owned(),
            scene.put_out.join("\n").into_bytes(),
        ));
        assert!(scene.put_out.len() > 10);
        let places: Vec<(String, String)> = places
            .into_iter()
            .map(|(place, bytes)| (place, readable(&bytes)))
            .collect();
        assert!(
            places.iter().any(|(_, text)| holds(text, "CH-1")),
            "the search finds what is there"
        );
        let mut found = Vec::new();
        for (place, text) in &places {
            for secret in scene.secrets.iter().filter(|secret| holds(text, secret)) {
                found.push(format!("{secret} in {place}: {}", around(text, secret)));
            }
        }
        assert_eq!(found, Vec::<String>::new());
    }
);
