//! Fills a database: with the sums of many desks for a large scrape, and with many ended requests for the cost of age.

use onefive::domain::event::EventKind;
use onefive::domain::policy::Suppression;
use onefive::domain::request::State;
use onefive::domain::statistics::ANSWER_SECONDS;

use super::Fault;
use super::stage::Stage;

/// Desks, each of which asks in so many channels: more places than have series of their own.
const DESKS: usize = 130;
const CHANNELS: [&str; 4] = ["sms", "voice", "chat", "email"];
/// Rows written by one statement, which is one transaction.
const STEP: i64 = 100_000;

/// Sums in which every kind, state and reason, and every score in every answer time, has occurred at every place: as many series as a
/// scrape can have.
pub(crate) async fn totals(stage: &Stage) -> Result<(), Fault> {
    let id = if stage.is_sqlite() {
        "randomblob(16)"
    } else {
        "gen_random_uuid()"
    };
    let numbers = |most: usize| {
        format!("with recursive s(n) as (select 1 union all select n + 1 from s where n < {most})")
    };
    let desks = format!(
        "insert into desks (id, slug, name, settings, created_at) {} select {id}, 'seed-' || n, 'Seed', '{{}}', 1 from s",
        numbers(DESKS)
    );
    stage.execute(desks).await?;
    let mut kinds: Vec<String> = Vec::new();
    for state in State::ALL {
        let kind = EventKind::for_state(state).as_str();
        kinds.push(format!("('{kind}', {}, '', 0, -1)", state.bit()));
    }
    for reason in Suppression::ALL {
        let (kind, entered) = (EventKind::RequestSuppressed, State::Suppressed.bit());
        kinds.push(format!(
            "('{}', {entered}, '{}', 0, -1)",
            kind.as_str(),
            reason.as_str()
        ));
    }
    for kind in EventKind::ALL {
        kinds.push(format!("('{}', 0, '', 3, 5)", kind.as_str()));
    }
    for score in 1..=5 {
        for bucket in 0..=ANSWER_SECONDS.len() {
            let (kind, entered) = (EventKind::RatingCreated.as_str(), State::Answered.bit());
            kinds.push(format!("('{kind}', {entered}, '', {score}, {bucket})"));
        }
    }
    let channels = CHANNELS.map(|channel| format!("('{channel}')")).join(", ");
    let sums = format!(
        "with c(channel) as (values {channels}), k(kind, entered, reason, score, bucket) as (values {}) \
         insert into totals (desk_id, kind, channel, touchpoint, entered, reason, score, bucket, n, elapsed_ms, first_at) \
         select d.id, k.kind, c.channel, 'place', k.entered, k.reason, k.score, k.bucket, 7, 7000, 1 \
         from desks d cross join c cross join k where d.slug like 'seed-%'",
        kinds.join(", ")
    );
    stage.execute(sums).await?;
    by_and_by(stage).await
}

/// Requests from `from` on, up to `to` of them, each answered long ago: copies of the first one in the database, which has to
/// be answered, with identifiers in the order of time and random conversations.
pub(crate) async fn ended(stage: &Stage, from: i64, to: i64) -> Result<(), Fault> {
    for table in ["requests", "events", "replies", "ratings"] {
        let columns = if stage.is_sqlite() {
            format!("select name from pragma_table_info('{table}')")
        } else {
            format!(
                "select column_name::text from information_schema.columns where table_name = '{table}' order by ordinal_position"
            )
        };
        let columns = stage.names(columns).await?;
        let values: Vec<String> = columns
            .iter()
            .map(|column| value(stage.is_sqlite(), table, column))
            .collect();
        let mut first = from;
        while first < to {
            let last = to.min(first + STEP) - 1;
            let numbers = if stage.is_sqlite() {
                format!(
                    "(with recursive s(n) as (select {first} union all select n + 1 from s where n < {last}) select n from s)"
                )
            } else {
                format!("generate_series({first}::bigint, {last}::bigint) as s(n)")
            };
            let answered = if table == "requests" {
                "state = 'answered'"
            } else {
                "true"
            };
            let sql = format!(
                "insert into {table} ({}) select {} from (select * from {table} where {answered} limit 1) t cross join {numbers}",
                columns.join(", "),
                values.join(", ")
            );
            stage.execute(sql).await?;
            first = last + 1;
        }
    }
    by_and_by(stage).await
}

/// Does at once what is done by and by: the database writes its log into the file, or cleans its pages and counts its rows for the
/// planner; and all of it goes to the disk, which would be busy with it afterwards.
pub(crate) async fn by_and_by(stage: &Stage) -> Result<(), Fault> {
    let settle = if stage.is_sqlite() {
        "pragma wal_checkpoint(truncate)"
    } else {
        "vacuum analyze"
    };
    stage.execute(settle.to_owned()).await?;
    stage.sync().await
}

fn value(sqlite: bool, table: &str, column: &str) -> String {
    // Milliseconds of the year 2020 in front, as in the identifiers that the service makes.
    let id = if sqlite {
        "unhex(printf('%012x70008%015x', 1600000000000 + n, n))"
    } else {
        "(lpad(to_hex(1600000000000 + n), 12, '0') || '70008' || lpad(to_hex(n), 15, '0'))::uuid"
    };
    let random = if sqlite {
        "lower(hex(randomblob(8)))"
    } else {
        "substr(md5(random()::text), 1, 16)"
    };
    let hash = if sqlite {
        "randomblob(16)"
    } else {
        "uuid_send(gen_random_uuid())"
    };
    match (table, column) {
        ("requests", "conversation") => random.to_owned(),
        ("requests", "pair_key" | "address_hash" | "contact_hash") => hash.to_owned(),
        ("requests", "listening") => "0".to_owned(),
        // It is sealed for the row that was copied, and would not open in another: whoever it was is erased.
        ("requests", "contact") => if sqlite { "x''" } else { "''::bytea" }.to_owned(),
        ("events", "folded_early") => "1".to_owned(),
        // Each has its own place in the stream, far behind those that the service gives meanwhile.
        ("events", "seq") => "1000000000 + n".to_owned(),
        (_, "id" | "request_id") => id.to_owned(),
        _ => format!("t.{column}"),
    }
}
