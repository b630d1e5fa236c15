//! Numbers by name, their medians, and the table at the end. Judges nothing: a goal that is missed is printed, not an error.

use std::collections::BTreeMap;

/// All that was measured; a measure has as many values as there were rounds.
#[derive(Debug, Default)]
pub(crate) struct Samples(BTreeMap<String, Vec<f64>>);

impl Samples {
    /// Adds a value.
    pub(crate) fn add(&mut self, name: impl Into<String>, value: f64) {
        self.0.entry(name.into()).or_default().push(value);
    }

    /// Adds a count of what must not be, and says at once where it is.
    pub(crate) fn must_be_none(&mut self, name: &str, count: f64, place: &str) {
        if count > 0.0 {
            eprintln!("  {count} {name}: {place}");
        }
        self.add(name, count);
    }

    /// The median of a measure; not a number if it was not measured.
    pub(crate) fn median(&self, name: &str) -> f64 {
        median(&mut self.0.get(name).cloned().unwrap_or_default())
    }

    /// The value added last; not a number if there is none.
    pub(crate) fn last(&self, name: &str) -> f64 {
        self.0
            .get(name)
            .and_then(|values| values.last().copied())
            .unwrap_or(f64::NAN)
    }

    /// Keeps only the largest value of these measures: what must never happen is not to be averaged away.
    pub(crate) fn worst(&mut self, names: &[&str]) {
        for name in names {
            let most = self.most(name);
            self.0.insert((*name).to_owned(), vec![most]);
        }
    }

    /// The largest value.
    pub(crate) fn most(&self, name: &str) -> f64 {
        self.0.get(name).map_or(f64::NAN, |values| {
            values.iter().copied().fold(f64::NAN, f64::max)
        })
    }
}

