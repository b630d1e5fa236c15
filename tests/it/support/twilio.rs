//! A stateful double of Twilio's REST API on a real port: it keeps a ledger of what it accepted, misbehaves when told, and
//! calls the service back with signed requests. Signing is written here from Twilio's documented rule and shares nothing
//! with the service. With the address of a mock of Twilio's OpenAPI document, every request is shown to that too.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use http::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use sha1::Sha1;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio_util::task::TaskTracker;

/// The account that tests use.
pub(crate) const ACCOUNT: &str = "AC00000000000000000000000000000001";
/// Its auth token: the password of the API and the key of signatures.
pub(crate) const TOKEN: &str = "twilio-test-auth-token";
/// A wait that is longer than this has failed.
const PATIENCE: Duration = Duration::from_secs(15);

/// What the next request meets. After that the fake accepts again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Behaviour {
    /// Takes it and answers 201.
    Accept,
    /// Takes it, then drops the connection without an answer.
    LoseAnswer,
    /// Takes it, then answers 500.
    Fail500AfterAccept,
    /// Answers 500 and does nothing.
    Fail500WithoutAccept,
    /// Answers 429 with this `Retry-After`, in seconds, and does nothing.
    TooMany {
        /// Seconds.
        retry_after: u32,
    },
    /// Answers this status with this error code, and does nothing.
    Reject {
        /// The HTTP status.
        http: u16,
        /// Twilio's code.
        code: u32,
    },
    /// Takes it, then answers 201 with a body that is not Twilio's.
    Malformed2xx,
    /// Does nothing and never answers.
    Hang,
}

/// A text message that the fake took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SentMessage {
    /// `SM` and 32 hexadecimal digits, different for each.
    pub(crate) sid: String,
    /// The contact's number.
    pub(crate) to: String,
    /// Our number or Messaging Service.
    pub(crate) from: String,
    /// The words.
    pub(crate) body: String,
    /// Where its news go; empty if it named no address.
    pub(crate) status_callback: String,
    /// The form as sent.
    pub(crate) params: Vec<(String, String)>,
}

/// A call that the fake was told to make or to change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CallUpdate {
    /// The call.
    pub(crate) sid: String,
    /// Whether it is a new call, not a live one.
    pub(crate) created: bool,
    /// Where the call fetches its words.
    pub(crate) url: String,
    /// The form as sent.
    pub(crate) params: Vec<(String, String)>,
}

/// The service under test, as Twilio sees it.
#[derive(Debug, Clone)]
pub(crate) struct Service {
    /// Where it really listens: `http://127.0.0.1:PORT`.
    pub(crate) listen: String,
    /// What it is configured to be called: the base of what is signed.
    pub(crate) public_url: String,
}

/// The fake. It stops when it is dropped.
pub(crate) struct FakeTwilio {
    base_url: String,
    state: Arc<State>,
    accepting: AbortHandle,
}

struct State {
    prism: Option<String>,
    http: Client<HttpConnector, Full<Bytes>>,
    ledger: Mutex<Ledger>,
    changed: watch::Sender<usize>,
}

#[derive(Default)]
struct Ledger {
    messages: Vec<SentMessage>,
    calls: Vec<CallUpdate>,
    plan: VecDeque<Behaviour>,
    failures: Vec<String>,
    requests: usize,
    serial: u64,
}

impl FakeTwilio {
    /// Starts on a free port. `prism` is the base address of a mock of Twilio's OpenAPI document, if one runs.
    pub(crate) async fn start(prism: Option<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base_url = format!("http://{}", listener.local_addr().unwrap());
        let http = Client::builder(TokioExecutor::new()).build_http();
        let (changed, _) = watch::channel(0);
        let state = Arc::new(State {
            prism,
            http,
            ledger: Mutex::default(),
            changed,
        });
        let tasks = TaskTracker::new();
        let accept = accept(listener, Arc::clone(&state), tasks.clone());
        let accepting = tasks.spawn(accept).abort_handle();
        Self {
            base_url,
            state,
            accepting,
        }
    }

    /// For the service's setting `base_url`.
    pub(crate) fn base_url(&self) -> &str {
        &self.base_url
    }

    /// The section `[providers.twilio]` that makes a service use this fake, with `from` as its number.
    pub(crate) fn settings(&self, from: &str) -> String {
        format!(
            "account_sid = \"{ACCOUNT}\"\nsecret = \"{TOKEN}\"\nfrom = \"{from}\"\nbase_url = \"{}\"\n",
            self.base_url()
        )
    }

