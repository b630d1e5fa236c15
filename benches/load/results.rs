//! Questions about a month in which ten thousand to a million customers answered, the scrape of the totals, and everything as a
//! file: how long each takes, and whether that grows with the answers.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::client;
use super::process::{Server, memory};
use super::report::{Samples, median, number};
use super::seed::by_and_by;
use super::single::store;
use super::stage::{Setting, Stage, UNFOLDED};
use super::work::{Work, replies};
use super::{Bench, Fault};

/// The first midnight of the month, in milliseconds, and its length.
const MONTH: i64 = 1_600_041_600_000;
const MONTH_MS: i64 = 30 * 86_400_000;
/// Answers in the month, unless the caller names other numbers.
const SIZES: [i64; 3] = [10_000, 100_000, 1_000_000];
/// Rows written by one statement, which is one transaction.
const STEP: i64 = 100_000;
/// What is asked about the month: a name for the table, and the rest of the query. The month is one of UTC unless the rest begins
/// with another.
const QUESTIONS: &[(&str, &str)] = &[
    ("total", ""),
    ("channel", "group_by=channel"),
    ("team", "group_by=team"),
    ("touchpoint", "group_by=touchpoint"),
    ("phase", "group_by=phase"),
    ("queue", "group_by=queue"),
    ("language", "group_by=language"),
    ("agent", "group_by=agent"),
    ("topic", "group_by=topic"),
    ("wording", "group_by=wording"),
    ("day", "group_by=day"),
    ("week", "group_by=week"),
    ("channel, team", "group_by=channel,team"),
    (
        "touchpoint, channel, day",
        "group_by=touchpoint,channel,day",
    ),
    ("queue, language, day", "group_by=queue,language,day"),
    ("agent, week", "group_by=agent,week"),
    ("topic, team, week", "group_by=topic,team,week"),
    ("agent, queue", "group_by=agent,queue"),
    ("agent, topic", "group_by=agent,topic"),
    ("day in New York", "group_by=day&timezone=America/New_York"),
    (
        "week in New York",
        "group_by=week&timezone=America/New_York",
    ),
    ("day in Auckland", "group_by=day&timezone=Pacific/Auckland"),
    (
        "channel, team, day in New York",
        "group_by=channel,team,day&timezone=America/New_York",
    ),
    (
        "touchpoint, day in New York",
        "group_by=touchpoint,day&timezone=America/New_York",
    ),
    (
        "a team by day in New York",
        "group_by=day&timezone=America/New_York&team=team-3&channel=sms",
    ),
    (
        "a place by day in New York",
        "group_by=day&timezone=America/New_York&touchpoint=place-1",
    ),
    ("one team of a channel", "team=team-3&channel=sms"),
    ("one queue by language", "group_by=language&queue=queue-7"),
    ("one agent by day", "group_by=day&agent=agent-7"),
    ("one agent by queue", "group_by=queue&agent=agent-7"),
    ("one agent by topic", "group_by=topic&agent=agent-7"),
    ("one topic by week", "group_by=week&topic=topic-7"),
    ("one topic by agent", "group_by=agent&topic=topic-7"),
    ("one topic by queue", "group_by=queue&topic=topic-7"),
];
/// Questions at the other two doors.
const OTHERS: &[(&str, &str)] = &[
    (
        "compare: two channels",
        "/compare?channel=sms&versus_channel=chat",
    ),
    (
        "compare: two agents",
        "/compare?agent=agent-7&versus_agent=agent-8",
    ),
    (
        "compare: two topics",
        "/compare?topic=topic-7&versus_topic=topic-8",
    ),
    (
        "compare: two fortnights",
        "/compare?versus_from=2020-09-28T00:00:00Z&versus_to=2020-10-12T00:00:00Z",
    ),
    ("agents", "/agents?"),
    ("agents of a team", "/agents?team=team-3"),
    ("agents of a queue", "/agents?queue=queue-7"),
];
/// What can be had as a file, and in which forms.
const EXPORTS: [&str; 2] = ["/v1/ratings", "/v1/requests"];
const FORMS: [(&str, &str); 3] = [
    ("CSV", "text/csv"),
    ("JSON lines", "application/x-ndjson"),
    ("Parquet", "application/vnd.apache.parquet"),
];

