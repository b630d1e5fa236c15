//! What goes wrong reaches whoever is on duty: the service is scraped by a real Prometheus, which knows the shipped rules as they
//! are, and a real Alertmanager tells a webhook. Only rules without a waiting time (`for`) are waited for, so none is shortened.

use http::Method;
use serde_json::{Value, json};

use onefive::domain::desk::DeskSettings;

use crate::decisions::Ruled;
use crate::story;
use crate::support::daemon::Daemon;
use crate::support::database::Database;
use crate::support::prometheus::Prometheus;
use crate::support::receiver::{Receiver, Told};
use crate::support::stage::{OUR_NUMBER, Stage};
use crate::support::twilio::Behaviour;

/// Whoever is on duty, and who tells them.
struct Duty {
    prometheus: Prometheus,
    _alertmanager: Daemon,
    receiver: Receiver,
}

impl Duty {
    async fn of(stage: &Stage) -> Self {
        let receiver = Receiver::start().await;
        let mut alertmanager = Daemon::alertmanager(&receiver.url);
        alertmanager.start().await;
        let admin = stage.app.admin.to_string();
        let paths: &[&str] = match stage.database {
            Database::Sqlite(_) => &["/metrics"],
            Database::Postgres { .. } => &["/metrics", "/metrics/totals"],
        };
        let prometheus = Prometheus::alerting(&admin, paths, &alertmanager.address);
        prometheus.knows_alertmanager().await;
        Self {
            prometheus,
            _alertmanager: alertmanager,
            receiver,
        }
    }

    /// Waits until this alert is told with this status; its labels and annotations.
    async fn told(&self, status: &str, alert: &str) -> (Value, Value) {
        let mut found = None;
        self.receiver
            .wait(|told| {
                found = alerts(told)
                    .into_iter()
                    .find(|one| one["status"] == status && one["labels"]["alertname"] == alert);
                found.is_some()
            })
            .await;
        let found = found.unwrap();
        (found["labels"].clone(), found["annotations"].clone())
    }

    /// The names of the alerts that were told, except the one that there are no totals: before the first scrape that is so.
    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = alerts(&self.receiver.told())
            .iter()
            .map(|one| one["labels"]["alertname"].as_str().unwrap().to_owned())
            .filter(|name| name != "OnefiveTotalsMissing")
            .collect();
        names.sort();
        names.dedup();
        names
    }
}

fn alerts(told: &[Told]) -> Vec<Value> {
    let of = |told: &Told| told.json()["alerts"].as_array().unwrap().clone();
    told.iter().flat_map(of).collect()
}