    /// Plans what the next request meets; repeated calls plan the ones after it.
    pub(crate) fn next(&self, behaviour: Behaviour) {
        self.state.ledger.lock().unwrap().plan.push_back(behaviour);
    }

    /// Every message taken so far, in order.
    pub(crate) fn messages(&self) -> Vec<SentMessage> {
        self.state.ledger.lock().unwrap().messages.clone()
    }

    /// Every call update taken so far, in order.
    pub(crate) fn calls(&self) -> Vec<CallUpdate> {
        self.state.ledger.lock().unwrap().calls.clone()
    }

    /// How many requests came in, taken or not.
    pub(crate) fn requests(&self) -> usize {
        self.state.ledger.lock().unwrap().requests
    }

    /// Returns once at least `n` requests came in; panics if that takes too long.
    pub(crate) async fn requests_once(&self, n: usize) {
        self.wait(|ledger| ledger.requests >= n).await;
    }

    /// Requests that Twilio would not have understood, with the reason. A good test ends with none.
    pub(crate) fn failures(&self) -> Vec<String> {
        self.state.ledger.lock().unwrap().failures.clone()
    }

    async fn wait(&self, done: impl Fn(&Ledger) -> bool) {
        let mut changed = self.state.changed.subscribe();
        let reached = changed.wait_for(|_| done(&self.state.ledger.lock().unwrap()));
        let reached = tokio::time::timeout(PATIENCE, reached).await;
        assert!(
            reached.is_ok(),
            "twilio still waits; its misunderstandings: {:?}",
            self.failures()
        );
    }

    /// A contact sends a text. The answer is the service's status and body (TwiML).
    pub(crate) async fn text(
        &self,
        service: &Service,
        from: &str,
        to: &str,
        body: &str,
    ) -> (u16, String) {
        let sid = self.state.new_sid("SM");
        self.text_as(service, &sid, from, to, body).await
    }

    /// The same with a given message SID, to repeat a webhook.
    pub(crate) async fn text_as(
        &self,
        service: &Service,
        sid: &str,
        from: &str,
        to: &str,
        body: &str,
    ) -> (u16, String) {
        let params = [
            ("ToCountry", "US"),
            ("FromCity", ""),
            ("MessageSid", sid),
            ("SmsMessageSid", sid),
            ("AccountSid", ACCOUNT),
            ("SmsStatus", "received"),
            ("NumMedia", "0"),
            ("From", from),
            ("To", to),
            ("Body", body),
            ("ApiVersion", "2010-04-01"),
        ];
        self.post(service, "/hooks/twilio/sms", &params).await
    }

    /// News of a message goes to its status callback: `sent`, `delivered`, `undelivered` and so on.
    pub(crate) async fn status(
        &self,
        service: &Service,
        message: &SentMessage,
        status: &str,
    ) -> (u16, String) {
        let target = service.target_of(&message.status_callback);
        let failed = matches!(status, "failed" | "undelivered");
        let params = [
            ("AccountSid", ACCOUNT),
            ("MessageSid", &message.sid),
            ("MessageStatus", status),
            ("To", &message.to),
            ("From", &message.from),
            ("ErrorCode", if failed { "30005" } else { "" }),
        ];
        let count = if failed {
            params.len()
        } else {
            params.len() - 1
        };
        self.post(service, &target, &params[..count]).await
    }

    /// A call fetches words, or reports a key with `("Digits", "5")` in `extra`. `target` is a path with its query, such as
    /// what [`Service::target_of`] makes of a call's `url` or of the action in the TwiML.
    pub(crate) async fn call(
        &self,
        service: &Service,
        target: &str,
        call_sid: &str,
        extra: &[(&str, &str)],
    ) -> (u16, String) {
        let mut params = vec![
            ("AccountSid", ACCOUNT),
            ("CallSid", call_sid),
            ("CallStatus", "in-progress"),
        ];
        params.extend_from_slice(extra);
        self.post(service, target, &params).await
    }

    /// A signed form to the service.
    pub(crate) async fn post(
        &self,
        service: &Service,
        target: &str,
        params: &[(&str, &str)],
    ) -> (u16, String) {
        let signature = sign(&format!("{}{target}", service.public_url), params, TOKEN);
        self.post_signed(service, target, params, &signature).await
    }

    /// A form to the service with whatever signature.
    pub(crate) async fn post_signed(
        &self,
        service: &Service,
        target: &str,
        params: &[(&str, &str)],
        signature: &str,
    ) -> (u16, String) {
        let request = Request::post(format!("{}{target}", service.listen))
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header("x-twilio-signature", signature)
            .body(Full::new(Bytes::from(
                serde_urlencoded::to_string(params).unwrap(),
            )))
            .unwrap();
        let response = self.state.http.request(request).await.unwrap();
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }
}

