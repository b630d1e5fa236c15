//! The double's REST API: messages and calls are made, and scheduled messages are called off.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, DATE, RETRY_AFTER};
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;

use super::ledger::{CallUpdate, SentMessage, http_date, iso};
use super::{ACCOUNT, Behaviour, State, TOKEN};

/// How far ahead a message may be scheduled, in seconds.
const SCHEDULE: std::ops::RangeInclusive<i64> = 300..=35 * 86_400;

pub(super) async fn accept(listener: TcpListener, state: Arc<State>, tasks: TaskTracker) {
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
pub(super) struct Lost;

/// The status and the code that Twilio would answer.
pub(super) type Refused = (u16, u32);
pub(super) type Form = Vec<(String, String)>;

/// What a request came to.
struct Taken {
    status: u16,
    shown: Value,
    message: Option<SentMessage>,
}

impl State {
    async fn serve(
        self: &Arc<Self>,
        request: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, Lost> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map_err(|_| Lost)?.to_bytes();
        if let Err(reason) = self.show_to_prism(&parts, &body).await {
            self.with(|ledger| ledger.failures.push(reason));
        }
        let mut answered = if parts.method == Method::GET {
            self.look(&parts)
        } else {
            self.change(&parts, &body).await
        };
        if let Ok(answer) = &mut answered {
            let date = HeaderValue::from_str(&http_date(self.now())).unwrap();
            answer.headers_mut().insert(DATE, date);
        }
        answered
    }

    async fn change(
        self: &Arc<Self>,
        parts: &Parts,
        body: &[u8],
    ) -> Result<Response<Full<Bytes>>, Lost> {
        let behaviour = self.with(|ledger| {
            ledger.requests += 1;
            ledger.plan.pop_front().unwrap_or(Behaviour::Accept)
        });
        let refusal = match behaviour {
            Behaviour::Hang => {
                self.changed.send_modify(|changes| *changes += 1);
                return std::future::pending().await;
            }
            Behaviour::Fail500WithoutAccept => Some(error(500, 20500)),
            Behaviour::Reject { http, code } => Some(error(http, code)),
            Behaviour::TooMany { retry_after } => Some(too_many(retry_after)),
            Behaviour::Accept
            | Behaviour::LoseAnswer
            | Behaviour::HoldAnswer
            | Behaviour::Fail500AfterAccept
            | Behaviour::Malformed2xx => None,
        };
        if let Some(refusal) = refusal {
            self.changed.send_modify(|changes| *changes += 1);
            return Ok(refusal);
        }
        let released = self.released.subscribe();
        let taken = self.take(parts, body);
        if behaviour == Behaviour::HoldAnswer {
            self.with(|ledger| ledger.held += 1);
        }
        self.changed.send_modify(|changes| *changes += 1);
        let taken = match taken {
            Ok(taken) => taken,
            Err(refused) => return Ok(self.refuse(parts, refused)),
        };
        if let Some(message) = &taken.message {
            self.announce(message).await;
        }
        match behaviour {
            Behaviour::LoseAnswer => Err(Lost),
            Behaviour::Fail500AfterAccept => Ok(error(500, 20500)),
            Behaviour::Malformed2xx => {
                Ok(answer(201, "<html>not what you expect</html>".to_owned()))
            }
            Behaviour::HoldAnswer => {
                let mut released = released;
                released.changed().await.map_err(|_| Lost)?;
                Ok(answer(taken.status, taken.shown.to_string()))
            }
            Behaviour::Accept
            | Behaviour::Fail500WithoutAccept
            | Behaviour::TooMany { .. }
            | Behaviour::Reject { .. }
            | Behaviour::Hang => Ok(answer(taken.status, taken.shown.to_string())),
        }
    }

    /// A request that the service should not have made.
    pub(super) fn refuse(&self, parts: &Parts, (status, code): Refused) -> Response<Full<Bytes>> {
        let reason = format!("{} {}: {status}, {code}", parts.method, parts.uri.path());
        // That a message is out already is Twilio's news and nobody's mistake.
        if code != 30409 {
            self.with(|ledger| ledger.failures.push(reason));
        }
        error(status, code)
    }

    /// The part of the path below the account, for whoever has signed in.
    pub(super) fn resource(parts: &Parts) -> Result<&str, Refused> {
        let login = format!("Basic {}", STANDARD.encode(format!("{ACCOUNT}:{TOKEN}")));
        let known = parts.headers.get(AUTHORIZATION);
        if known.is_none_or(|value| value != &login) {
            return Err((401, 20003));
        }
        let below = format!("/2010-04-01/Accounts/{ACCOUNT}/");
        parts.uri.path().strip_prefix(&below).ok_or((404, 20404))
    }

    /// Writes it into the ledger.
    fn take(&self, parts: &Parts, body: &[u8]) -> Result<Taken, Refused> {
        let resource = Self::resource(parts)?;
        if parts.method != Method::POST {
            return Err((405, 20004));
        }
        let form = parts
            .headers
            .get(CONTENT_TYPE)
            .is_some_and(|t| t == "application/x-www-form-urlencoded");
        let params: Form = serde_urlencoded::from_bytes(body)
            .ok()
            .filter(|_| form)
            .ok_or((415, 20001))?;
        match resource.split_once('/') {
            None if resource == "Messages.json" => self.take_message(params),
            None if resource == "Calls.json" => {
                get(&params, "To").ok_or((400, 21201))?;
                get(&params, "From").ok_or((400, 21213))?;
                self.take_call(self.new_sid("CA"), true, params)
            }
            Some(("Calls", call)) => {
                let sid = call.strip_suffix(".json").ok_or((404, 20404))?.to_owned();
                self.take_call(sid, false, params)
            }
            Some(("Messages", message)) => {
                let sid = message.strip_suffix(".json").ok_or((404, 20404))?;
                self.update_message(sid, &params)
            }
            None | Some(_) => Err((404, 20404)),
        }
    }

    fn take_message(&self, params: Form) -> Result<Taken, Refused> {
        let to = get(&params, "To").ok_or((400, 21604))?;
        let service = get(&params, "MessagingServiceSid");
        let from = service
            .clone()
            .or_else(|| get(&params, "From"))
            .ok_or((400, 21603))?;
        let body = get(&params, "Body")
            .filter(|body| !body.is_empty())
            .ok_or((400, 21602))?;
        let created = self.now();
        // Without a Messaging Service Twilio passes over the schedule and sends at once.
        let scheduled = get(&params, "ScheduleType").filter(|_| service.is_some());
        let send_at = match scheduled.as_deref() {
            None => None,
            Some("fixed") => {
                let at = get(&params, "SendAt")
                    .and_then(|at| iso(&at))
                    .ok_or((400, 35114))?;
                let ahead = at.millis_since(created) / 1000;
                match ahead {
                    _ if SCHEDULE.contains(&ahead) => Some(at),
                    _ if ahead < *SCHEDULE.start() => return Err((400, 35114)),
                    _ => return Err((400, 35117)),
                }
            }
            Some(_) => return Err((400, 35118)),
        };
        let message = SentMessage {
            sid: self.new_sid("SM"),
            to,
            from,
            body,
            status_callback: get(&params, "StatusCallback").unwrap_or_default(),
            params,
            created,
            send_at,
            status: if send_at.is_some() {
                "scheduled"
            } else {
                "queued"
            }
            .to_owned(),
            sent: None,
        };
        let mut shown = message.shown();
        if send_at.is_none() {
            shown["status"] = json!("accepted");
        }
        self.with(|ledger| ledger.messages.push(message.clone()));
        Ok(Taken {
            status: 201,
            shown,
            message: Some(message),
        })
    }

    fn take_call(&self, sid: String, created: bool, params: Form) -> Result<Taken, Refused> {
        let url = get(&params, "Url").ok_or((400, 21205))?;
        let status = if created { "queued" } else { "in-progress" };
        let shown = json!({"sid": sid, "account_sid": ACCOUNT, "status": status});
        let update = CallUpdate {
            sid,
            created,
            url,
            params,
        };
        self.with(|ledger| ledger.calls.push(update));
        Ok(Taken {
            status: 201,
            shown,
            message: None,
        })
    }

    /// Calls a scheduled message off, or takes the words out of one.
    fn update_message(&self, sid: &str, params: &Form) -> Result<Taken, Refused> {
        let (status, body) = (get(params, "Status"), get(params, "Body"));
        self.with(|ledger| {
            let found = ledger.messages.iter_mut().find(|one| one.sid == sid);
            let message = found.ok_or((404, 20404))?;
            match (status.as_deref(), body.as_deref()) {
                (Some("canceled"), None) if message.status == "scheduled" => {
                    "canceled".clone_into(&mut message.status);
                }
                (Some("canceled"), None) => return Err((400, 30409)),
                (None, Some("")) => message.body.clear(),
                _ => return Err((400, 20001)),
            }
            Ok(Taken {
                status: 200,
                shown: message.shown(),
                message: None,
            })
        })
    }

    /// Shows the request to the mock of the official description; `Err` is what it found wrong.
    async fn show_to_prism(&self, parts: &Parts, body: &Bytes) -> Result<(), String> {
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
        let response = self.http.request(request).await;
        let response = response.map_err(|error| format!("prism: {error}"))?;
        let status = response.status();
        let body = response.into_body().collect().await;
        let body = body.map_err(|error| format!("prism: {error}"))?.to_bytes();
        if status.is_success() || only_the_example_is_wrong(&body) {
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

/// The examples in Twilio's description do not always fit the description. That says nothing about the request.
fn only_the_example_is_wrong(body: &[u8]) -> bool {
    let said: Value = serde_json::from_slice(body).unwrap_or_default();
    let found = said["validation"].as_array();
    found.is_some_and(|found| found.iter().all(|one| one["location"][0] == "response"))
}

pub(super) fn get(params: &Form, name: &str) -> Option<String> {
    let found = params.iter().find(|(key, _)| key == name);
    found.map(|(_, value)| value.clone())
}

pub(super) fn answer(status: u16, body: String) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    *answer.status_mut() = StatusCode::from_u16(status).unwrap();
    let json = HeaderValue::from_static("application/json");
    answer.headers_mut().insert(CONTENT_TYPE, json);
    answer
}

pub(super) fn too_many(retry_after: u32) -> Response<Full<Bytes>> {
    let mut answer = error(429, 20429);
    answer.headers_mut().insert(RETRY_AFTER, retry_after.into());
    answer
}

pub(super) fn error(status: u16, code: u32) -> Response<Full<Bytes>> {
    let more_info = format!("https://www.twilio.com/docs/errors/{code}");
    let body = json!({"code": code, "message": "no", "more_info": more_info, "status": status});
    answer(status, body.to_string())
}
