//! A PostgreSQL of a story's own, to be stopped, started and followed by a standby; a pooler in front of it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use sqlx::{Connection as _, Executor as _, PgConnection};
use tokio::time::{interval, timeout};

use super::free_port;

const PROGRAMS: &str = "/usr/lib/postgresql/15/bin";
/// For a start. Only a broken server comes near.
const DEADLINE: Duration = Duration::from_secs(40);

/// A server with a folder of its own. It is stopped when dropped.
pub(crate) struct Cluster {
    folder: tempfile::TempDir,
    /// Where it listens on this machine.
    pub(crate) port: u16,
    options: Vec<String>,
    server: Option<Child>,
}

impl Cluster {
    /// A new server that runs, with further settings such as `max_connections=20`.
    pub(crate) async fn start(options: &[&str]) -> Self {
        let folder = folder();
        let data = folder.path().join("data");
        run(
            folder.path(),
            "initdb",
            &[
                "--no-sync",
                "-A",
                "trust",
                "-U",
                "postgres",
                "--encoding=UTF8",
                "--locale=C.UTF-8",
                "-D",
                &data.to_string_lossy(),
            ],
        );
        Self::serve(folder, options).await
    }

    /// A standby that follows this server, running.
    pub(crate) async fn standby(&self, options: &[&str]) -> Self {
        let folder = folder();
        let (data, port) = (folder.path().join("data"), self.port.to_string());
        run(
            folder.path(),
            "pg_basebackup",
            &[
                "-h",
                "127.0.0.1",
                "-p",
                &port,
                "-U",
                "postgres",
                "-R",
                "-X",
                "stream",
                "-c",
                "fast",
                "--no-sync",
                "-D",
                &data.to_string_lossy(),
            ],
        );
        Self::serve(folder, options).await
    }

    async fn serve(folder: tempfile::TempDir, options: &[&str]) -> Self {
        let mut cluster = Self {
            folder,
            port: free_port(),
            options: options.iter().map(|&option| option.to_owned()).collect(),
            server: None,
        };
        cluster.begin();
        cluster.ready().await;
        cluster
    }

    /// Starts it and does not wait.
    pub(crate) fn begin(&mut self) {
        let home = self.folder.path();
        let mut command = command(home, "postgres");
        command.arg("-D").arg(home.join("data"));
        let fixed = [
            "listen_addresses=127.0.0.1".to_owned(),
            format!("port={}", self.port),
            format!("unix_socket_directories={}", home.display()),
        ];
        for option in fixed.iter().chain(&self.options) {
            command.args(["-c", option]);
        }
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(home.join("log"));
        let log = log.unwrap();
        command.stdout(log.try_clone().unwrap()).stderr(log);
        self.server = Some(command.spawn().unwrap());
    }

    /// Waits until it takes connections.
    pub(crate) async fn ready(&self) {
        let ready = reachable(&self.url("postgres")).await;
        let log = || std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        assert!(ready, "it does not start: {}", log());
    }

    /// Stops it as a power failure would: nobody is told, nothing is flushed.
    pub(crate) fn stop_at_once(&mut self) {
        if let Some(mut server) = self.server.take() {
            let id = server.id().to_string();
            drop(Command::new("/bin/kill").args(["-QUIT", &id]).status());
            server.wait().unwrap();
        }
    }

    /// Makes a standby the one that takes writes.
    pub(crate) async fn promote(&self) {
        let mut connection = PgConnection::connect(&self.url("postgres")).await.unwrap();
        connection
            .execute("select pg_promote(true, 30)")
            .await
            .unwrap();
    }

    /// The address of one of its databases.
    pub(crate) fn url(&self, database: &str) -> String {
        url(self.port, database)
    }

    /// Runs a statement on one of its databases, past the service.
    pub(crate) async fn execute(&self, database: &str, sql: &'static str) {
        let mut connection = PgConnection::connect(&self.url(database)).await.unwrap();
        connection.execute(sql).await.unwrap();
    }

    /// A number from the server.
    pub(crate) async fn number(&self, database: &str, sql: &'static str) -> i64 {
        let mut connection = PgConnection::connect(&self.url(database)).await.unwrap();
        sqlx::query_scalar(sql)
            .fetch_one(&mut connection)
            .await
            .unwrap()
    }

    /// Connections that a service holds.
    pub(crate) async fn connections(&self) -> i64 {
        let held = "select count(*) from pg_stat_activity where application_name = 'onefive'";
        self.number("postgres", held).await
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop_at_once();
    }
}

pub(super) fn url(port: u16, database: &str) -> String {
    format!("postgres://postgres@127.0.0.1:{port}/{database}")
}

/// PostgreSQL refuses to run as root; then it runs as Debian's own user for it, who has to reach its folder.
fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata("/proc/self").unwrap().uid() == 0
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    if is_root() {
        let owned = Command::new("/bin/chown")
            .arg("postgres:postgres")
            .arg(folder.path())
            .status();
        assert!(
            owned.unwrap().success(),
            "the folder could not be given to postgres"
        );
    }
    folder
}

fn command(home: &Path, program: &str) -> Command {
    let program = PathBuf::from(PROGRAMS).join(program);
    let mut command = if is_root() {
        let mut command = Command::new("/usr/bin/setpriv");
        command
            .args(["--reuid=postgres", "--regid=postgres", "--init-groups"])
            .arg(program);
        command
    } else {
        Command::new(program)
    };
    command.current_dir(home).stdin(Stdio::null());
    command
}

fn run(home: &Path, program: &str, arguments: &[&str]) {
    let output = command(home, program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program}: {output:?}");
}

/// A pooler in front of a server, which keeps a session for each connection but not what we ask for at its start. It is stopped
/// when dropped.
pub(crate) struct Pooler {
    port: u16,
    child: Child,
    _folder: tempfile::TempDir,
}

impl Pooler {
    /// Starts it.
    pub(crate) async fn start(cluster: &Cluster) -> Self {
        let (folder, port) = (folder(), free_port());
        let settings = folder.path().join("pgbouncer.ini");
        let text = format!(
            "[databases]\n* = host=127.0.0.1 port={} user=postgres\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             unix_socket_dir =\nauth_type = any\npool_mode = session\nignore_startup_parameters = options,extra_float_digits\n",
            cluster.port
        );
        std::fs::write(&settings, text).unwrap();
        let mut command = command(folder.path(), "/usr/sbin/pgbouncer");
        command.arg("--quiet").arg(&settings);
        let pooler = Self {
            port,
            child: command.spawn().unwrap(),
            _folder: folder,
        };
        assert!(
            reachable(&pooler.url("postgres")).await,
            "pgbouncer does not start"
        );
        pooler
    }

    /// The address of a database behind it.
    pub(crate) fn url(&self, database: &str) -> String {
        url(self.port, database)
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        drop(self.child.kill());
        self.child.wait().unwrap();
    }
}

/// Waits until a server takes connections; whether it did.
async fn reachable(url: &str) -> bool {
    let ready = async {
        let mut ticks = interval(Duration::from_millis(10));
        loop {
            ticks.tick().await;
            if PgConnection::connect(url).await.is_ok() {
                break;
            }
        }
    };
    timeout(DEADLINE, ready).await.is_ok()
}