impl Drop for FakeTwilio {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Service {
    /// The path and query of one of the service's public addresses.
    pub(crate) fn target_of(&self, url: &str) -> String {
        let target = url.strip_prefix(&self.public_url);
        target
            .unwrap_or_else(|| panic!("{url} is not below {}", self.public_url))
            .to_owned()
    }
}

/// The `X-Twilio-Signature` of a form post, by Twilio's rule: the whole address, then each name with each of its distinct
/// values, both in byte order, signed with HMAC-SHA1 and written in base64.
pub(crate) fn sign(url: &str, params: &[(&str, &str)], token: &str) -> String {
    let mut sorted: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (name, value) in params {
        sorted.entry(name).or_default().insert(value);
    }
    let mut mac = Hmac::<Sha1>::new_from_slice(token.as_bytes()).unwrap();
    mac.update(url.as_bytes());
    for (name, values) in sorted {
        for value in values {
            mac.update(name.as_bytes());
            mac.update(value.as_bytes());
        }
    }
    STANDARD.encode(mac.finalize().into_bytes())
}

async fn accept(listener: TcpListener, state: Arc<State>, tasks: TaskTracker) {
    while let Ok((stream, _)) = listener.accept().await {
        let state = Arc::clone(&state);
        tasks.spawn(async move {
            let serve = service_fn(move |request| {
                let state = Arc::clone(&state);
                async move { state.serve(request).await }
            });
            // A connection that ends early is what some tests want.
            drop(
                hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), serve)
                    .await,
            );
        });
    }
}

/// The connection is dropped without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the answer is lost on purpose")]
struct Lost;

impl State {
    fn new_sid(&self, kind: &str) -> String {
        let mut ledger = self.ledger.lock().unwrap();
        ledger.serial += 1;
        format!("{kind}{:032x}", ledger.serial)
    }

    async fn serve(&self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Lost> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map_err(|_| Lost)?.to_bytes();
        if let Err(reason) = self.show_to_prism(&parts, &body).await {
            self.ledger.lock().unwrap().failures.push(reason);
        }
        let behaviour = {
            let mut ledger = self.ledger.lock().unwrap();
            ledger.requests += 1;
            ledger.plan.pop_front().unwrap_or(Behaviour::Accept)
        };
        let answer = self.react(behaviour, &parts, &body);
        self.changed.send_modify(|changes| *changes += 1);
        match answer {
            Some(answer) => answer,
            None => std::future::pending().await,
        }
    }

    /// `None` is an answer that never comes.
    fn react(
        &self,
        behaviour: Behaviour,
        parts: &http::request::Parts,
        body: &[u8],
    ) -> Option<Result<Response<Full<Bytes>>, Lost>> {
        let taken = match behaviour {
            Behaviour::Hang => return None,
            Behaviour::Fail500WithoutAccept => return Some(Ok(error(500, 20500))),
            Behaviour::Reject { http, code } => return Some(Ok(error(http, code))),
            Behaviour::TooMany { retry_after } => {
                let mut answer = error(429, 20429);
                answer.headers_mut().insert(RETRY_AFTER, retry_after.into());
                return Some(Ok(answer));
            }
            Behaviour::Accept
            | Behaviour::LoseAnswer
            | Behaviour::Fail500AfterAccept
            | Behaviour::Malformed2xx => self.take(parts, body),
        };
        let created = match taken {
            Ok(created) => created,
            Err((status, code)) => {
                let reason = format!("{} {}: {status}, {code}", parts.method, parts.uri.path());
                self.ledger.lock().unwrap().failures.push(reason);
                return Some(Ok(error(status, code)));
            }
        };
        Some(match behaviour {
            Behaviour::LoseAnswer => Err(Lost),
            Behaviour::Fail500AfterAccept => Ok(error(500, 20500)),
            Behaviour::Malformed2xx => {
                Ok(answer(201, "<html>not what you expect</html>".to_owned()))
            }
            Behaviour::Accept
            | Behaviour::Fail500WithoutAccept
            | Behaviour::TooMany { .. }
            | Behaviour::Reject { .. }
            | Behaviour::Hang => Ok(answer(201, created.to_string())),
        })
    }

