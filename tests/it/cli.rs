//! The program itself: its commands, exit codes and signals, run as an operator runs them.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::{Duration, Instant};

use onefive::config::DEFAULTS;
use serde_json::json;

use crate::support::http;

/// A wait that is longer than this has failed.
const PATIENCE: Duration = Duration::from_secs(15);
/// `EX_CONFIG` of sysexits.
const BAD_SETTINGS: i32 = 78;

/// The program in a folder, with nothing in its environment but these settings.
fn program(folder: &Path, arguments: &[&str], settings: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_onefive"));
    command
        .args(arguments)
        .env_clear()
        .env("TMPDIR", folder)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    for (name, value) in settings {
        command.env(format!("ONEFIVE_{name}"), value);
    }
    command
}

fn run(folder: &Path, arguments: &[&str], settings: &[(&str, &str)]) -> Output {
    program(folder, arguments, settings).output().unwrap()
}

/// What it printed; it has to succeed.
fn fine(folder: &Path, arguments: &[&str], settings: &[(&str, &str)]) -> String {
    let output = run(folder, arguments, settings);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The exit code, and what it said on standard error.
fn refused(folder: &Path, arguments: &[&str], settings: &[(&str, &str)]) -> (i32, String) {
    let output = run(folder, arguments, settings);
    assert_eq!(output.stdout, b"", "{arguments:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    (output.status.code().unwrap(), said)
}

/// A running program; it is killed if the test ends without stopping it.
struct Running(Child);

impl Running {
    fn start(folder: &Path, arguments: &[&str], settings: &[(&str, &str)]) -> Self {
        Self(program(folder, arguments, settings).spawn().unwrap())
    }

    fn printed(&mut self) -> BufReader<ChildStdout> {
        BufReader::new(self.0.stdout.take().unwrap())
    }

    /// Sends the signal to this child and waits for its end: the exit code.
    async fn stop(mut self, signal: &str) -> Option<i32> {
        let kill = format!("kill -{signal} {}", self.0.id());
        assert!(
            Command::new("sh")
                .args(["-c", &kill])
                .status()
                .unwrap()
                .success()
        );
        let begun = Instant::now();
        let mut look = tokio::time::interval(Duration::from_millis(10));
        loop {
            look.tick().await;
            if let Some(status) = self.0.try_wait().unwrap() {
                return status.code();
            }
            assert!(begun.elapsed() < PATIENCE, "it does not stop");
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// Returns once the service answers that it is ready.
async fn ready(url: &str) {
    let address = url.strip_prefix("http://").unwrap();
    let begun = Instant::now();
    let mut look = tokio::time::interval(Duration::from_millis(10));
    loop {
        look.tick().await;
        if tokio::net::TcpStream::connect(address).await.is_ok()
            && http::get(&format!("{url}/readyz")).await.status == 200
        {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "it does not get ready");
    }
}

async fn ask(url: &str, key: &str) -> http::Answer {
    let bearer = format!("Bearer {key}");
    let body = json!({"channel": "chat", "to": "visitor-7", "conversation": "INC-1"});
    http::post_json(
        &format!("{url}/v1/requests"),
        &[("authorization", &bearer)],
        &body,
    )
    .await
}

#[test]
fn help_names_every_command_and_mistakes_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let help = fine(folder.path(), &["--help"], &[]);
    for command in ["serve", "demo", "migrate", "check-config", "desk", "key"] {
        assert!(help.contains(&format!("\n  {command}")), "{help}");
        let own = fine(folder.path(), &[command, "--help"], &[]);
        assert!(own.contains("Usage: onefive"), "{own}");
    }
    let version = fine(folder.path(), &["--version"], &[]);
    assert_eq!(
        version.trim(),
        concat!("onefive ", env!("CARGO_PKG_VERSION"))
    );
    for wrong in [
        &["dance"][..],
        &["serve", "--colour"],
        &["key"],
        &["desk", "add"],
    ] {
        let (code, said) = refused(folder.path(), wrong, &[]);
        assert_eq!(code, 2, "{wrong:?}: {said}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn check_config_names_the_key_that_cannot_be_used() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    assert_eq!(fine(here, &["check-config", "--defaults"], &[]), DEFAULTS);
    let said = fine(here, &["check-config"], &[("CHANNELS__SMS", "sandbox")]);
    assert!(
        said.contains("The settings are fine.") && said.contains("sandbox"),
        "{said}"
    );
    for (name, value, key) in [
        ("SERVER__PUBLIC_URL", "feedback", "server.public_url"),
        ("SERVER__PUBLIC", "everywhere", "server.public"),
        ("SERVER__BODY_SECONDS", "0", "server.body_seconds"),
        ("SERVER__COLOUR", "red", "server.colour"),
        ("DATABASE__URL", "mysql://x", "database.url"),
        ("DATABASE__LEASE_SECONDS", "1", "database.lease_seconds"),
        ("LOG__FORMAT", "prose", "log.format"),
        ("CHANNELS__FAX", "sandbox", "channels.fax"),
        ("CHANNELS__SMS", "pigeon", "channels.sms"),
        ("CHANNELS__SMS", "twilio", "providers.twilio"),
        ("PROVIDERS__PIGEON__X", "1", "providers.pigeon"),
    ] {
        for command in ["check-config", "serve"] {
            let (code, said) = refused(here, &[command], &[(name, value)]);
            assert_eq!(code, BAD_SETTINGS, "{name}: {said}");
            assert!(said.contains(key), "{command} should name {key}: {said}");
        }
    }
    let file = here.join("onefive.toml");
    std::fs::write(&file, "[server]\nconnections = \"many\"\n").unwrap();
    let (code, said) = refused(here, &["check-config", "--config", "onefive.toml"], &[]);
    assert!(
        code == BAD_SETTINGS && said.contains("server.connections"),
        "{said}"
    );
    std::fs::write(&file, "[server\n").unwrap();
    let (code, said) = refused(here, &["check-config", "--config", "onefive.toml"], &[]);
    assert!(
        code == BAD_SETTINGS && said.contains("onefive.toml"),
        "{said}"
    );
    let (code, said) = refused(here, &["check-config", "--config", "absent.toml"], &[]);
    assert!(
        code == BAD_SETTINGS && said.contains("absent.toml"),
        "{said}"
    );
    assert!(
        !here.join("onefive.db").exists(),
        "checking connects to nothing"
    );
}

#[test]
fn a_secret_is_read_from_its_file_and_never_shown() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    let file = secret.display().to_string();
    let settings = |from: &'static str| {
        [
            ("SERVER__PUBLIC_URL", "https://feedback.example.com"),
            ("CHANNELS__SMS", "twilio"),
            (
                "PROVIDERS__TWILIO__ACCOUNT_SID",
                "AC00000000000000000000000000000001",
            ),
            ("PROVIDERS__TWILIO__FROM", from),
            (
                "PROVIDERS__TWILIO__SECRET_FILE",
                Box::leak(file.clone().into_boxed_str()),
            ),
        ]
    };
    let (code, said) = refused(folder.path(), &["check-config"], &settings("+14155550199"));
    assert!(
        code == BAD_SETTINGS && said.contains("providers.twilio.secret_file"),
        "{said}"
    );
    std::fs::write(&secret, "the-token-itself\n").unwrap();
    let said = fine(folder.path(), &["check-config"], &settings("+14155550199"));
    assert!(
        said.contains("twilio") && !said.contains("the-token-itself"),
        "{said}"
    );
    let (code, said) = refused(folder.path(), &["check-config"], &settings("nobody"));
    assert!(
        code == BAD_SETTINGS && !said.contains("the-token-itself"),
        "{said}"
    );
}

#[test]
fn key_files_are_made_once_and_postgres_needs_one() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let postgres = [("DATABASE__URL", "postgres://nobody@127.0.0.1:1/none")];
    for command in [&["serve"][..], &["migrate"], &["desk", "list"]] {
        let (code, said) = refused(here, command, &postgres);
        assert!(
            code == BAD_SETTINGS && said.contains("secrets.keys_file"),
            "{said}"
        );
    }
    fine(here, &["key", "file", "my.keys"], &[]);
    let made = std::fs::read_to_string(here.join("my.keys")).unwrap();
    let (code, _) = refused(here, &["key", "file", "my.keys"], &[]);
    assert_eq!(code, 1);
    assert_eq!(std::fs::read_to_string(here.join("my.keys")).unwrap(), made);
    let allowed = std::os::unix::fs::PermissionsExt::mode(
        &here.join("my.keys").metadata().unwrap().permissions(),
    );
    assert_eq!(allowed & 0o777, 0o600, "for its owner alone");
    std::fs::write(here.join("bad.keys"), "no key").unwrap();
    let (code, said) = refused(here, &["migrate"], &[("SECRETS__KEYS_FILE", "bad.keys")]);
    assert!(
        code == BAD_SETTINGS && said.contains("secrets.keys_file"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_sets_up_a_desk_serves_revokes_and_stops() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    for _ in 0..2 {
        assert!(fine(here, &["migrate"], &[]).contains("up to date"));
    }
    let (code, said) = refused(here, &["key", "create", "--desk", "acme"], &[]);
    assert!(
        code == 1 && said.contains("onefive desk add acme"),
        "{said}"
    );
    for _ in 0..2 {
        assert_eq!(fine(here, &["desk", "list"], &[]), "");
        let (code, said) = refused(here, &["desk", "add", "Acme!", "--name", "Acme"], &[]);
        assert!(code == 1 && said.contains("Acme!"), "{said}");
    }
    fine(here, &["desk", "add", "acme", "--name", "Acme IT"], &[]);
    let (code, said) = refused(here, &["desk", "add", "acme", "--name", "Again"], &[]);
    assert!(code == 1 && said.contains("acme"), "{said}");
    assert!(fine(here, &["desk", "list"], &[]).starts_with("acme\tAcme IT\t"));
    let (code, said) = refused(
        here,
        &["key", "create", "--desk", "acme", "--scopes", "all"],
        &[],
    );
    assert!(code == 1 && said.contains("all"), "{said}");
    let key = fine(here, &["key", "create", "--desk", "acme"], &[])
        .trim()
        .to_owned();
    let second = fine(here, &["key", "create", "--desk", "acme"], &[])
        .trim()
        .to_owned();

    let address = format!("127.0.0.1:{}", free_port());
    let url = format!("http://{address}");
    let settings = [
        ("SERVER__PUBLIC", address.as_str()),
        ("SERVER__API", &address),
        ("SERVER__ADMIN", &address),
        ("SERVER__DRAIN_GRACE_SECONDS", "0"),
        ("SERVER__DRAIN_SECONDS", "2"),
    ];
    let mut service = Running::start(here, &["serve"], &settings);
    let mut log = service.0.stderr.take().unwrap();
    ready(&url).await;
    assert_eq!(http::get(&format!("{url}/livez")).await.body, "ok\n");
    assert_eq!(ask(&url, &key).await.status, 202);
    assert_eq!(ask(&url, &second).await.status, 202);
    fine(here, &["key", "revoke", "--desk", "acme", &key], &[]);
    // A running service remembers a key for a second.
    let refused_soon = async { while ask(&url, &key).await.status != 401 {} };
    let within = Duration::from_secs(5);
    tokio::time::timeout(within, refused_soon)
        .await
        .expect("a revoked key is refused");
    assert_eq!(ask(&url, &second).await.status, 202);
    let (code, _) = refused(here, &["key", "revoke", "--desk", "acme", &key[3..11]], &[]);
    assert_eq!(code, 1, "it is revoked already");
    assert_eq!(service.stop("TERM").await, Some(0));
    let mut said = String::new();
    log.read_to_string(&mut said).unwrap();
    assert!(
        said.contains("onefive serves") && said.contains("stopped"),
        "{said}"
    );
    assert!(
        !said.contains(&key) && !said.contains("visitor-7"),
        "{said}"
    );
    // A port that is taken is no mistake of the settings.
    let taken = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let holder = TcpListener::bind(taken).unwrap();
    let address = taken.to_string();
    let settings = [
        ("SERVER__PUBLIC", address.as_str()),
        ("SERVER__API", &address),
        ("SERVER__ADMIN", &address),
    ];
    let (code, said) = refused(here, &["serve"], &settings);
    assert!(code == 1 && said.contains(&address), "{said}");
    drop(holder);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_demo_shows_itself_and_leaves_nothing_behind() {
    for signal in ["TERM", "INT"] {
        let folder = tempfile::tempdir().unwrap();
        let here = folder.path();
        let port = free_port().to_string();
        let mut demo = Running::start(here, &["demo", "--port", &port], &[]);
        let mut lines = demo.printed().lines();
        let mut find = |mark: &str| {
            let line = lines.find_map(|line| {
                line.unwrap()
                    .split_once(mark)
                    .map(|(_, rest)| rest.trim().to_owned())
            });
            line.unwrap_or_else(|| panic!("no line has {mark:?}"))
        };
        let page = find("Open this");
        let key = find("API key");
        let url = format!("http://127.0.0.1:{port}");
        assert_eq!(page, format!("{url}/sandbox"));
        let shown = http::get(&page).await;
        assert_eq!(
            (shown.status, shown.header("content-type")),
            (200, "text/html; charset=utf-8")
        );
        assert_eq!(ask(&url, &key).await.status, 202);
        assert_eq!(std::fs::read_dir(here).unwrap().count(), 1);
        assert_eq!(demo.stop(signal).await, Some(0), "{signal}");
        assert_eq!(std::fs::read_dir(here).unwrap().count(), 0, "{signal}");
    }
}
