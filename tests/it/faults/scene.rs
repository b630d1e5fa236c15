//! What the stories of killed programs share: the real program between a proxied double of Twilio and its database, a desk that
//! asks, and the looks into the database that tell how far things have come.

use std::time::Duration;

use http::Request;
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use sqlx::{Connection as _, Executor as _, PgConnection, SqliteConnection};
use tokio::time::{interval, timeout};

use crate::support::database::Database;
use crate::support::program::{Http, Program, once};
use crate::support::proxy::Proxy;
use crate::support::stage::OUR_NUMBER;
use crate::support::twilio::{FakeTwilio, SentMessage};

/// A wait that is longer than this has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);

/// Waits until something is so.
pub(crate) async fn until(what: &str, mut done: impl AsyncFnMut() -> bool) {
    let reached = timeout(PATIENCE, async {
        let mut ticks = interval(Duration::from_millis(10));
        while !done().await {
            ticks.tick().await;
        }
    });
    assert!(reached.await.is_ok(), "never so: {what}");
}

/// A call that may find nobody; the status and the body.
pub(crate) async fn call(
    http: &Http,
    bearer: &str,
    url: &str,
    body: Option<&Value>,
) -> Option<(u16, Value)> {
    let request = match body {
        None => Request::get(url).header("authorization", bearer),
        Some(_) => Request::post(url)
            .header("authorization", bearer)
            .header("content-type", "application/json"),
    };
    let body = body.map_or_else(String::new, Value::to_string);
    let (status, body) = once(http, request.body(Full::from(body)).unwrap()).await?;
    Some((status, serde_json::from_slice(&body).unwrap_or_default()))
}

/// One program with all its surroundings.
pub(crate) struct Scene {
    pub(crate) twilio: FakeTwilio,
    pub(crate) proxy: Proxy,
    pub(crate) program: Program,
    pub(crate) http: Http,
    pub(crate) bearer: String,
    pub(crate) database: Database,
    asked: usize,
}

/// A request on its way.
pub(crate) struct Asked {
    pub(crate) id: String,
    pub(crate) number: String,
}

impl Scene {
    /// The program runs.
    pub(crate) async fn start(database: Database) -> Self {
        let twilio = FakeTwilio::start(None).await;
        let host = twilio.base_url().strip_prefix("http://").unwrap();
        let proxy = Proxy::start(host);
        let mut program = Program::twilio(&database, &twilio, OUR_NUMBER);
        let road = format!("http://{}", proxy.address());
        program.set("providers.twilio.base_url", &road);
        // It looks soon, so that stories need not wait.
        program.set("settling.looks_seconds", "[1, 2, 3]");
        program.set("settling.window_seconds", "2");
        // Should it ever panic, its log says where.
        program.env("RUST_BACKTRACE", "1");
        let bearer = format!("Bearer {}", program.desk());
        let http: Http = Client::builder(TokioExecutor::new()).build_http();
        program.serve(&http).await;
        Self {
            twilio,
            proxy,
            program,
            http,
            bearer,
            database,
            asked: 0,
        }
    }

    /// The desk asks so many customers, each of whom is new.
    pub(crate) async fn ask(&mut self, count: usize) -> Vec<Asked> {
        let url = format!("{}/v1/requests", self.program.url);
        let mut asked = Vec::new();
        for _ in 0..count {
            self.asked += 1;
            let number = format!("+1415777{:04}", self.asked);
            let conversation = format!("INC-{}", self.asked);
            let body = json!({"channel": "sms", "to": number, "conversation": conversation});
            let answer = call(&self.http, &self.bearer, &url, Some(&body)).await;
            let (status, made) = answer.expect("an answer");
            assert_eq!(status, 202, "{made}");
            let id = made["id"].as_str().unwrap().to_owned();
            asked.push(Asked { id, number });
        }
        asked
    }

    /// How carrying a request stands.
    pub(crate) async fn standing(&self, asked: &Asked) -> String {
        let url = format!("{}/v1/requests/{}", self.program.url, asked.id);
        let (status, seen) = call(&self.http, &self.bearer, &url, None).await.unwrap();
        assert_eq!(status, 200, "{seen}");
        seen["delivery"]["state"].as_str().unwrap().to_owned()
    }

    /// The one message that Twilio has for a request.
    pub(crate) fn message(&self, asked: &Asked) -> SentMessage {
        let mut messages = self.twilio.messages();
        messages.retain(|message| message.to == asked.number);
        assert_eq!(messages.len(), 1, "messages to {}", asked.number);
        messages.remove(0)
    }

    /// Waits until so many requests are being opened.
    pub(crate) async fn claimed(&self, count: usize) {
        let claimed = "select count(*) from requests where delivery = 'claimed'";
        self.until_number("claimed", claimed, count).await;
    }

    /// Waits until so many requests are past the point of no return.
    pub(crate) async fn dispatching(&self, count: usize) {
        let dispatching = "select count(*) from requests where delivery = 'dispatching'";
        self.until_number("dispatching", dispatching, count).await;
    }

    /// Waits until nothing is under way.
    pub(crate) async fn at_rest(&self) {
        let moving =
            "select count(*) from requests where delivery in ('queued', 'claimed', 'dispatching')";
        self.until_number("at rest", moving, 0).await;
    }

    async fn until_number(&self, what: &str, sql: &'static str, count: usize) {
        let count = i64::try_from(count).unwrap();
        until(what, async || self.database.number(sql).await == count).await;
    }

    /// SIGKILL, while `undo` says how the rest of the world goes on before the program comes back.
    pub(crate) async fn kill_and_serve(&mut self, undo: impl AsyncFnOnce(&mut Self)) {
        self.program.kill();
        undo(self).await;
        // With SQLite the program takes everything over when it starts. Replicas wait for the database's clock, and here that
        // would be all that they do.
        if matches!(self.database, Database::Postgres { .. }) {
            let ended =
                "update requests set lease_until = 1 where delivery in ('claimed', 'dispatching')";
            self.database.execute(ended).await;
        }
        // So do the duties that the dead one held.
        self.database.execute("update duties set until = 1").await;
        self.program.serve(&self.http).await;
        self.at_rest().await;
    }
}

/// A lock that lets nobody write requests, until it is dropped.
pub(crate) enum Lock {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl Lock {
    /// Takes it from outside the program.
    pub(crate) async fn take(database: &Database) -> Self {
        match database {
            Database::Sqlite(folder) => {
                let url = format!("sqlite:{}/onefive.db", folder.path().display());
                let mut connection = SqliteConnection::connect(&url).await.unwrap();
                connection.execute("begin immediate").await.unwrap();
                Self::Sqlite(connection)
            }
            Database::Postgres { url, .. } => {
                let mut connection = PgConnection::connect(url).await.unwrap();
                connection.execute("begin").await.unwrap();
                let lock = "lock table requests in exclusive mode";
                connection.execute(lock).await.unwrap();
                Self::Postgres(connection)
            }
        }
    }

    /// Gives it back.
    pub(crate) async fn free(self) {
        match self {
            Self::Sqlite(mut connection) => drop(connection.execute("rollback").await.unwrap()),
            Self::Postgres(mut connection) => drop(connection.execute("rollback").await.unwrap()),
        }
    }
}
