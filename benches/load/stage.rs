//! A database with a desk on it, in a folder of its own, and the settings with which the service uses it.
//!
//! What the bench needs to know or to prepare, it asks and does in the database itself, past the service.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use sqlx::postgres::PgConnection;
use sqlx::sqlite::SqliteConnection;
use sqlx::{Connection as _, Executor as _};

use super::Fault;
use super::process::{Server, free_address, parent};
use super::work::{ACCOUNT, PUBLIC_URL, SECRET, SENDER};

/// Counts the events that are in no sum yet.
pub(crate) const UNFOLDED: &str = "select count(*) from streams s left join sink_marks m on m.desk_id = s.desk_id and m.sink = 'totals' \
    join events e on e.desk_id = s.desk_id and e.seq > coalesce(m.seq, 0) and e.seq <= s.seq where e.seq > 0";

/// How the service is set for a stage.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setting {
    /// Most writes in one transaction; 1 is one commit for each.
    pub(crate) batch: usize,
    /// Where texts are sent; nobody listens there unless something is to be sent.
    pub(crate) provider: SocketAddr,
    /// Sends at once.
    pub(crate) in_flight: usize,
}

/// A database with a desk.
#[derive(Debug)]
pub(crate) struct Stage {
    binary: PathBuf,
    folder: tempfile::TempDir,
    /// The database's address.
    url: String,
    /// PostgreSQL only: an address to make and drop databases at.
    server: Option<String>,
    setting: Setting,
    /// Sections besides.
    more: String,
    /// An API key of the desk.
    pub(crate) key: String,
    /// PostgreSQL's first process.
    pub(crate) postmaster: Option<u32>,
}

impl Stage {
    /// A fresh database, in a file or, with an address, on a PostgreSQL server.
    pub(crate) async fn new(
        binary: &Path,
        root: &Path,
        server: Option<&str>,
        setting: Setting,
    ) -> Result<Self, Fault> {
        let folder = tempfile::Builder::new().prefix("load-").tempdir_in(root)?;
        let mut stage = Self {
            binary: binary.to_owned(),
            url: format!("sqlite:{}", folder.path().join("onefive.db").display()),
            folder,
            server: server.map(str::to_owned),
            setting,
            more: String::new(),
            key: String::new(),
            postmaster: None,
        };
        if let Some(server) = server {
            let (base, _) = server
                .rsplit_once('/')
                .ok_or("the address names no database")?;
            let random: [u8; 6] = onefive::clock::random(&onefive::clock::SystemEntropy);
            let name = format!("load_{}", hex::encode(random));
            on_postgres(server, format!("create database {name}")).await?;
            stage.url = format!("{base}/{name}");
            stage.postmaster = postmaster(server).await?;
        }
        stage.command(&["key", "file"], Some(&stage.keys()))?;
        stage.write_config(free_address()?)?;
        // Numbers are random, and the hour is whatever it is: what is measured is the work, not who is spared.
        let settings = serde_json::to_string(&onefive::domain::desk::DeskSettings::permissive())?;
        stage.command(
            &[
                "desk",
                "add",
                "bench",
                "--name",
                "Bench",
                "--settings",
                &settings,
                "--config",
            ],
            Some(&stage.config()),
        )?;
        let key = stage.command(
            &[
                "key",
                "create",
                "--desk",
                "bench",
                "--scopes",
                "send,read,admin",
                "--config",
            ],
            Some(&stage.config()),
        )?;
        key.trim().clone_into(&mut stage.key);
        Ok(stage)
    }

    /// Another setting, from the next start on.
    pub(crate) fn set(&mut self, setting: Setting) {
        self.setting = setting;
    }

    /// Sections of the settings file besides, from the next start on.
    pub(crate) fn add_settings(&mut self, sections: &str) {
        self.more.push_str(sections);
    }

    /// Starts the service.
    pub(crate) async fn start(&self) -> Result<Server, Fault> {
        let address = free_address()?;
        self.write_config(address)?;
        Server::service(&self.binary, &self.config(), address).await
    }

