//! A replica that is stopped in the middle of its work and goes on when others have long taken over: it may neither send nor
//! record. SIGSTOP stands for a machine that swaps, a hypervisor that moves it, a debugger.

use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::json;

use crate::support::database::Database;
use crate::support::faults;
use crate::support::program::{Http, Program};
use crate::support::proxy::{Deed, Plan, Proxy, Spot};
use crate::support::stage::{OUR_NUMBER, PUBLIC_URL};
use crate::support::twilio::{Behaviour, FakeTwilio, Service};

use super::scene::{Lock, call, until};

/// Sends in the hands of each replica that is stopped.
const SENDS: usize = 4;
/// A lease that is as short as it may be; claims have a shorter one by themselves.
const LEASE_SECONDS: &str = "25";

/// A replica with proxies of its own.
struct Replica {
    program: Program,
    to_twilio: Proxy,
    to_database: Proxy,
    numbers: Vec<String>,
}

/// What all replicas share.
struct World {
    twilio: FakeTwilio,
    database: Database,
    http: Http,
    bearer: String,
    asked: usize,
}

impl World {
    async fn start() -> Self {
        let database = Database::postgres().await;
        let twilio = FakeTwilio::start(None).await;
        let first = Program::new(&database);
        first.run(&["migrate"]);
        let bearer = format!("Bearer {}", first.desk());
        Self {
            twilio,
            database,
            http: Client::builder(TokioExecutor::new()).build_http(),
            bearer,
            asked: 0,
        }
    }

    async fn replica(&self, plan: Plan) -> Replica {
        let host = self.twilio.base_url().strip_prefix("http://").unwrap();
        let to_twilio = Proxy::start(host);
        let Database::Postgres { url, .. } = &self.database else {
            panic!("replicas share a PostgreSQL database")
        };
        let (before, rest) = url.split_once('@').unwrap();
        let (host, name) = rest.split_once('/').unwrap();
        let to_database = Proxy::start(host);
        to_database.always(plan);
        let mut program = Program::twilio(&self.database, &self.twilio, OUR_NUMBER);
        program.set("server.public_url", PUBLIC_URL);
        let road = format!("{before}@{}/{name}", to_database.address());
        program.set("database.url", &road);
        program.set("database.lease_seconds", LEASE_SECONDS);
        // Every statement is sent with its words, which the proxy looks for.
        program.set("database.statement_cache", "0");
        let road = format!("http://{}", to_twilio.address());
        program.set("providers.twilio.base_url", &road);
        program.serve(&self.http).await;
        Replica {
            program,
            to_twilio,
            to_database,
            numbers: Vec::new(),
        }
    }

    /// A replica that has started and rests until it is its turn, so that no lease runs out while the next one starts.
    async fn resting(&self, plan: Plan) -> Replica {
        let replica = self.replica(plan).await;
        replica.program.signal("STOP");
        replica
    }

    /// Its turn.
    async fn go(&self, replica: &Replica) {
        replica.program.signal("CONT");
        replica.program.ready(&self.http).await;
    }

    /// A replica that runs alone is asked, so the work is its own.
    async fn ask(&mut self, replica: &mut Replica) {
        let url = format!("{}/v1/requests", replica.program.url);
        for _ in 0..SENDS {
            self.asked += 1;
            let number = format!("+1415888{:04}", self.asked);
            let conversation = format!("INC-{}", self.asked);
            let body = json!({"channel": "sms", "to": number, "conversation": conversation});
            let answer = call(&self.http, &self.bearer, &url, Some(&body)).await;
            assert_eq!(answer.expect("an answer").0, 202);
            replica.numbers.push(number);
        }
    }

    async fn until(&self, what: &str, sql: &'static str, count: usize) {
        let count = i64::try_from(count).unwrap();
        until(what, async || self.database.number(sql).await == count).await;
    }

    async fn claimed(&self, count: usize) {
        let claimed = "select count(*) from requests where delivery = 'claimed'";
        self.until("claimed", claimed, count).await;
    }

    async fn dispatching(&self, count: usize) {
        let dispatching = "select count(*) from requests where delivery = 'dispatching'";
        self.until("dispatching", dispatching, count).await;
    }

    /// How many messages a replica's numbers got.
    fn got(&self, replica: &Replica) -> usize {
        let numbers = replica.numbers.iter();
        numbers
            .map(|number| self.twilio.delivered_to(number).len())
            .sum()
    }

    /// A claim, and a way to the provider that does not open.
    async fn stop_with_claims(&mut self, mut replica: Replica) -> Replica {
        self.go(&replica).await;
        replica.to_twilio.ignore().await;
        self.ask(&mut replica).await;
        self.claimed(SENDS).await;
        replica.program.signal("STOP");
        // The system opens the way for it meanwhile, so that it could send as soon as it wakes.
        replica.to_twilio.accept();
        replica
    }

    /// Between the statements of the point of no return and its commit.
    async fn stop_before_the_commit(&mut self, mut replica: Replica) -> Replica {
        self.go(&replica).await;
        replica.to_twilio.ignore().await;
        let claimed = SENDS; // What was stopped before is still claimed.
        self.ask(&mut replica).await;
        self.claimed(claimed + SENDS).await;
        let lock = Lock::take(&self.database).await;
        let waiting = "select count(*) from pg_locks where not granted and database = \
            (select oid from pg_database where datname = current_database())";
        replica.to_twilio.accept();
        until("waits for the lock", async || {
            self.database.number(waiting).await > 0
        })
        .await;
        replica.program.signal("STOP");
        lock.free().await;
        replica
    }