/// A table: a row for each measure, a column for each size.
#[derive(Debug, Default)]
struct Table(Vec<(String, Vec<String>)>);

impl Table {
    fn add(&mut self, row: &str, value: String) {
        if let Some((_, values)) = self.0.iter_mut().find(|(known, _)| known == row) {
            values.push(value);
        } else {
            self.0.push((row.to_owned(), vec![value]));
        }
    }

    fn print(&self, title: &str, sizes: &[i64]) {
        let heads: Vec<String> = sizes.iter().map(|size| format!("{size:>20}")).collect();
        println!("\n{title:<40}{}", heads.concat());
        for (row, values) in &self.0 {
            let values: Vec<String> = values.iter().map(|value| format!("{value:>20}")).collect();
            println!("{row:<40}{}", values.concat());
        }
    }
}

/// The month with more and more answers in it, on each database.
pub(crate) async fn results(bench: &Bench, samples: &mut Samples) -> Result<(), Fault> {
    let sizes = match &bench.answers[..] {
        [] if bench.quick => &SIZES[..1],
        [] => &SIZES[..],
        named => named,
    };
    for (name, database) in bench.databases() {
        let mut table = Table::default();
        for size in sizes {
            eprintln!("results, {name}, {size} answers");
            let stage =
                Stage::new(&bench.binary, &bench.folder, database, Setting::usual()?).await?;
            let server = stage.start().await?;
            let asked = store(bench, samples, &stage, &server, 1).await?;
            stage.mark_sent().await?;
            let work = Work::Prepared(replies(&asked, bench.seed()));
            client::closed(server.address, 1, bench.time, work).await?;
            server.stop().await?;
            month(&stage, *size).await?;
            let server = stage.start().await?;
            table.add("folding, s", number(fold(&stage).await?));
            server.stop().await?;
            by_and_by(&stage).await?;
            let sums = "select count(*) from rollups".to_owned();
            table.add("sums kept", stage.number(sums).await?.to_string());
            // Another process, so that it is no warmer than after any other start.
            let server = stage.start().await?;
            ask_all(&stage, &server, &mut table).await?;
            server.stop().await?;
            for path in EXPORTS {
                for (form, accept) in FORMS {
                    export(&stage, path, form, accept, &mut table).await?;
                }
            }
            stage.end().await?;
        }
        table.print(&format!("{name}, answers in the month:"), sizes);
    }
    Ok(())
}

/// Seconds until the service has folded what the month holds. A minute without progress is a fault.
#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
async fn fold(stage: &Stage) -> Result<f64, Fault> {
    let begun = Instant::now();
    let whole = stage.number(UNFOLDED.to_owned()).await?;
    let (mut left, mut moved, mut told) = (whole, Instant::now(), Instant::now());
    while left > 0 {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let now = stage.number(UNFOLDED.to_owned()).await?;
        if now != left {
            (left, moved) = (now, Instant::now());
        }
        if moved.elapsed() > Duration::from_mins(1) {
            return Err(format!("{left} events are not folded, and none was for a minute").into());
        }
        if told.elapsed() > Duration::from_secs(10) {
            told = Instant::now();
            let rate = (whole - left) as f64 / begun.elapsed().as_secs_f64();
            eprintln!("  folding: {left} left, {} a second", number(rate));
        }
    }
    Ok(begun.elapsed().as_secs_f64())
}