story!(
    a_burst_of_low_scores_and_a_lost_delivery_reach_whoever_is_on_duty,
    async |database: Database| {
        let stage = Stage::start(database).await;
        let duty = Duty::of(&stage).await;
        let number = |n: usize| format!("+1415555{:04}", 2000 + n);
        let answer = async |n: usize, words: &str| {
            let service = stage.service();
            let (status, _) = stage
                .twilio
                .text(&service, &number(n), OUR_NUMBER, words)
                .await;
            assert_eq!(status, 200);
        };
        for n in 0..16 {
            stage.ask("sms", &number(n), &format!("INC-{n}")).await;
        }
        while stage.deliver().await > 0 {}
        // Two bad answers among eight are no burst, however steep two scrapes make them look.
        for n in 0..8 {
            answer(n, if n < 2 { "2" } else { "5" }).await;
        }
        // Seen before it gets worse: a rise is a difference between two scrapes.
        let low = "sum(onefive_low_ratings_total)";
        duty.prometheus.wait_for(low, 2.0).await;
        let lost = r#"onefive_deliveries_lost_total{desk="acme",channel="sms"}"#;
        duty.prometheus.wait_for(lost, 0.0).await;
        assert_eq!(duty.names(), Vec::<String>::new());

        for n in 8..16 {
            answer(n, "1").await;
        }
        let (labels, annotations) = duty.told("firing", "OnefiveLowScoresBurst").await;
        assert_eq!(
            labels,
            json!({"alertname": "OnefiveLowScoresBurst", "desk": "acme", "severity": "warning"})
        );
        assert_eq!(
            annotations,
            json!({
                "summary": "Many low scores at acme in the last half hour",
                "description": "GET /v1/follow-ups?state=open lists them.",
            })
        );
        let open = stage.api("/v1/follow-ups?state=open").await;
        assert_eq!(open["items"].as_array().unwrap().len(), 10);

        // The provider answers 500 and shows the message nowhere: nobody can tell, and it is not sent again.
        stage.twilio.next(Behaviour::Fail500WithoutAccept);
        stage.ask("sms", &number(90), "INC-90").await;
        stage.deliver().await;
        for _ in 0..200 {
            stage.pass(10);
            stage.app.journey.settle_due().await.unwrap();
        }
        let (labels, annotations) = duty.told("firing", "OnefiveDeliveriesLost").await;
        assert_eq!(
            labels,
            json!({
                "alertname": "OnefiveDeliveriesLost", "channel": "sms", "desk": "acme", "severity": "warning",
            })
        );
        assert_eq!(
            annotations,
            json!({
                "summary": "Deliveries of acme by sms were given up",
                "description": "Nobody could tell whether they happened, so they were not repeated.",
            })
        );
        assert_eq!(
            duty.names(),
            ["OnefiveDeliveriesLost", "OnefiveLowScoresBurst"]
        );
        stage.finish().await;
    }
);

story!(
    whoever_is_on_duty_hears_that_sending_is_paused_and_that_it_goes_on,
    async |database: Database| {
        let stage = Stage::start(database).await;
        let mut settings = serde_json::to_value(DeskSettings::permissive()).unwrap();
        settings["watch"] = json!({"enabled": true, "min_sends": 20});
        let desk = Ruled::settings(&stage, "watched", &settings).await;
        let duty = Duty::of(&stage).await;
        assert_eq!(stage.app.journey.watch().await.unwrap(), 0);
        let ask = async |number: &str, conversation: &str| {
            assert_eq!(
                desk.decided(number, conversation, &json!({})).await,
                "asked"
            );
            stage.deliver().await;
        };
        // An ordinary hour, and hours later a block of numbers that nobody answers from.
        for n in 0..24 {
            let number = format!("+1415{:07}", 2_300_000 + n * 131_071);
            ask(&number, &format!("INC-{n}")).await;
            let service = stage.service();
            stage.twilio.text(&service, &number, OUR_NUMBER, "5").await;
        }
        stage.pass(2 * 3600);
        assert_eq!(stage.app.journey.watch().await.unwrap(), 0);
        stage.pass(3 * 3600);
        for n in 0..24 {
            let number = format!("+1415555{:04}", 1000 + n * 7);
            ask(&number, &format!("PUMP-{n}")).await;
        }
        stage.pass(1801);
        assert_eq!(duty.names(), Vec::<String>::new());
        assert_eq!(stage.app.journey.watch().await.unwrap(), 1);

        let (labels, annotations) = duty.told("firing", "OnefiveDeskPaused").await;
        assert_eq!(labels["desk"], "watched");
        assert_eq!(labels["severity"], "critical");
        assert_eq!(annotations["summary"], "Sending of watched is paused");
        let description = annotations["description"].as_str().unwrap();
        assert!(
            description.contains("what pumped numbers look like"),
            "{description}"
        );
        let resumed = desk
            .call(Method::POST, "/v1/desk/resume", &Value::Null)
            .await;
        assert_eq!(resumed.status, 200, "{resumed:?}");
        let (over, _) = duty.told("resolved", "OnefiveDeskPaused").await;
        assert_eq!(over, labels);
        assert_eq!(duty.names(), ["OnefiveDeskPaused"]);
        stage.finish().await;
    }
);
