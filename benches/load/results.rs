//! Questions about a month in which 0.1 and 1 million customers answered, and everything as a file.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::client;
use super::process::Server;
use super::report::{Samples, median, number};
use super::single::store;
use super::stage::{Setting, Stage};
use super::work::{Work, replies};
use super::{Bench, Fault};

/// The first midnight of the month, in milliseconds, and its length.
const MONTH: i64 = 1_600_041_600_000;
const MONTH_MS: i64 = 30 * 86_400_000;
/// What is asked about the month: a name for the table, and the query.
const QUESTIONS: &[(&str, &str)] = &[
    ("total", ""),
    ("channel, team", "&group_by=channel,team"),
    ("touchpoint, channel", "&group_by=touchpoint,channel"),
    ("day", "&group_by=day"),
    ("queue, language, day", "&group_by=queue,language,day"),
    ("day in New York", "&group_by=day&timezone=America/New_York"),
    ("agent", "&group_by=agent"),
    ("topic", "&group_by=topic"),
    ("topic of one agent", "&group_by=topic&agent=agent-7"),
];

/// The month with more and more answers in it, on each database.
#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
pub(crate) async fn results(bench: &Bench, samples: &mut Samples) -> Result<(), Fault> {
    let since = "from=2020-09-14T00:00:00Z&to=2020-10-14T00:00:00Z";
    for (name, database) in bench.databases() {
        for size in [100_000, 1_000_000] {
            eprintln!("results, {name}, {size} answers");
            let stage =
                Stage::new(&bench.binary, &bench.folder, database, Setting::usual()?).await?;
            let server = stage.start().await?;
            let asked = store(bench, samples, &stage, &server, 1).await?;
            stage.mark_sent().await?;
            let work = Work::Prepared(replies(&asked, bench.seed()));
            client::closed(server.address, 1, bench.time, work).await?;
            server.stop().await?;
            month(&stage, size).await?;
            let server = stage.start().await?;
            let begun = Instant::now();
            let pending = "select count(*) from events where folded = 0";
            while stage.number(pending.to_owned()).await? > 0 {
                if begun.elapsed() > Duration::from_mins(20) {
                    return Err("the events are not folded".into());
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            let rows = stage
                .number("select count(*) from rollups".to_owned())
                .await?;
            println!(
                "\n{name}, {size} answers in a month: folded in {} s into {rows} sums",
                number(begun.elapsed().as_secs_f64())
            );
            for (label, question) in QUESTIONS {
                let path = format!("/v1/summary?{since}{question}");
                let mut times = Vec::new();
                for _ in 0..12 {
                    let asked = ask(&stage, &server, &path, "application/json").await?;
                    times.push(asked.took.as_secs_f64() * 1000.0);
                }
                // The first one prepares its statement.
                times.remove(0);
                println!("  {label:<24} {:>10} ms", number(median(&mut times)));
            }
            for format in [
                "text/csv",
                "application/x-ndjson",
                "application/vnd.apache.parquet",
            ] {
                let asked = ask(&stage, &server, "/v1/ratings", format).await?;
                println!(
                    "  {format:<32} {:>10} rows/s, {:>6} MB, peak memory of the service {} MB",
                    number(size as f64 / asked.took.as_secs_f64()),
                    number(asked.bytes as f64 / 1e6),
                    number(peak_mb(&server)?),
                );
            }
            server.stop().await?;
            stage.end().await?;
        }
    }
    Ok(())
}

struct Asked {
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
    let (mut bytes, mut buffer) = (0, vec![0; 1 << 16]);
    loop {
        let read = line.read(&mut buffer).await?;
        if bytes == 0 && !buffer.starts_with(b"HTTP/1.1 200") {
            let said = String::from_utf8_lossy(&buffer[..read]).into_owned();
            return Err(format!("{path}: {said}").into());
        }
        if read == 0 {
            break;
        }
        bytes += read as u64;
    }
    let took = begun.elapsed();
    Ok(Asked { took, bytes })
}

/// The most memory that the process ever had.
fn peak_mb(server: &Server) -> Result<f64, Fault> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next());
    Ok(kilobytes.ok_or("no VmHWM")?.parse::<f64>()? / 1000.0)
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
            let last = size.min(first + 100_000) - 1;
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
    let settle = if stage.is_sqlite() {
        "pragma wal_checkpoint(truncate)"
    } else {
        "vacuum analyze"
    };
    stage.execute(settle.to_owned()).await
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
        ("requests", "listening") | ("events", "folded") => "0".to_owned(),
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
        (_, "id" | "request_id") => id,
        _ => format!("t.{column}"),
    }
}