/// Every question and the scrape: the median milliseconds.
async fn ask_all(stage: &Stage, server: &Server, table: &mut Table) -> Result<(), Fault> {
    let month = "from=2020-09-14T00:00:00Z&to=2020-10-14T00:00:00Z";
    let shifted = "from=2020-09-14T04:00:00Z&to=2020-10-14T04:00:00Z";
    let mut all = vec![
        ("/metrics/totals".to_owned(), "/metrics/totals".to_owned()),
        (
            "total, a month of New York".to_owned(),
            format!("/v1/summary?{shifted}"),
        ),
    ];
    for (label, question) in QUESTIONS {
        all.push((
            (*label).to_owned(),
            format!("/v1/summary?{month}&{question}"),
        ));
    }
    for (label, question) in OTHERS {
        all.push((
            (*label).to_owned(),
            format!("/v1/summary{question}&{month}"),
        ));
    }
    for (label, path) in all {
        let mut times = Vec::new();
        let mut refused = None;
        for _ in 0..12 {
            let asked = ask(stage, server, &path, "*/*").await?;
            times.push(asked.took.as_secs_f64() * 1000.0);
            refused = refused.or(Some(asked.status).filter(|status| *status != 200));
        }
        // The first one prepares its statement.
        times.remove(0);
        let took = number(median(&mut times));
        // What takes too long is given up by the service; that is a result too.
        let said = refused.map_or_else(|| took.clone(), |status| format!("{status} after {took}"));
        eprintln!("  {label}: {said} ms");
        table.add(&label, said);
    }
    Ok(())
}

/// All of it as a file: the seconds, its size, and the service's memory before and at its most.
#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
async fn export(
    stage: &Stage,
    path: &str,
    form: &str,
    accept: &str,
    table: &mut Table,
) -> Result<(), Fault> {
    // A process of its own, so that its memory is that of this export.
    let server = stage.start().await?;
    ask(stage, &server, "/v1/summary", "*/*").await?;
    let before = memory(server.pid(), "VmRSS");
    let asked = ask(stage, &server, path, accept).await?;
    let most = memory(server.pid(), "VmHWM");
    if asked.status != 200 {
        return Err(format!("{path} was answered {}", asked.status).into());
    }
    server.stop().await?;
    let said = format!(
        "{} s {}->{} MiB",
        number(asked.took.as_secs_f64()),
        before.round(),
        most.round()
    );
    let megabytes = number(asked.bytes as f64 / 1e6);
    eprintln!("  {path} as {form}: {said}, {megabytes} MB");
    table.add(&format!("{path} as {form}"), said);
    Ok(())
}

struct Asked {
    status: u16,
    took: Duration,
    bytes: u64,
}

/// A GET with the key, read to its end and thrown away.
async fn ask(stage: &Stage, server: &Server, path: &str, accept: &str) -> Result<Asked, Fault> {
    let begun = Instant::now();
    let mut line = TcpStream::connect(server.address).await?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {}\r\naccept: {accept}\r\nconnection: close\r\n\r\n",
        stage.key
    );
    line.write_all(request.as_bytes()).await?;
    let (mut status, mut bytes, mut chunked, mut end) = (0, 0, false, Vec::new());
    let mut buffer = vec![0; 1 << 16];
    loop {
        let read = line.read(&mut buffer).await?;
        if bytes == 0 {
            let head = String::from_utf8_lossy(&buffer[..read]).to_lowercase();
            let code = head.split(' ').nth(1).and_then(|code| code.parse().ok());
            status = code.ok_or_else(|| format!("{path}: no answer"))?;
            chunked = head.contains("transfer-encoding: chunked");
        }
        if read == 0 {
            break;
        }
        bytes += read as u64;
        end.extend_from_slice(&buffer[read.saturating_sub(5)..read]);
        end.drain(..end.len().saturating_sub(5));
    }
    let took = begun.elapsed();
    // What breaks off has no last chunk.
    if chunked && end != b"0\r\n\r\n" {
        return Err(format!("{path} broke off after {bytes} bytes").into());
    }
    Ok(Asked {
        status,
        took,
        bytes,
    })
}

