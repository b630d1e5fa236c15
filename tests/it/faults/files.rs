//! What happens to SQLite's file: no space, a disk that fails, death in the middle of a checkpoint, a reader who does not leave.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use sqlx::{Connection as _, Executor as _, SqliteConnection};
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::support::database::Database;
use crate::support::faults::{count, record};
use crate::support::http as plain;
use crate::support::load::{Load, Outcome, Wish};
use crate::support::program::{Http, Program};

/// For anything that is waited for.
const DEADLINE: Duration = Duration::from_secs(40);
const DAMAGE: &str = "select count(*) from pragma_integrity_check where integrity_check <> 'ok'";
const MIB: u64 = 1024 * 1024;
/// What the log's file is cut to, with the same number in `store/file.rs`.
const KEPT: u64 = 192 * MIB;
/// Of each request's own, so that the log fills quickly.
const BULK: usize = 3_500;

/// A file system of a few MiB in memory, gone when dropped.
struct Small(tempfile::TempDir);

impl Small {
    fn mount(size: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut mount = Command::new("/bin/mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]);
        let mounted = mount.arg(folder.path()).output().unwrap();
        assert!(
            mounted.status.success(),
            "a small file system needs root: {mounted:?}"
        );
        Self(folder)
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        // Whoever still has a file open there may finish with it.
        drop(
            Command::new("/bin/umount")
                .arg("-l")
                .arg(self.0.path())
                .status(),
        );
    }
}

fn file(database: &Database) -> PathBuf {
    match database {
        Database::Sqlite(folder) => folder.path().join("onefive.db"),
        Database::Postgres { .. } => unreachable!("these stories are about SQLite"),
    }
}

fn bytes(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |file| file.len())
}

fn log_of(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push("-wal");
    name.into()
}

fn begin(program: &Program, key: &str, bulk: usize) -> Load {
    Load::begin(Wish {
        urls: vec![program.url.clone()],
        key: key.to_owned(),
        workers: 12,
        texts: true,
        bulk,
    })
}

fn client() -> Http {
    Client::builder(TokioExecutor::new()).build_http()
}