    /// Drops the database. The folder goes by itself.
    pub(crate) async fn end(self) -> Result<(), Fault> {
        let name = self.url.rsplit_once('/').map_or("", |(_, name)| name);
        match &self.server {
            Some(server) => on_postgres(server, format!("drop database {name} with (force)")).await,
            None => Ok(()),
        }
    }

    fn keys(&self) -> PathBuf {
        self.folder.path().join("keys")
    }

    fn config(&self) -> PathBuf {
        self.folder.path().join("onefive.toml")
    }

    fn write_config(&self, address: SocketAddr) -> Result<(), Fault> {
        let Setting {
            batch,
            provider,
            in_flight,
        } = self.setting;
        let text = format!(
            "[server]\npublic_url = \"{PUBLIC_URL}\"\npublic = \"{address}\"\napi = \"{address}\"\nadmin = \"{address}\"\n\
             connections_per_peer = 2048\n[limits]\ncalls_per_second = 0\n[database]\nurl = \"{}\"\nbatch = {batch}\n[secrets]\nkeys_file = \"{}\"\n\
             [channels]\nsms = \"twilio\"\n[providers.twilio]\naccount_sid = \"{ACCOUNT}\"\nsecret = \"{SECRET}\"\n\
             from = \"{SENDER}\"\nbase_url = \"http://{provider}\"\nin_flight = {in_flight}\n[log]\nlevel = \"error\"\n{}",
            self.url,
            self.keys().display(),
            self.more,
        );
        Ok(std::fs::write(self.config(), text)?)
    }

