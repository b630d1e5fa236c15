//! Mail over a connection that has to be protected: STARTTLS with a certificate of our own authority, and a sign-in.

use std::path::Path;
use std::process::Command;

use crate::support::database::Database;
use crate::support::mail::MailServer;
use crate::support::stage::Stage;

/// A certificate for `localhost` with its key, as files in the folder.
fn certificate(folder: &Path) {
    let arguments = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout key.pem -out cert.pem -days 2 \
                     -subj /CN=localhost -addext subjectAltName=DNS:localhost -addext basicConstraints=critical,CA:FALSE";
    let made = Command::new("openssl")
        .current_dir(folder)
        .args(arguments.split_whitespace())
        .output()
        .unwrap();
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
}

async fn stage(server: &MailServer, password: &str, authority: Option<&Path>) -> Stage {
    let port = server.port.to_string();
    let mut settings = vec![
        ("PROVIDERS__SMTP__HOST", "localhost"),
        ("PROVIDERS__SMTP__PORT", port.as_str()),
        ("PROVIDERS__SMTP__TLS", "starttls"),
        ("PROVIDERS__SMTP__USERNAME", "onefive"),
        ("PROVIDERS__SMTP__PASSWORD", password),
    ];
    let file = authority.map(|path| path.to_str().unwrap().to_owned());
    settings.extend(
        file.as_deref()
            .map(|path| ("PROVIDERS__SMTP__CA_FILE", path)),
    );
    Stage::with(Database::sqlite(), &settings).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mail_goes_out_only_over_a_connection_that_is_proved_and_signed_in() {
    let folder = tempfile::tempdir().unwrap();
    certificate(folder.path());
    let (cert, key) = (
        folder.path().join("cert.pem"),
        folder.path().join("key.pem"),
    );
    let server = MailServer::start_protected(&cert, &key, "onefive", "right");

    let good = stage(&server, "right", Some(&cert)).await;
    let id = good.ask("email", "ana@example.com", "INC-1").await;
    good.deliver().await;
    assert_eq!(server.wait_for(1).await.len(), 1);
    assert_eq!(good.request(&id).await["state"], "sent");
    good.finish().await;

    for (password, authority, code) in [
        ("wrong", Some(cert.as_path()), "auth"),
        ("right", None, "tls"),
    ] {
        let bad = stage(&server, password, authority).await;
        let id = bad.ask("email", "ana@example.com", "INC-2").await;
        bad.deliver().await;
        let request = bad.request(&id).await;
        // Nothing was sent, which is certain: it waits for its next time.
        assert_eq!(request["delivery"]["state"], "queued", "{request}");
        assert_eq!(request["delivery"]["code"], code);
    }
    assert_eq!(server.mails().len(), 1, "no other mail went out");
}
