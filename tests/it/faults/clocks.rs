//! One of two replicas has a wrong wall clock. All of them go by the database's, so nobody notices.

use std::time::Duration;

use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use onefive::clock::{Clock as _, SystemClock};
use tokio::time::{interval, timeout};

use crate::support::database::Database;
use crate::support::faults::{count, record};
use crate::support::load::{Load, Wish};
use crate::support::program::{Http, Program};
use crate::support::twilio::FakeTwilio;

/// For anything that is waited for.
const DEADLINE: Duration = Duration::from_secs(40);
const LIBRARY: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";
/// How the wall clock of one replica is wrong, in the words of libfaketime, and in hours.
const WRONG: [(&str, i64); 3] = [("+2h", 2), ("-2h", -2), ("+1y", 8_760)];

/// Dated by somebody whose clock is wrong: all of this is seconds old.
const MISDATED: &str = "select count(*) from requests where \
     abs(created_at - cast(extract(epoch from clock_timestamp()) * 1000 as bigint)) > 300000 \
     or abs(due_at - created_at) > 1000 or expires_at - created_at < 3600000";
const MISDATED_EVENTS: &str = "select count(*) from events where \
     abs(at - cast(extract(epoch from clock_timestamp()) * 1000 as bigint)) > 300000";
const EXPIRED: &str = "select count(*) from requests where state = 'expired'";
const UNSENT: &str =
    "select count(*) from requests where channel = 'sms' and delivery <> 'accepted'";
const TEXTS: &str = "select count(*) from requests where channel = 'sms'";
const TWICE: &str = "select count(*) from attempts where n > 1";

/// How wrong the clock is that the program dates its log with, in hours.
fn wrong_by(program: &Program) -> i64 {
    let log = program.log();
    let line: serde_json::Value = serde_json::from_str(log.lines().next().unwrap()).unwrap();
    let date: jiff::Timestamp = line["timestamp"].as_str().unwrap().parse().unwrap();
    let ahead = date.as_millisecond() - SystemClock.now().as_millis();
    (ahead + ahead.signum() * 1_800_000) / 3_600_000
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_with_a_wrong_clock_does_as_the_others() {
    let http: Http = Client::builder(TokioExecutor::new()).build_http();
    let rounds = count(WRONG.len(), 10 * WRONG.len());
    let mut acknowledged = 0;
    for (wrong, hours) in WRONG.into_iter().cycle().take(rounds) {
        let database = Database::postgres().await;
        let twilio = FakeTwilio::start(None).await;
        let mut right = Program::twilio(&database, &twilio, "+14155550199");
        let mut off = Program::twilio(&database, &twilio, "+14155550199");
        let key = right.desk();
        off.set("log.format", "json");
        off.env("LD_PRELOAD", LIBRARY);
        off.env("FAKETIME", wrong);
        off.env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        right.serve(&http).await;
        off.serve(&http).await;
        assert_eq!(
            wrong_by(&off),
            hours,
            "the clock is not wrong: {}",
            off.log()
        );

        let load = Load::begin(Wish {
            urls: vec![right.url.clone(), off.url.clone()],
            key,
            workers: 8,
            texts: true,
            bulk: 0,
        });
        load.more(150).await;
        let outcome = load.end(&off.url).await;
        assert!(outcome.lost.is_empty(), "{:#?}", outcome.lost);
        assert_eq!((outcome.refused.len(), outcome.unheard), (0, 0));
        // Long enough for both to sweep and to tidy up, too.
        let sent = async {
            let mut look = interval(Duration::from_millis(50));
            for quiet in 0.. {
                look.tick().await;
                if quiet > 50 && database.number(UNSENT).await == 0 {
                    break;
                }
            }
        };
        let sent = timeout(DEADLINE, sent).await.is_ok();
        assert!(sent, "{} are not sent", database.number(UNSENT).await);
        for never in [MISDATED, MISDATED_EVENTS, EXPIRED, TWICE] {
            assert_eq!(database.number(never).await, 0, "{wrong}: {never}");
        }
        let messages = twilio.messages();
        let mut numbers: Vec<&String> = messages.iter().map(|message| &message.to).collect();
        numbers.sort_unstable();
        numbers.dedup();
        let texts = usize::try_from(database.number(TEXTS).await).unwrap();
        assert_eq!(
            (messages.len(), numbers.len()),
            (texts, texts),
            "{wrong}: each is sent once"
        );
        acknowledged += outcome.acknowledged;
    }
    let result = format!(
        "acknowledged = stored, {acknowledged} of {acknowledged}; 0 sent twice, 0 expired, 0 misdated"
    );
    record(
        "F21",
        "wall clock of a replica wrong by +2 h, -2 h, +1 year",
        rounds,
        &result,
    );
}
