//! Processes of the real program that may share a database, are told to stop, and stand behind a real `HAProxy`.

use std::fmt::Write as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use http::Request;
use http_body_util::Full;
use tokio::time::{interval, timeout};

use super::database::Database;
use super::program::{Http, Program, once};
use super::{free_port, part};

/// For a start and for an end. Only a broken service comes near.
const PATIENCE: Duration = Duration::from_secs(40);
/// How often something is looked at that somebody waits for.
const LOOK: Duration = Duration::from_millis(10);

/// The program as one that leaves a balancer and is watched from outside.
pub(crate) struct Replica {
    program: Program,
    /// Where it listens, with all three routers.
    pub(crate) url: String,
    /// The same as host and port.
    pub(crate) address: String,
}

impl Replica {
    /// With this database, and `more` settings: a text in TOML such as `channels.sms = "sandbox"`.
    pub(crate) fn new(database: &Database, more: &str) -> Self {
        let mut program = Program::new(database);
        program.set("server.connections_per_peer", "256");
        program.set("channels.sms", "");
        let more: toml::Table = more.parse().unwrap();
        program.set_all("", &more);
        let url = program.url.clone();
        let address = url.strip_prefix("http://").unwrap().to_owned();
        Self {
            program,
            url,
            address,
        }
    }

    /// Makes a desk with a key that may do everything; the key as a header's value.
    pub(crate) fn desk(&self) -> String {
        format!("Bearer {}", self.program.desk())
    }

    /// What it has logged in all its lives.
    pub(crate) fn log(&self) -> String {
        self.program.log()
    }

    /// The lines of its log that somebody should look at.
    pub(crate) fn warnings(&self) -> String {
        let log = self.log();
        let loud = |line: &&str| line.contains("WARN") || line.contains("ERROR");
        log.lines()
            .filter(loud)
            .fold(String::new(), |mut all, line| {
                all.push_str(line);
                all.push('\n');
                all
            })
    }

    /// Starts it and waits until it is ready.
    pub(crate) async fn start(&mut self, http: &Http) {
        self.program.launch();
        let ready = async {
            let mut ticks = interval(LOOK);
            while self.readyz(http).await != Some(200) {
                ticks.tick().await;
            }
        };
        assert!(
            timeout(PATIENCE, ready).await.is_ok(),
            "it does not start: {}",
            self.log()
        );
    }

    /// What `/readyz` answers; `None` if nobody does.
    pub(crate) async fn readyz(&self, http: &Http) -> Option<u16> {
        let readyz = Request::get(format!("{}/readyz", self.url)).body(Full::default());
        Some(once(http, readyz.unwrap()).await?.0)
    }

    /// SIGTERM: from now on it is leaving.
    pub(crate) fn terminate(&self) {
        self.program.signal("TERM");
    }

    /// Waits until it has ended by itself; how, and how long that took.
    pub(crate) async fn ended(&mut self) -> (ExitStatus, Duration) {
        let begun = Instant::now();
        (self.program.end().await, begun.elapsed())
    }

    /// The most memory that was resident at once, in MiB.
    pub(crate) fn memory_mib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.program.id()));
        let status = status.unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.unwrap().trim().trim_end_matches(" kB");
        kib.parse::<u64>().unwrap() / 1024
    }
}

/// A real `HAProxy` on a free port; it ends when dropped.
pub(crate) struct Balancer {
    /// Where it listens.
    pub(crate) url: String,
    child: Child,
    _folder: tempfile::TempDir,
}

impl Balancer {
    /// Starts it before `servers` (host and port) and waits until it answers. `rules` are lines of its backend, `check` is added
    /// to each server.
    pub(crate) async fn start(servers: &[&str], rules: &str, check: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let address = format!("127.0.0.1:{}", free_port());
        let mut settings = format!(
            "global\n  maxconn 2000\ndefaults\n  mode http\n  timeout connect 2s\n  timeout client 30s\n  timeout server 30s\n  \
             timeout queue 10s\nfrontend doors\n  bind {address}\n  \
             default_backend replicas\nbackend replicas\n  balance roundrobin\n"
        );
        for rule in rules.lines() {
            writeln!(settings, "  {}", rule.trim()).unwrap();
        }
        for (n, server) in servers.iter().enumerate() {
            writeln!(settings, "  server replica{n} {server} {check}").unwrap();
        }
        let config = folder.path().join("haproxy.cfg");
        std::fs::write(&config, settings).unwrap();
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let mut command = Command::new(part("ONEFIVE_TEST_HAPROXY"));
        command.args(["-db", "-f"]).arg(&config);
        let child = command.stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let mut balancer = Self {
            url: format!("http://{address}"),
            child,
            _folder: folder,
        };
        let answers = async {
            let mut ticks = interval(LOOK);
            while tokio::net::TcpStream::connect(&address).await.is_err() {
                ticks.tick().await;
                assert!(balancer.child.try_wait().unwrap().is_none(), "it ended");
            }
        };
        timeout(PATIENCE, answers).await.expect("it listens");
        balancer
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