    fn command(&self, words: &[&str], last: Option<&Path>) -> Result<String, Fault> {
        let output = Command::new(&self.binary).args(words).args(last).output()?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(format!("onefive {}: {said}", words.join(" ")).into());
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Whether it is a file.
    pub(crate) fn is_sqlite(&self) -> bool {
        self.server.is_none()
    }

    /// Runs a statement.
    pub(crate) async fn execute(&self, sql: String) -> Result<(), Fault> {
        if !self.is_sqlite() {
            return on_postgres(&self.url, sql).await;
        }
        let mut connection = SqliteConnection::connect(&self.url).await?;
        // Only for what the bench itself prepares: the service syncs every commit.
        connection
            .execute("pragma synchronous = off; pragma cache_size = -262144; pragma busy_timeout = 20000")
            .await?;
        connection.execute(kept(sql)).await?;
        Ok(connection.close().await?)
    }

    /// A number from the database.
    pub(crate) async fn number(&self, sql: String) -> Result<i64, Fault> {
        let sql = kept(sql);
        if self.is_sqlite() {
            let mut connection = SqliteConnection::connect(&self.url).await?;
            return Ok(sqlx::query_scalar(sql).fetch_one(&mut connection).await?);
        }
        let mut connection = PgConnection::connect(&self.url).await?;
        Ok(sqlx::query_scalar(sql).fetch_one(&mut connection).await?)
    }

    /// The columns of a table, or the tables of the schema.
    pub(crate) async fn names(&self, sql: String) -> Result<Vec<String>, Fault> {
        let sql = kept(sql);
        if self.is_sqlite() {
            let mut connection = SqliteConnection::connect(&self.url).await?;
            return Ok(sqlx::query_scalar(sql).fetch_all(&mut connection).await?);
        }
        let mut connection = PgConnection::connect(&self.url).await?;
        Ok(sqlx::query_scalar(sql).fetch_all(&mut connection).await?)
    }

    /// The rows of all tables together.
    pub(crate) async fn rows(&self) -> Result<i64, Fault> {
        let tables = if self.is_sqlite() {
            "select name from sqlite_schema where type = 'table' and name not like '\\_%' escape '\\' and name not like 'sqlite%'"
        } else {
            "select table_name::text from information_schema.tables where table_schema = 'public' and table_name not like '\\_%'"
        };
        let counts: Vec<String> = self
            .names(tables.to_owned())
            .await?
            .iter()
            .map(|table| format!("(select count(*) from {table})"))
            .collect();
        self.number(format!("select cast({} as bigint)", counts.join(" + ")))
            .await
    }

    /// Makes stored requests look as if the provider had taken them, so that replies to them count.
    pub(crate) async fn mark_sent(&self) -> Result<(), Fault> {
        let sql = "update requests set state = 'sent', sent_at = created_at, delivery = 'accepted', attempts = 1 \
                   where state = 'scheduled'";
        self.execute(sql.to_owned()).await
    }

    /// Waits until the service has done what follows from what was sent to it: events are folded. Otherwise it would do so while the
    /// next one is measured. Gives up after half a minute, and says so.
    pub(crate) async fn settle(&self) -> Result<(), Fault> {
        let since = Instant::now();
        loop {
            let left = self.number(UNFOLDED.to_owned()).await?;
            if left == 0 {
                return Ok(());
            }
            if since.elapsed() > Duration::from_secs(30) {
                eprintln!("  {left} events still wait for their sums");
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// The size of the database, in MB.
    pub(crate) async fn size_mb(&self) -> Result<f64, Fault> {
        let sql = if self.is_sqlite() {
            "select page_count * page_size from pragma_page_count(), pragma_page_size()"
        } else {
            "select pg_database_size(current_database())"
        };
        let bytes = u64::try_from(self.number(sql.to_owned()).await?)?;
        Ok(super::client::float(bytes) / 1e6)
    }

    /// Brings what was written to the disk: the bench's own statements on a file sync nothing.
    pub(crate) async fn sync(&self) -> Result<(), Fault> {
        if self.is_sqlite() {
            let file = std::fs::File::open(self.folder.path().join("onefive.db"))?;
            return Ok(file.sync_all()?);
        }
        self.execute("checkpoint".to_owned()).await
    }

    /// Reads the database into the system's memory, as far as there is room: who has stored so much has asked for it again and again.
    pub(crate) async fn warm(&self) -> Result<(), Fault> {
        if self.is_sqlite() {
            let mut file = std::fs::File::open(self.folder.path().join("onefive.db"))?;
            std::io::copy(&mut file, &mut std::io::sink())?;
            return Ok(());
        }
        let known = "select count(*) from pg_available_extensions where name = 'pg_prewarm'";
        if self.number(known.to_owned()).await? == 0 {
            eprintln!("  without pg_prewarm the database is as cold as it is");
            return Ok(());
        }
        self.execute("create extension if not exists pg_prewarm".to_owned())
            .await?;
        let all = "do $$ begin perform pg_prewarm(oid::regclass, 'read') from pg_class \
                   where relkind in ('r', 'i') and relnamespace = 'public'::regnamespace; end $$";
        self.execute(all.to_owned()).await
    }

    /// Makes stored requests due.
    pub(crate) async fn make_due(&self) -> Result<(), Fault> {
        let sql = "update requests set next_at = created_at, due_at = created_at where delivery = 'queued'";
        self.execute(sql.to_owned()).await
    }
}

/// Statements are texts of this program; one that has a number or a column list in it is kept for the rest of the run, because
/// sqlx wants to be sure that none is made from what somebody sent.
fn kept(sql: String) -> &'static str {
    Box::leak(sql.into_boxed_str())
}

async fn on_postgres(url: &str, sql: String) -> Result<(), Fault> {
    let mut connection = PgConnection::connect(url).await?;
    connection.execute(kept(sql)).await?;
    Ok(connection.close().await?)
}

/// PostgreSQL's first process, if it runs on this machine: the parent of the one that serves our connection.
async fn postmaster(url: &str) -> Result<Option<u32>, Fault> {
    let mut connection = PgConnection::connect(url).await?;
    let pid: i32 = sqlx::query_scalar("select pg_backend_pid()")
        .fetch_one(&mut connection)
        .await?;
    Ok(u32::try_from(pid).ok().and_then(parent))
}
