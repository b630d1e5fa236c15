//! Mail that comes back, brought to the service's door as a mail server brings it.

use http::Method;
use serde_json::{Value, json};

use super::database::Database;
use super::http::{Answer, get, send};
use super::mail::{Received, sample};
use super::stage::Stage;

/// The contact.
pub(crate) const BEN: &str = "ben@example.com";
/// What opens the door.
pub(crate) const KEY: &str = "a-key-of-the-mail-server";

/// A service whose door for mail is open.
pub(crate) async fn stage(database: Database) -> Stage {
    let settings = [
        ("PROVIDERS__SMTP__INBOUND_KEY", KEY),
        ("REQUESTS__SENDS_PER_ADDRESS", "50"),
    ];
    Stage::with(database, &settings).await
}

/// A request that Ben has in his mailbox, and the mail.
pub(crate) async fn mailed(stage: &Stage, conversation: &str) -> (String, Received) {
    let id = stage.ask("email", BEN, conversation).await;
    let before = stage.mail.mails().len();
    assert_eq!(stage.deliver().await, 1);
    let mail = stage.mail.wait_for(before + 1).await.pop().unwrap();
    (id, mail)
}

/// Brings a mail to the door.
pub(crate) async fn bring(stage: &Stage, key: &str, mail: impl Into<bytes::Bytes>) -> Answer {
    let bearer = format!("Bearer {key}");
    let headers = [
        ("content-type", "message/rfc822"),
        ("authorization", bearer.as_str()),
    ];
    let url = format!("{}/hooks/smtp/mail", stage.url);
    send(Method::POST, &url, &headers, mail).await
}

/// Brings a mail that has to be taken, and tells as what it was counted.
pub(crate) async fn brought(stage: &Stage, mail: &str) -> String {
    let before = counted(stage).await;
    let answer = bring(stage, KEY, mail.to_owned()).await;
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (200, ""),
        "{answer:?}"
    );
    let after = counted(stage).await;
    let more: Vec<&String> = after.iter().filter(|line| !before.contains(line)).collect();
    let result = |line: &str| {
        let after = line.split_once("result=\"").unwrap().1;
        after.split_once('"').unwrap().0.to_owned()
    };
    let mut results: Vec<String> = more.iter().map(|line| result(line)).collect();
    results.retain(|result| result != "taken");
    assert_eq!(results.len(), 1, "{more:?}");
    results.remove(0)
}

/// The lines of the metric that counts hooks.
async fn counted(stage: &Stage) -> Vec<String> {
    let metrics = get(&format!("{}/metrics", stage.url)).await.body;
    let lines = metrics
        .lines()
        .filter(|line| line.starts_with("onefive_hooks_total{"));
    lines.map(str::to_owned).collect()
}

/// A sample about this mail.
pub(crate) fn about(name: &str, mail: &Received) -> String {
    sample(name, mail.header("message-id"))
}

/// A short answer of Ben's to this mail.
pub(crate) fn answer(mail: &Received, id: &str, from: &str, words: &str) -> String {
    let to = mail.header("message-id");
    format!(
        "From: {from}\r\nTo: feedback@acme.example\r\nMessage-ID: <{id}>\r\nIn-Reply-To: {to}\r\nSubject: Re: how?\r\n\r\n{words}\r\n"
    )
}

/// Where the request and its delivery stand, and why.
pub(crate) async fn stands(stage: &Stage, id: &str) -> Value {
    let request = stage.request(id).await;
    let delivery = &request["delivery"];
    let code = delivery["code"].as_str().unwrap_or_default();
    json!([request["state"], delivery["state"], code])
}

/// The rating as the API shows it: score, grade and words.
pub(crate) fn rating(request: &Value) -> Value {
    let rating = &request["rating"];
    let comment = rating["comment"].as_str().unwrap_or_default();
    json!([rating["score"], rating["grade"], comment])
}

/// Every row that a mail might write.
pub(crate) async fn rows(stage: &Stage) -> i64 {
    let count = "select (select count(*) from replies) + (select count(*) from ratings) + (select count(*) from opt_outs) \
                 + (select count(*) from events) + (select count(*) from requests where state = 'sent')";
    stage.database.number(count).await
}

/// No mail was sent for what came back, and nothing is left half done.
pub(crate) async fn finish(stage: Stage, mails: usize) {
    stage.pass(3_600);
    assert_eq!(stage.deliver().await, 0);
    assert_eq!(stage.mail.mails().len(), mails, "a mail was sent back");
    stage.finish().await;
}