/// The median; not a number if there is none.
pub(crate) fn median(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

/// A goal: what is judged, and from where on it is met and more than met.
struct Goal {
    label: &'static str,
    /// The measure shown beside it, with its unit; empty if the judged one says it all.
    shown: (&'static str, &'static str),
    judged: (&'static str, &'static str),
    least: f64,
    moonshot: f64,
    /// Whether more is better.
    more: bool,
}

macro_rules! goals {
    ($($label:literal: $shown:literal $unit:literal, $judged:literal $judged_unit:literal $sign:tt $least:literal / $moonshot:literal;)*) => {
        [$(Goal {
            label: $label,
            shown: ($shown, $unit),
            judged: ($judged, $judged_unit),
            least: $least,
            moonshot: $moonshot,
            more: more!($sign),
        }),*]
    };
}

macro_rules! more {
    (>=) => {
        true
    };
    (<=) => {
        false
    };
}

/// Ratios are to the bare server in the same round, on the same machine, so that they carry over to another one.
const GOALS: &[Goal] = &goals! {
    "trigger, SQLite, 64 connections": "sqlite.trigger.64.rate" "/s", "sqlite.trigger.64.ratio" "x bare" >= 0.12 / 0.35;
    "trigger, SQLite, 256 connections": "sqlite.trigger.256.rate" "/s", "sqlite.trigger.256.ratio" "x bare" >= 0.15 / 0.42;
    "trigger, PostgreSQL, 64 connections": "postgres.trigger.64.rate" "/s", "postgres.trigger.64.ratio" "x bare" >= 0.10 / 0.25;
    "trigger, PostgreSQL, 256 connections": "postgres.trigger.256.rate" "/s", "postgres.trigger.256.ratio" "x bare" >= 0.12 / 0.36;
    "signed reply, SQLite": "sqlite.reply.rate" "/s", "sqlite.reply.ratio" "x bare" >= 0.20 / 0.40;
    "signed reply, PostgreSQL": "postgres.reply.rate" "/s", "postgres.reply.ratio" "x bare" >= 0.12 / 0.22;
    "trigger / one commit each, SQLite": "sqlite.one.rate" "/s", "sqlite.one.ratio" "x" >= 3.0 / 5.0;
    "trigger / one commit each, PostgreSQL": "postgres.one.rate" "/s", "postgres.one.ratio" "x" >= 3.0 / 5.0;
    "CPU of a trigger, SQLite": "sqlite.trigger.64.cpu" "us", "sqlite.trigger.64.cpu.ratio" "x bare" <= 8.0 / 3.0;
    "CPU of a trigger, PostgreSQL": "postgres.trigger.64.cpu" "us", "postgres.trigger.64.cpu.ratio" "x bare" <= 8.0 / 3.0;
    "reply p99 at 2,000/s over bare, SQLite": "sqlite.open.p99" "ms", "sqlite.open.over" "ms" <= 5.0 / 2.0;
    "reply p99 at 2,000/s over bare, PostgreSQL": "postgres.open.p99" "ms", "postgres.open.over" "ms" <= 5.0 / 2.0;
    "reply to server-sent event, p99 at 500/s, SQLite": "sqlite.sse.p50" "ms p50", "sqlite.sse.p99" "ms" <= 500.0 / 150.0;
    "reply to server-sent event, p99 at 500/s, PostgreSQL": "postgres.sse.p50" "ms p50", "postgres.sse.p99" "ms" <= 500.0 / 150.0;
    "reply to first webhook try, p99 at 500/s, SQLite": "sqlite.webhook.p50" "ms p50", "sqlite.webhook.p99" "ms" <= 1500.0 / 300.0;
    "reply to first webhook try, p99 at 500/s, PostgreSQL": "postgres.webhook.p50" "ms p50", "postgres.webhook.p99" "ms" <= 1500.0 / 300.0;
    "sending, provider of 50 ms, 256 at once, SQLite": "sqlite.sending.256.rate" "/s", "sqlite.sending.256.ratio" "of limit" >= 0.85 / 0.95;
    "sending, provider of 50 ms, 1,024 at once, SQLite": "sqlite.sending.1024.rate" "/s", "sqlite.sending.1024.ratio" "of limit" >= 0.70 / 0.85;
    "sending, provider of 50 ms, 256 at once, PostgreSQL": "postgres.sending.256.rate" "/s", "postgres.sending.256.ratio" "of limit" >= 0.85 / 0.95;
    "sending, provider of 50 ms, 1,024 at once, PostgreSQL": "postgres.sending.1024.rate" "/s", "postgres.sending.1024.ratio" "of limit" >= 0.70 / 0.85;
    "scrape, SQLite": "sqlite.scrape.series" "series", "sqlite.scrape" "ms" <= 15.0 / 4.0;
    "scrape, PostgreSQL": "postgres.scrape.series" "series", "postgres.scrape" "ms" <= 15.0 / 4.0;
    "look-up p99, old database / young one, SQLite": "" "", "sqlite.curve.lookup" "x" <= 1.5 / 1.1;
    "look-up p99, old database / young one, PostgreSQL": "" "", "postgres.curve.lookup" "x" <= 1.5 / 1.1;
    "triggers/s, old database / young one, SQLite": "" "", "sqlite.curve.triggers" "x" >= 0.8 / 0.95;
    "triggers/s, old database / young one, PostgreSQL": "" "", "postgres.curve.triggers" "x" >= 0.8 / 0.95;
    "start to the first answer, SQLite": "" "", "sqlite.start" "ms" <= 150.0 / 25.0;
    "start to the first answer, PostgreSQL": "" "", "postgres.start" "ms" <= 150.0 / 25.0;
    "memory idle, SQLite": "" "", "sqlite.memory.idle" "MiB" <= 30.0 / 16.0;
    "memory at its most, SQLite": "" "", "sqlite.memory.most" "MiB" <= 150.0 / 64.0;
    "memory idle, PostgreSQL": "" "", "postgres.memory.idle" "MiB" <= 30.0 / 16.0;
    "memory at its most, PostgreSQL": "" "", "postgres.memory.most" "MiB" <= 150.0 / 64.0;
    "program": "" "", "binary" "MB" <= 25.0 / 14.0;
    "answers with 5xx": "" "", "broken" "" <= 0.0 / 0.0;
    "events that somebody was never told": "" "", "untold" "" <= 0.0 / 0.0;
    "without an answer, or acknowledged and not stored": "" "", "lost" "" <= 0.0 / 0.0;
};

/// Prints everything that has a goal.
pub(crate) fn print(samples: &Samples) {
    println!(
        "{:<50} {:>16} {:>17} {:>9} {:>9}  goal",
        "measure", "median", "judged", "at least", "moonshot"
    );
    for goal in GOALS {
        let value = samples.median(goal.judged.0);
        let shown = with_unit(samples.median(goal.shown.0), goal.shown.1);
        let judged = with_unit(value, goal.judged.1);
        let reaches = |wanted: f64| {
            if goal.more {
                value >= wanted
            } else {
                value <= wanted
            }
        };
        let verdict = match (value.is_nan(), reaches(goal.least), reaches(goal.moonshot)) {
            (true, _, _) => "not measured",
            (_, _, true) => "moonshot",
            (_, true, _) => "met",
            (_, false, _) => "MISSED",
        };
        let (least, moonshot) = (number(goal.least), number(goal.moonshot));
        println!(
            "{:<50} {shown:>16} {judged:>17} {least:>9} {moonshot:>9}  {verdict}",
            goal.label
        );
    }
}

/// Rates with what belongs beside each: how long one takes, and the processor time of server and database.
const RATES: &[(&str, &str)] = &[
    ("bare hyper, JSON, 64 connections", "floor.64"),
    ("bare hyper, JSON, 256 connections", "floor.256"),
    ("bare hyper, signed form, 64 connections", "floor.reply"),
    ("trigger, SQLite, 64 connections", "sqlite.trigger.64"),
    ("trigger, SQLite, 256 connections", "sqlite.trigger.256"),
    ("trigger, PostgreSQL, 64 connections", "postgres.trigger.64"),
    (
        "trigger, PostgreSQL, 256 connections",
        "postgres.trigger.256",
    ),
    ("one commit each, SQLite, 64 connections", "sqlite.single"),
    (
        "one commit each, PostgreSQL, 64 connections",
        "postgres.single",
    ),
    ("signed reply, SQLite, 64 connections", "sqlite.reply"),
    ("signed reply, PostgreSQL, 64 connections", "postgres.reply"),
    ("sending, SQLite, 256 at once", "sqlite.sending.256"),
    ("sending, SQLite, 1,024 at once", "sqlite.sending.1024"),
    ("sending, PostgreSQL, 256 at once", "postgres.sending.256"),
    (
        "sending, PostgreSQL, 1,024 at once",
        "postgres.sending.1024",
    ),
];

/// Without a goal, and worth knowing.
const ALSO: &[(&str, &str, &str)] = &[
    (
        "bare hyper, signed form, p50 at 2,000/s",
        "floor.open.p50",
        "ms",
    ),
    (
        "bare hyper, signed form, p99 at 2,000/s",
        "floor.open.p99",
        "ms",
    ),
    ("reply p50 at 2,000/s, SQLite", "sqlite.open.p50", "ms"),
    (
        "reply p50 at 2,000/s, PostgreSQL",
        "postgres.open.p50",
        "ms",
    ),
    (
        "CPU of a trigger in PostgreSQL itself",
        "postgres.trigger.64.cpu.database",
        "us",
    ),
    (
        "CPU of a reply in PostgreSQL itself",
        "postgres.reply.cpu.database",
        "us",
    ),
    ("rows of a trigger", "sqlite.trigger.64.rows", ""),
    ("rows of a reply", "sqlite.reply.rows", ""),
    (
        "start to the first answer, new file, SQLite",
        "sqlite.start.empty",
        "ms",
    ),
    (
        "after two minutes away: events, SQLite",
        "sqlite.away.events",
        "",
    ),
    ("  a reader has everything after", "sqlite.away.sse", "s"),
    (
        "  a webhook has everything after",
        "sqlite.away.webhook",
        "s",
    ),
    ("  NATS has everything after", "sqlite.away.nats", "s"),
    (
        "  Prometheus has everything after",
        "sqlite.away.remote_write",
        "s",
    ),
    ("  of its samples are there", "sqlite.away.samples", "%"),
    (
        "after two minutes away: events, PostgreSQL",
        "postgres.away.events",
        "",
    ),
    ("  a reader has everything after", "postgres.away.sse", "s"),
    (
        "  a webhook has everything after",
        "postgres.away.webhook",
        "s",
    ),
    ("  NATS has everything after", "postgres.away.nats", "s"),
    (
        "  Prometheus has everything after",
        "postgres.away.remote_write",
        "s",
    ),
    ("  of its samples are there", "postgres.away.samples", "%"),
    ("times killed, SQLite", "sqlite.kills", ""),
    ("times killed, PostgreSQL", "postgres.kills", ""),
];

/// Prints what has no goal.
pub(crate) fn print_also(samples: &Samples) {
    println!(
        "\n{:<50} {:>12} {:>10} {:>10} {:>12}",
        "rate", "per second", "p50 ms", "p99 ms", "CPU us each"
    );
    for (label, name) in RATES {
        let of = |part: &str| with_unit(samples.median(&format!("{name}.{part}")), "");
        if of("rate") != "-" {
            let [rate, p50, p99, cpu] = ["rate", "p50", "p99", "cpu"].map(of);
            println!("{label:<50} {rate:>12} {p50:>10} {p99:>10} {cpu:>12}");
        }
    }
    println!();
    for (label, name, unit) in ALSO {
        let value = samples.median(name);
        if !value.is_nan() {
            println!("{label:<50} {:>16}", with_unit(value, unit));
        }
    }
}

/// A value with its unit.
pub(crate) fn with_unit(value: f64, unit: &str) -> String {
    if value.is_nan() {
        return "-".to_owned();
    }
    format!("{} {unit}", number(value)).trim_end().to_owned()
}

/// As many decimals as say something.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 || value.fract() == 0.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}
