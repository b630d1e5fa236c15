//! A PostgreSQL of a story's own, to be stopped, started and followed by a standby, and a way to it that can be cut, held up and
//! led elsewhere.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::time::Duration;

use sqlx::{Connection as _, Executor as _, PgConnection};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{interval, timeout};
use tokio_util::task::TaskTracker;

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

fn url(port: u16, database: &str) -> String {
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

/// A way from the service to a server. What it does to one connection it does between the two, so that each side sees only what a
/// network shows.
pub(crate) struct Way {
    /// Where it begins.
    pub(crate) port: u16,
    shared: Arc<Shared>,
    accepting: AbortHandle,
}

struct Shared {
    to: AtomicU16,
    /// Nothing passes, and nobody is told.
    held: watch::Sender<bool>,
    /// Raised when every open connection ends.
    cut: watch::Sender<usize>,
    /// Commits that are to lose their answer.
    losing: AtomicUsize,
    lost: watch::Sender<usize>,
}

impl Way {
    /// A way to the server on this port.
    pub(crate) async fn to(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", free_port())).await.unwrap();
        let shared = Arc::new(Shared {
            to: AtomicU16::new(port),
            held: watch::Sender::new(false),
            cut: watch::Sender::new(0),
            losing: AtomicUsize::new(0),
            lost: watch::Sender::new(0),
        });
        let begin = listener.local_addr().unwrap().port();
        let tasks = TaskTracker::new();
        let accept = accept(listener, Arc::clone(&shared), tasks.clone());
        Self {
            port: begin,
            shared,
            accepting: tasks.spawn(accept).abort_handle(),
        }
    }

    /// The address of a database at the end of the way.
    pub(crate) fn url(&self, database: &str) -> String {
        url(self.port, database)
    }

    /// Leads to another server from now on; what is open ends.
    pub(crate) fn lead(&self, port: u16) {
        self.shared.to.store(port, Ordering::SeqCst);
        self.cut();
    }

    /// Every open connection ends.
    pub(crate) fn cut(&self) {
        self.shared.cut.send_modify(|round| *round += 1);
    }

    /// Lets nothing pass any more, or everything again. New connections are taken and hear nothing.
    pub(crate) fn hold(&self, held: bool) {
        self.shared.held.send_replace(held);
    }

    /// The next commit reaches the server, its answer is lost, and the connection ends. Returns once that has happened.
    pub(crate) async fn lose_a_commit(&self) {
        let mut lost = self.shared.lost.subscribe();
        let before = *lost.borrow_and_update();
        self.shared.losing.fetch_add(1, Ordering::SeqCst);
        let done = timeout(DEADLINE, lost.wait_for(|lost| *lost > before));
        assert!(done.await.is_ok(), "nobody commits");
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, tasks: TaskTracker) {
    while let Ok((near, _)) = listener.accept().await {
        tasks.spawn(carry(near, Arc::clone(&shared)));
    }
}

async fn carry(near: TcpStream, shared: Arc<Shared>) {
    let mut cut = shared.cut.subscribe();
    cut.mark_unchanged();
    let open = async {
        let mut held = shared.held.subscribe();
        drop(held.wait_for(|held| !held).await);
        let far = TcpStream::connect(("127.0.0.1", shared.to.load(Ordering::SeqCst))).await?;
        near.set_nodelay(true)?;
        far.set_nodelay(true)?;
        let doomed = watch::Sender::new(false);
        let ((near_read, near_write), (far_read, far_write)) =
            (near.into_split(), far.into_split());
        let up = pass(near_read, far_write, &shared, &doomed, true);
        let down = pass(far_read, near_write, &shared, &doomed, false);
        tokio::select! { ended = up => ended, ended = down => ended }
    };
    tokio::select! {
        _ = open => {}
        _ = cut.changed() => {}
    }
}

async fn pass(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    shared: &Shared,
    doomed: &watch::Sender<bool>,
    up: bool,
) -> std::io::Result<()> {
    let mut piece = vec![0; 16 * 1024];
    let mut held = shared.held.subscribe();
    loop {
        let count = from.read(&mut piece).await?;
        if count == 0 {
            return Ok(());
        }
        drop(held.wait_for(|held| !held).await);
        if !up && *doomed.borrow() {
            // The server has answered the commit: it is done, and nobody will hear of it.
            shared.lost.send_modify(|lost| *lost += 1);
            return Ok(());
        }
        let commits = up && piece[..count].windows(6).any(|word| word == b"COMMIT");
        if commits {
            let take = |left: usize| left.checked_sub(1);
            if shared
                .losing
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, take)
                .is_ok()
            {
                doomed.send_replace(true);
            }
        }
        to.write_all(&piece[..count]).await?;
    }
}
