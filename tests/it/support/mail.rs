//! A real SMTP server (`tests/parts/smtp.py`) and the mails that it got.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mail_parser::MessageParser;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
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

/// A mail of `tests/mail`, about the mail with this Message-ID (in its brackets).
pub(crate) fn sample(name: &str, message_id: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mail");
    let text = std::fs::read_to_string(folder.join(format!("{name}.eml")))
        .unwrap_or_else(|error| panic!("{name}: {error}"));
    assert!(text.contains("<ID>"), "{name} is about nothing of ours");
    text.replace("<ID>", message_id)
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

/// What a scripted server does instead of taking a mail.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Turn {
    /// Where: `CONNECT`, the name of a command, `BODY` (inside of the message) or `.` (after it).
    at: &'static str,
    /// Whether the mail is taken all the same.
    takes: bool,
    act: Act,
}

#[derive(Debug, Clone, Copy)]
enum Act {
    Say(&'static str),
    Drop,
    Silent,
}

impl Turn {
    /// Answers this.
    pub(crate) const fn say(at: &'static str, answer: &'static str) -> Self {
        let act = Act::Say(answer);
        Self {
            at,
            takes: false,
            act,
        }
    }

    /// Closes the connection without an answer.
    pub(crate) const fn drop(at: &'static str) -> Self {
        let act = Act::Drop;
        Self {
            at,
            takes: false,
            act,
        }
    }

    /// Never answers.
    pub(crate) const fn silent(at: &'static str) -> Self {
        let act = Act::Silent;
        Self {
            at,
            takes: false,
            act,
        }
    }

    /// Takes the mail and does this instead of saying so.
    const fn taking(act: Act) -> Self {
        Self {
            at: ".",
            takes: true,
            act,
        }
    }

    /// Takes the mail and closes the connection.
    pub(crate) const fn take_and_drop() -> Self {
        Self::taking(Act::Drop)
    }

    /// Takes the mail and says nothing.
    pub(crate) const fn take_and_silent() -> Self {
        Self::taking(Act::Silent)
    }

    /// Takes the mail and says something else.
    pub(crate) const fn take_and_say(answer: &'static str) -> Self {
        Self::taking(Act::Say(answer))
    }
}

/// What a scripted server has: whom for, and the mail.
#[derive(Debug, Default)]
struct Ledger {
    turn: Option<Turn>,
    seen: Vec<(String, String)>,
    taken: Vec<(String, String)>,
}

/// An SMTP server that goes wrong where it is told to, once, and keeps a ledger of what it took. It ends when dropped.
#[derive(Debug)]
pub(crate) struct Scripted {
    /// Its port on 127.0.0.1.
    pub(crate) port: u16,
    ledger: Arc<Mutex<Ledger>>,
    serving: JoinHandle<()>,
}

impl Scripted {
    /// Starts it.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let ledger = Arc::<Mutex<Ledger>>::default();
        let kept = Arc::clone(&ledger);
        let serving = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let turn = kept.lock().unwrap().turn.take();
                let ledger = Arc::clone(&kept);
                // What a client that hung up does to us is no news.
                tokio::spawn(async move { talk(stream, turn, &ledger).await.ok() });
            }
        });
        Self {
            port,
            ledger,
            serving,
        }
    }

    /// What to do on the next connection.
    pub(crate) fn next(&self, turn: Turn) {
        self.ledger.lock().unwrap().turn = Some(turn);
    }

    /// The mails to this address that were taken.
    pub(crate) fn taken(&self, to: &str) -> Vec<String> {
        let ledger = self.ledger.lock().unwrap();
        let mails = ledger.taken.iter().filter(|(address, _)| address == to);
        mails.map(|(_, mail)| mail.clone()).collect()
    }

    /// The mails to this address that came whole, taken or not.
    pub(crate) fn seen(&self, to: &str) -> Vec<String> {
        let ledger = self.ledger.lock().unwrap();
        let mails = ledger.seen.iter().filter(|(address, _)| address == to);
        mails.map(|(_, mail)| mail.clone()).collect()
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// One connection.
async fn talk(
    stream: TcpStream,
    turn: Option<Turn>,
    ledger: &Mutex<Ledger>,
) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let act = |at: &str| turn.filter(|turn| turn.at == at).map(|turn| turn.act);
    let mut to = String::new();
    let (mut command, mut answer) = ("CONNECT".to_owned(), "220 server");
    loop {
        match act(&command) {
            Some(Act::Drop) => return Ok(()),
            Some(Act::Silent) => {
                stream.read_to_end(&mut Vec::new()).await?;
                return Ok(());
            }
            Some(Act::Say(other)) => answer = other,
            None => {}
        }
        stream.write_all(format!("{answer}\r\n").as_bytes()).await?;
        if answer.starts_with("354") {
            let mut mail = String::new();
            loop {
                let mut line = String::new();
                if stream.read_line(&mut line).await? == 0 || act("BODY").is_some() {
                    return Ok(());
                }
                if line == ".\r\n" {
                    break;
                }
                mail.push_str(&line);
            }
            let mut ledger = ledger.lock().unwrap();
            ledger.seen.push((to.clone(), mail.clone()));
            if act(".").is_none() || turn.is_some_and(|turn| turn.takes) {
                ledger.taken.push((to.clone(), mail));
            }
            (command, answer) = (".".to_owned(), "250 2.0.0 taken");
            continue;
        }
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let word = line.get(..4).unwrap_or_default().to_uppercase();
        if word == "RCPT" {
            let after = line.split_once('<').map_or("", |(_, rest)| rest);
            to = after.split('>').next().unwrap_or_default().to_owned();
        }
        answer = match word.as_str() {
            "EHLO" => "250-server\r\n250 8BITMIME",
            "DATA" => "354 go on",
            "QUIT" => "221 bye",
            _ => "250 2.0.0 ok",
        };
        command = word;
    }
}