    /// After the point of no return was committed, and before the program knows; for how many sends that is so. The others wait
    /// behind them for their own.
    async fn stop_after_the_commit(&mut self, mut replica: Replica) -> (Replica, usize) {
        self.go(&replica).await;
        // All are asked before the first is sent: what is held must not hold up a trigger.
        replica.to_twilio.ignore().await;
        self.ask(&mut replica).await;
        replica.to_twilio.accept();
        // Both writers: each has inserted an attempt, and has committed it without an answer.
        replica.to_database.faults_once(4).await;
        let dispatching = "select count(*) from requests where delivery = 'dispatching'";
        until("committed", async || {
            self.database.number(dispatching).await >= 2
        })
        .await;
        replica.program.signal("STOP");
        replica.to_database.resume();
        let committed = self.database.number(dispatching).await;
        (replica, usize::try_from(committed).unwrap())
    }

    /// While Twilio has the message, and before its answer.
    async fn stop_before_the_answer(
        &mut self,
        mut replica: Replica,
        dispatching: usize,
    ) -> Replica {
        self.go(&replica).await;
        for _ in 0..SENDS {
            self.twilio.next(Behaviour::HoldAnswer);
        }
        self.ask(&mut replica).await;
        self.twilio.held_once(SENDS).await;
        self.dispatching(dispatching + SENDS).await;
        replica.program.signal("STOP");
        self.twilio.release();
        replica
    }

    /// It goes on, does what it still can, and ends when told to: after that nothing late is left.
    async fn wake(&self, replica: &mut Replica) {
        replica.program.signal("CONT");
        replica.program.ready(&self.http).await;
        replica.program.signal("TERM");
        let ended = replica.program.end().await;
        assert!(ended.success(), "{ended:?}: {}", replica.program.log());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_was_stopped_neither_sends_nor_records_when_it_goes_on() {
    let rounds = faults::count(1, 6);
    for _ in 0..rounds {
        round().await;
    }
    let result =
        "0 numbers with two messages, work taken over by another replica, late records refused";
    let fault = "SIGSTOP of a replica before, in and after the point of no return, and while Twilio answers";
    faults::record("F3", fault, rounds * 4 * SENDS, result);
}

async fn round() {
    let mut world = World::start().await;
    let spot = Spot::At(b"insert into attempts");
    let holding = Plan::up(spot, Deed::HoldAnswerOf(b"commit\0"));
    let claims = world.resting(Plan::PASS).await;
    let before = world.resting(Plan::PASS).await;
    let after = world.resting(holding).await;
    let sent = world.resting(Plan::PASS).await;
    let mut claims = world.stop_with_claims(claims).await;
    let mut before = world.stop_before_the_commit(before).await;
    let (mut after, committed) = world.stop_after_the_commit(after).await;
    let mut sent = world.stop_before_the_answer(sent, committed).await;

    // Another one takes over what was not begun, once the database says that the leases are over.
    let mut other = world.replica(Plan::PASS).await;
    let moving =
        "select count(*) from requests where delivery in ('queued', 'claimed', 'dispatching')";
    world.until("taken over", moving, 0).await;
    let got = |world: &World, replicas: [&Replica; 4]| replicas.map(|one| world.got(one));
    // What was committed and not sent stays in doubt, beside what Twilio has and nobody has heard of yet. A commit that was held up
    // for too long was given up as not sent, and is sent later.
    let doubt = "select count(*) from requests where delivery in ('unknown', 'lost')";
    let in_doubt = usize::try_from(world.database.number(doubt).await).unwrap() - SENDS;
    assert!(in_doubt <= committed, "{in_doubt} of {committed}");
    let once = [SENDS, SENDS, SENDS - in_doubt, SENDS];
    assert_eq!(got(&world, [&claims, &before, &after, &sent]), once);
    let service = Service {
        listen: other.program.url.clone(),
        public_url: PUBLIC_URL.to_owned(),
    };
    for message in world.twilio.messages() {
        let told = world.twilio.status(&service, &message, "delivered").await;
        assert_eq!(told.0, 200, "{}", told.1);
    }
    let settled =
        "select count(*) from requests where delivery = 'accepted' and state = 'delivered'";
    let delivered = 4 * SENDS - in_doubt;
    world.until("delivered", settled, delivered).await;
    let rows = "select cast(sum(fence * 1000 + attempts) as bigint) from requests";
    let rows_before = world.database.number(rows).await;

    for replica in [&mut claims, &mut before, &mut after, &mut sent] {
        world.wake(replica).await;
    }
    assert_eq!(got(&world, [&claims, &before, &after, &sent]), once);
    assert_eq!(world.database.number(rows).await, rows_before);
    world.until("delivered", settled, delivered).await;
    world.until("in doubt", doubt, in_doubt).await;
    assert_eq!(world.twilio.reached_twice(), Vec::<String>::new());
    assert_eq!(world.twilio.failures(), Vec::<String>::new());
    other.program.signal("TERM");
    assert!(other.program.end().await.success());
}
