//! A real SMTP server (`tests/parts/smtp.py`) and the mails that it got.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use mail_parser::MessageParser;
use tokio::time::{MissedTickBehavior, interval, timeout};

/// The longest wait for a mail.
const DEADLINE: Duration = Duration::from_secs(20);

/// A mail as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    /// The headers by lower-case name, unfolded; the last one of a name.
    pub(crate) headers: BTreeMap<String, String>,
    /// The decoded subject.
    pub(crate) subject: String,
    /// The plain text part.
    pub(crate) text: String,
    /// The HTML part.
    pub(crate) html: String,
}

impl Received {
    /// A header's raw value; empty if there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(&name.to_ascii_lowercase())
            .map_or("", String::as_str)
    }

    fn parse(bytes: &[u8]) -> Self {
        let mail = MessageParser::default()
            .parse(bytes)
            .expect("a mail that can be read");
        let unfold = |value: &str| value.replace("\r\n", "").trim().to_owned();
        Self {
            headers: mail
                .headers_raw()
                .map(|(name, value)| (name.to_ascii_lowercase(), unfold(value)))
                .collect(),
            subject: mail.subject().unwrap_or_default().to_owned(),
            text: mail.body_text(0).unwrap_or_default().into_owned(),
            html: mail.body_html(0).unwrap_or_default().into_owned(),
        }
    }
}

/// A running SMTP server with its own directory; it ends when dropped.
#[derive(Debug)]
pub(crate) struct MailServer {
    child: Child,
    directory: tempfile::TempDir,
    /// Its port on 127.0.0.1.
    pub(crate) port: u16,
}

impl MailServer {
    /// Starts a server that takes every mail.
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts a server that demands STARTTLS with this certificate and key, and this sign-in.
    pub(crate) fn start_protected(
        certificate: &Path,
        key: &Path,
        username: &str,
        password: &str,
    ) -> Self {
        Self::start_with(&[
            certificate.as_os_str(),
            key.as_os_str(),
            username.as_ref(),
            password.as_ref(),
        ])
    }

    fn start_with(arguments: &[&std::ffi::OsStr]) -> Self {
        let directory = tempfile::tempdir().expect("a directory for mails");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parts/smtp.py");
        // Debian's python3-aiosmtpd belongs to Debian's interpreter, whichever `python3` comes first.
        let mut child = Command::new("/usr/bin/python3")
            .arg(script)
            .arg(directory.path())
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("/usr/bin/python3 with python3-aiosmtpd");
        let mut line = String::new();
        let stdout = child.stdout.as_mut().expect("its output is a pipe");
        std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line)
            .expect("a line from the server");
        let port = line
            .trim()
            .strip_prefix("ready ")
            .and_then(|port| port.parse().ok());
        Self {
            port: port.unwrap_or_else(|| panic!("the server said {line:?}")),
            child,
            directory,
        }
    }

    /// The mails that have arrived, in order.
    pub(crate) fn mails(&self) -> Vec<Received> {
        let path =
            |number: usize| -> PathBuf { self.directory.path().join(format!("{number}.eml")) };
        (1..)
            .map(path)
            .map_while(|path| std::fs::read(path).ok())
            .map(|bytes| Received::parse(&bytes))
            .collect()
    }

    /// Waits until `count` mails have arrived, and gives back all that have.
    pub(crate) async fn wait_for(&self, count: usize) -> Vec<Received> {
        let mut ticks = interval(Duration::from_millis(20));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let arrived = timeout(DEADLINE, async {
            loop {
                ticks.tick().await;
                let mails = self.mails();
                if mails.len() >= count {
                    return mails;
                }
            }
        });
        arrived.await.unwrap_or_else(|_| {
            panic!(
                "{} of {count} mails came in {DEADLINE:?}",
                self.mails().len()
            )
        })
    }
}

impl Drop for MailServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