    /// Writes it into the ledger; `Err` is the status and the code that Twilio would answer.
    fn take(
        &self,
        parts: &http::request::Parts,
        body: &[u8],
    ) -> Result<serde_json::Value, (u16, u32)> {
        let login = format!("Basic {}", STANDARD.encode(format!("{ACCOUNT}:{TOKEN}")));
        if parts
            .headers
            .get(AUTHORIZATION)
            .is_none_or(|value| value != &login)
        {
            return Err((401, 20003));
        }
        let resource = parts
            .uri
            .path()
            .strip_prefix(&format!("/2010-04-01/Accounts/{ACCOUNT}/"))
            .ok_or((404, 20404))?;
        if parts.method != Method::POST {
            return Err((405, 20004));
        }
        let form = parts
            .headers
            .get(CONTENT_TYPE)
            .is_some_and(|t| t == "application/x-www-form-urlencoded");
        let params: Vec<(String, String)> = serde_urlencoded::from_bytes(body)
            .ok()
            .filter(|_| form)
            .ok_or((415, 20001))?;
        let get = |name: &str| {
            params
                .iter()
                .find(|(key, _)| key == name)
                .map(|(_, value)| value.clone())
        };
        match resource.split_once('/') {
            None if resource == "Messages.json" => {
                let to = get("To").ok_or((400, 21604))?;
                let from = get("MessagingServiceSid")
                    .or_else(|| get("From"))
                    .ok_or((400, 21603))?;
                let body = get("Body")
                    .filter(|body| !body.is_empty())
                    .ok_or((400, 21602))?;
                let status_callback = get("StatusCallback").unwrap_or_default();
                let sid = self.new_sid("SM");
                let json = serde_json::json!({
                    "sid": sid, "account_sid": ACCOUNT, "to": to, "from": null, "body": body, "status": "accepted",
                    "num_segments": "0", "price": null, "error_code": null, "direction": "outbound-api",
                });
                let message = SentMessage {
                    sid,
                    to,
                    from,
                    body,
                    status_callback,
                    params,
                };
                self.ledger.lock().unwrap().messages.push(message);
                Ok(json)
            }
            None if resource == "Calls.json" => {
                get("To").ok_or((400, 21201))?;
                get("From").ok_or((400, 21213))?;
                self.take_call(self.new_sid("CA"), true, get("Url"), params)
            }
            Some(("Calls", call)) => {
                let sid = call.strip_suffix(".json").ok_or((404, 20404))?.to_owned();
                self.take_call(sid, false, get("Url"), params)
            }
            None | Some(_) => Err((404, 20404)),
        }
    }

    fn take_call(
        &self,
        sid: String,
        created: bool,
        url: Option<String>,
        params: Vec<(String, String)>,
    ) -> Result<serde_json::Value, (u16, u32)> {
        let url = url.ok_or((400, 21205))?;
        let status = if created { "queued" } else { "in-progress" };
        let json = serde_json::json!({"sid": sid, "account_sid": ACCOUNT, "status": status});
        self.ledger.lock().unwrap().calls.push(CallUpdate {
            sid,
            created,
            url,
            params,
        });
        Ok(json)
    }

    /// Shows the request to the mock of the official description; `Err` is what it found wrong.
    async fn show_to_prism(
        &self,
        parts: &http::request::Parts,
        body: &Bytes,
    ) -> Result<(), String> {
        let Some(prism) = &self.prism else {
            return Ok(());
        };
        let mut request = Request::builder()
            .method(&parts.method)
            .uri(format!("{prism}{}", parts.uri));
        for name in [AUTHORIZATION, CONTENT_TYPE] {
            if let Some(value) = parts.headers.get(&name) {
                request = request.header(name, value);
            }
        }
        let request = request
            .body(Full::new(body.clone()))
            .map_err(|error| error.to_string())?;
        let response = self
            .http
            .request(request)
            .await
            .map_err(|error| format!("prism: {error}"))?;
        let status = response.status();
        let body = response
            .into_body()
            .collect()
            .await
            .map_err(|error| format!("prism: {error}"))?
            .to_bytes();
        if status.is_success() {
            return Ok(());
        }
        Err(format!(
            "prism refuses {} {}: {status} {}",
            parts.method,
            parts.uri,
            String::from_utf8_lossy(&body)
        ))
    }
}

fn answer(status: u16, body: String) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    *answer.status_mut() = StatusCode::from_u16(status).unwrap();
    answer.headers_mut().insert(
        CONTENT_TYPE,
        http::HeaderValue::from_static("application/json"),
    );
    answer
}

fn error(status: u16, code: u32) -> Response<Full<Bytes>> {
    let more_info = format!("https://www.twilio.com/docs/errors/{code}");
    answer(status, serde_json::json!({"code": code, "message": "no", "more_info": more_info, "status": status}).to_string())
}
