//! Processes that the bench starts and stops, and what the kernel says about them: processor time and memory.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::floor::Role;
use super::{Fault, client};

/// How long a server may take until it answers.
const START_MAX: Duration = Duration::from_secs(30);

/// A server of ours, killed if it is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// From starting the program to its first answer with 200.
    pub(crate) started_in: Duration,
}

/// A port of this machine that was free a moment ago.
pub(crate) fn free_address() -> Result<SocketAddr, Fault> {
    let probe = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(probe.local_addr()?)
}

impl Server {
    /// This program again, in another role.
    pub(crate) async fn in_role(role: Role, pause: Duration) -> Result<Self, Fault> {
        let none = Path::new("-");
        Self::role_at(role, free_address()?, pause, none).await
    }

    /// Whoever a webhook calls; what it is told stands in this file.
    pub(crate) async fn receiver(file: &Path) -> Result<Self, Fault> {
        Self::receiver_at(free_address()?, file).await
    }

    /// The same at this address.
    pub(crate) async fn receiver_at(address: SocketAddr, file: &Path) -> Result<Self, Fault> {
        Self::role_at(Role::Receiver, address, Duration::ZERO, file).await
    }

    async fn role_at(
        role: Role,
        address: SocketAddr,
        pause: Duration,
        file: &Path,
    ) -> Result<Self, Fault> {
        let mut command = Command::new(std::env::current_exe()?);
        let name = match role {
            Role::Floor => "floor",
            Role::Provider => "provider",
            Role::Receiver => "receiver",
        };
        command.args(["--role", name, "--address", &address.to_string()]);
        command.args(["--pause-ms", &pause.as_millis().to_string()]);
        command.arg("--file").arg(file);
        let path = match role {
            Role::Floor | Role::Receiver => "/livez",
            Role::Provider => super::floor::COUNT,
        };
        Self::start(command, address, path).await
    }

    /// The service, with a settings file that names this address.
    pub(crate) async fn service(
        binary: &Path,
        config: &Path,
        address: SocketAddr,
    ) -> Result<Self, Fault> {
        let mut command = Command::new(binary);
        command.arg("serve").arg("--config").arg(config);
        Self::start(command, address, "/readyz").await
    }

    /// Any program that answers at this path once it is ready.
    pub(crate) async fn start(
        mut command: Command,
        address: SocketAddr,
        path: &str,
    ) -> Result<Self, Fault> {
        let since = Instant::now();
        let child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()?;
        let mut server = Self {
            child,
            address,
            started_in: Duration::ZERO,
        };
        loop {
            if let Ok((200, _, _)) = client::get(address, path).await {
                server.started_in = since.elapsed();
                return Ok(server);
            }
            if let Some(status) = server.child.try_wait()? {
                return Err(format!("a server ended before it answered: {status}").into());
            }
            if since.elapsed() > START_MAX {
                return Err("a server does not answer".into());
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Kills it, as a power failure or the kernel would: nothing of it runs any more.
    pub(crate) fn kill(&self) -> Result<(), Fault> {
        Command::new("kill")
            .args(["-KILL", &self.pid().to_string()])
            .status()?;
        Ok(())
    }

    /// Asks it to stop and waits until it has.
    pub(crate) async fn stop(mut self) -> Result<(), Fault> {
        let pid = self.pid().to_string();
        Command::new("kill").args(["-TERM", &pid]).status()?;
        let since = Instant::now();
        while self.child.try_wait()?.is_none() {
            if since.elapsed() > START_MAX {
                return Err("a server does not stop".into());
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Seconds of processor time of one process; with `children`, also of those that ended and were waited for.
fn cpu(pid: u32, children: bool) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields: Vec<f64> = after_name(&text)
        .map(|field| field.parse().unwrap_or(0.0))
        .collect();
    // utime, stime, cutime and cstime, in hundredths of a second (proc(5); Linux reports USER_HZ, which is 100).
    let last = if children { 15 } else { 13 };
    fields
        .get(11..last)
        .map_or(0.0, |ticks| ticks.iter().sum::<f64>() / 100.0)
}

/// The fields of `/proc/PID/stat` after the name, which may hold blanks itself.
fn after_name(text: &str) -> impl Iterator<Item = &str> {
    text.rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace()
}

/// Seconds of processor time of a server, and of PostgreSQL if `postmaster` is its first process.
pub(crate) fn cpu_of(server: u32, postmaster: Option<u32>) -> f64 {
    let own = cpu(server, false);
    let Some(postmaster) = postmaster else {
        return own;
    };
    let theirs: f64 = std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|pid| parent(*pid) == Some(postmaster))
        .map(|pid| cpu(pid, false))
        .sum();
    own + theirs + cpu(postmaster, true)
}

/// The parent of a process.
pub(crate) fn parent(pid: u32) -> Option<u32> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    after_name(&text).nth(1)?.parse().ok()
}

/// Seconds of processor time that this process itself used.
pub(crate) fn cpu_of_bench() -> f64 {
    cpu(std::process::id(), false)
}

/// Seconds of processor time that the whole machine was busy.
pub(crate) fn cpu_of_machine() -> f64 {
    let text = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let fields: Vec<f64> = text
        .lines()
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .skip(1)
        .map(|field| field.parse().unwrap_or(0.0))
        .collect();
    // user, nice, system; irq, softirq, steal. Idle and waiting for disks lie between.
    let busy =
        |range: std::ops::Range<usize>| fields.get(range).map_or(0.0, |part| part.iter().sum());
    (busy(0..3) + busy(5..8)) / 100.0
}

/// MiB of memory: `VmRSS` now or `VmHWM` at its most.
pub(crate) fn memory(pid: u32, field: &str) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    text.lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))
        .and_then(|rest| rest.trim().strip_suffix(" kB")?.parse::<f64>().ok())
        .map_or(f64::NAN, |kib| kib / 1024.0)
}

/// The median milliseconds of appending 4 KiB to a file in `folder` and syncing it.
pub(crate) fn fsync_ms(folder: &Path) -> Result<f64, Fault> {
    use std::io::Write as _;

    let path = folder.join("fsync");
    let mut file = std::fs::File::create(&path)?;
    let mut times = Vec::new();
    for _ in 0..200 {
        let since = Instant::now();
        file.write_all(&[7; 4096])?;
        file.sync_data()?;
        times.push(since.elapsed().as_secs_f64() * 1000.0);
    }
    std::fs::remove_file(&path)?;
    Ok(super::report::median(&mut times))
}