/// So many conversations, each asked about and answered, evenly over a month: 4 channels, 5 teams with 2 queues and 20 agents each,
/// 3 touchpoints, 20 topics and 3 languages. The contacts are erased, because nobody here can seal them. The events are not
/// folded yet.
async fn month(stage: &Stage, size: i64) -> Result<(), Fault> {
    for table in ["requests", "events", "ratings"] {
        let columns = if stage.is_sqlite() {
            format!("select name from pragma_table_info('{table}')")
        } else {
            format!(
                "select column_name::text from information_schema.columns where table_name = '{table}' order by ordinal_position"
            )
        };
        let columns = stage.names(columns).await?;
        let at = format!("({MONTH} + n * {MONTH_MS} / {size})");
        let values: Vec<String> = columns
            .iter()
            .map(|column| value(stage.is_sqlite(), table, column, &at))
            .collect();
        let mut first = 0;
        while first < size {
            eprintln!("  writing {table}: {first} of {size}");
            let last = size.min(first + STEP) - 1;
            let numbers = if stage.is_sqlite() {
                format!(
                    "(with recursive s(n) as (select {first} union all select n + 1 from s where n < {last}) select n from s)"
                )
            } else {
                format!("generate_series({first}::bigint, {last}::bigint) as s(n)")
            };
            let template = match table {
                "requests" => "state = 'answered'",
                "events" => "kind = 'rating.created'",
                _ => "true",
            };
            let sql = format!(
                "insert into {table} ({}) select {} from (select * from {table} where {template} limit 1) t cross join {numbers}",
                columns.join(", "),
                values.join(", ")
            );
            stage.execute(sql).await?;
            first = last + 1;
        }
    }
    // The stream ends behind them.
    let lengthen = "update streams set seq = (select max(e.seq) from events e where e.desk_id = streams.desk_id)";
    stage.execute(lengthen.to_owned()).await?;
    by_and_by(stage).await
}

fn value(sqlite: bool, table: &str, column: &str, at: &str) -> String {
    let id = if sqlite {
        format!("unhex(printf('%012x70008%015x', {at}, n))")
    } else {
        format!("(lpad(to_hex({at}), 12, '0') || '70008' || lpad(to_hex(n), 15, '0'))::uuid")
    };
    let hash = if sqlite {
        "randomblob(16)"
    } else {
        "uuid_send(gen_random_uuid())"
    };
    let nothing = if sqlite { "x''" } else { "''::bytea" };
    let one_of =
        |start: &str, every: i64, most: i64| format!("'{start}-' || (n / {every} % {most})");
    match (table, column) {
        ("requests", "conversation") => "'INC-' || n".to_owned(),
        ("requests", "pair_key" | "address_hash" | "contact_hash") => hash.to_owned(),
        ("requests", "contact") => nothing.to_owned(),
        ("requests", "listening") | ("events", "folded_early") => "0".to_owned(),
        ("requests", "channel") => {
            "case n / 7 % 4 when 0 then 'sms' when 1 then 'voice' when 2 then 'chat' else 'email' end".to_owned()
        }
        ("requests", "team") => one_of("team", 1, 5),
        ("requests", "queue") => one_of("queue", 1, 10),
        ("requests", "agent_id") => one_of("agent", 1, 100),
        ("requests", "touchpoint") => one_of("place", 11, 3),
        ("requests", "topic") => one_of("topic", 13, 20),
        ("requests", "language") => one_of("l", 17, 3),
        ("requests", "created_at" | "answered_at") | ("ratings", "answered_at" | "changed_at") | ("events", "at") => at.to_owned(),
        ("events" | "ratings", "score") => "1 + n * 7 / 3 % 5".to_owned(),
        ("events" | "ratings", "elapsed_ms") => "1000 + n * 7919 % 7200000".to_owned(),
        ("ratings", "comment") => "'It took a while until somebody called me back'".to_owned(),
        // Every state on the way to an answer.
        ("events", "entered") => "61".to_owned(),
        // Each has its own place, behind those that the service has given.
        ("events", "seq") => "1000000000 + n".to_owned(),
        (_, "id" | "request_id") => id,
        _ => format!("t.{column}"),
    }
}