async fn whole(database: &Database, outcome: &Outcome) {
    assert!(outcome.lost.is_empty(), "{:#?}", outcome.lost);
    assert_eq!(database.number(DAMAGE).await, 0, "the file is damaged");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_and_loses_nothing() {
    let small = Small::mount("8m");
    let database = Database::Sqlite(tempfile::tempdir_in(small.0.path()).unwrap());
    let mut program = Program::new(&database);
    let key = program.desk();
    program.start(&client()).await;
    let ballast = small.0.path().join("ballast");
    let rounds = count(3, 12);
    let load = begin(&program, &key, 100);
    let bearer = format!("Bearer {key}");
    for _ in 0..rounds {
        load.more(40).await;
        // Whatever is left is taken by somebody else.
        let mut other = std::fs::File::create(&ballast).unwrap();
        drop(std::io::copy(&mut std::io::repeat(1), &mut other));
        load.refused(200).await;
        // Those who read go on.
        for path in ["/v1/requests?limit=5", "/metrics", "/livez", "/readyz"] {
            let url = format!("{}{path}", program.url);
            let headers = [("authorization", bearer.as_str())];
            let answer = plain::send(http::Method::GET, &url, &headers, "").await;
            assert_eq!(answer.status, 200, "{path}: {answer:?}");
        }
        drop(other);
        std::fs::remove_file(&ballast).unwrap();
        let gap = load.more(1).await;
        assert!(gap < Duration::from_secs(5), "back after {gap:?}");
    }
    let outcome = load.end(&program.url).await;
    assert!(program.ended().is_none(), "it goes on: {}", program.log());
    assert_eq!(outcome.unheard, 0);
    whole(&database, &outcome).await;
    program.kill();
    record(
        "F16",
        "disk full, SQLite",
        rounds,
        &format!("integrity_check ok, {}", outcome.summary()),
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_does_not_sync_ends_the_process_and_nothing_is_pretended() {
    let failures = count(4, 40);
    let database = Database::sqlite();
    let mut program = Program::new(&database);
    let key = program.desk();
    let folder = tempfile::tempdir().unwrap();
    let control = folder.path().join("control");
    let libraries = "/usr/lib/fiu/fiu_run_preload.so /usr/lib/fiu/fiu_posix_preload.so";
    let mut acknowledged = 0;
    for failure in 0..failures {
        program.env("LD_PRELOAD", libraries);
        program.env("FIU_CTRL_FIFO", control.to_str().unwrap());
        program.start(&client()).await;
        let load = begin(&program, &key, 100);
        load.more(40 + failure * 7 % 30).await;
        // EIO, whether SQLite was built to call fsync or fdatasync. The process may be gone before it can say that it was told.
        let mut tell = Command::new("/usr/bin/timeout");
        tell.args([
            "5",
            "/usr/bin/fiu-ctrl",
            "-c",
            "enable name=posix/io/sync/*,failinfo=5",
        ]);
        let told = tell.arg(control_of(folder.path())).output().unwrap();
        assert!(told.stdout.is_empty(), "{told:?}");
        let status = program.end().await;
        assert_eq!(status.code(), Some(74), "{}", program.log());
        let log = program.log();
        // What was under way may say afterwards that it was not done.
        assert!(log.contains("the disk of the database failed"), "{log}");
        // The dead process leaves its pipes behind.
        for left in std::fs::read_dir(folder.path()).unwrap() {
            std::fs::remove_file(left.unwrap().path()).unwrap();
        }
        program.env("LD_PRELOAD", "");
        program.start(&client()).await;
        let outcome = load.end(&program.url).await;
        whole(&database, &outcome).await;
        acknowledged += outcome.acknowledged;
        program.kill();
    }
    let result =
        format!("exit 74 each time, acknowledged = stored, {acknowledged} of {acknowledged}");
    record("F17", "fsync fails with EIO, SQLite", failures, &result);
}

/// The pipe on which the program under libfiu takes its orders, without its ending.
fn control_of(folder: &Path) -> PathBuf {
    let mut pipes = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let pipe = pipes.find(|path| path.extension().is_some_and(|end| end == "in"));
    pipe.expect("libfiu listens").with_extension("")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn death_in_the_middle_of_a_checkpoint_loses_nothing() {
    let kills = count(12, 100);
    let database = Database::sqlite();
    let mut program = Program::new(&database);
    let key = program.desk();
    program.start(&client()).await;
    let load = begin(&program, &key, BULK);
    let file = file(&database);
    let changed = |file: &Path| std::fs::metadata(file).unwrap().modified().unwrap();
    for kill in 0..kills {
        load.more(10).await;
        // The file itself is written by checkpoints only, so a new date means that one is going on.
        let before = changed(&file);
        let begun = async {
            let mut look = interval(Duration::from_micros(500));
            look.set_missed_tick_behavior(MissedTickBehavior::Skip);
            while changed(&file) == before {
                look.tick().await;
            }
        };
        assert!(
            timeout(DEADLINE, begun).await.is_ok(),
            "no checkpoint begins"
        );
        // A little later each time, so that all of its steps are hit.
        for _ in 0..kill * 40 {
            tokio::task::yield_now().await;
        }
        program.kill();
        assert!(bytes(&log_of(&file)) > 0, "there is a log");
        program.start(&client()).await;
    }
    load.more(20).await;
    let outcome = load.end(&program.url).await;
    assert!(outcome.unheard > 0, "the kills hit nothing in flight");
    whole(&database, &outcome).await;
    record(
        "F19",
        "kill -9 in a checkpoint",
        kills,
        &format!("integrity_check ok, {}", outcome.summary()),
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_is_bounded_and_a_stuck_reader_is_seen() {
    let readers = count(1, 5);
    let database = Database::sqlite();
    let mut program = Program::new(&database);
    let key = program.desk();
    program.start(&client()).await;
    let file = file(&database);
    let log = log_of(&file);
    let load = begin(&program, &key, BULK);
    let mut most = 0;
    for _ in 0..readers {
        // Without the reader, a few checkpoints' worth of writes leave the log as it was.
        let before = changes_of(&file, &load, 3).await;
        // What is written while a checkpoint is being made comes on top.
        assert!(before <= 2 * KEPT, "{before}");
        let mut reader = SqliteConnection::connect(&format!("sqlite:{}?mode=ro", file.display()))
            .await
            .unwrap();
        reader.execute("begin").await.unwrap();
        reader
            .fetch_all("select count(*) from requests")
            .await
            .unwrap();
        // Nobody is refused meanwhile, the log grows, and the gauge says how far.
        let grown = before.max(bytes(&log)).max(KEPT) + 8 * MIB;
        let growing = async {
            while bytes(&log) < grown {
                load.more(20).await;
            }
        };
        assert!(
            timeout(DEADLINE, growing).await.is_ok(),
            "the log does not grow"
        );
        let (low, shown, high) = (bytes(&log), gauge(&program).await, bytes(&log));
        assert!((low..=high).contains(&shown), "{low} {shown} {high}");
        most = most.max(shown);
        reader.execute("rollback").await.unwrap();
        reader.close().await.unwrap();
        // Once the reader has left, the log is written anew and its file is cut.
        let cut = async {
            while gauge(&program).await > KEPT {
                load.more(5).await;
            }
        };
        assert!(
            timeout(DEADLINE, cut).await.is_ok(),
            "the log stays at {}",
            bytes(&log)
        );
    }
    let outcome = load.end(&program.url).await;
    assert_eq!((outcome.refused.len(), outcome.unheard), (0, 0));
    whole(&database, &outcome).await;
    let result = format!(
        "gauge rose to {} MiB and fell to {} or less, {}",
        most / MIB,
        KEPT / MIB,
        outcome.summary()
    );
    record("F20", "reader holds an old snapshot", readers, &result);
}

/// How large the log was at most, until the file was written to so often.
async fn changes_of(file: &Path, load: &Load, times: usize) -> u64 {
    let (mut most, log) = (0, log_of(file));
    for _ in 0..times {
        let before = std::fs::metadata(file).unwrap().modified().unwrap();
        let written = async {
            while std::fs::metadata(file).unwrap().modified().unwrap() == before {
                load.more(5).await;
                most = most.max(bytes(&log));
            }
        };
        assert!(
            timeout(DEADLINE, written).await.is_ok(),
            "no checkpoint begins"
        );
    }
    most
}

async fn gauge(program: &Program) -> u64 {
    let metrics = plain::get(&format!("{}/metrics", program.url)).await.body;
    let line = metrics
        .lines()
        .find_map(|line| line.strip_prefix("onefive_sqlite_wal_bytes "));
    line.expect("a gauge").parse().unwrap()
}
