//! Attempts in doubt: whose turn it is, what settles them, and the second attempt that can be taken back.

use std::sync::Arc;

use super::stage::{NOW, Stage, after, digit, dispatch, report, taken, token};
use crate::domain::delivery::{AttemptState, DeliveryState, Outcome, Status};
use crate::domain::request::{Request, State};
use crate::domain::settling::Doubt;
use crate::domain::time::Timestamp;
use crate::store::{
    Check, Claim, Dispatch, Finding, Permission, Report, Second, Settlement, Store as _,
};

stories!(
    migrated: an_attempt_in_doubt_is_looked_after_by_one_at_a_time,
    what_is_found_is_sent,
    what_is_not_found_is_lost_and_late_evidence_turns_it,
    a_look_that_found_nothing_is_remembered,
    a_mail_is_sent_once_more_under_the_same_name,
    what_a_reply_says_of_its_time_is_heard,
    a_report_that_is_not_believed_leaves_the_attempt_in_doubt,
);

pub(super) const SEND_AT: Timestamp = after(1_000_000);

pub(super) fn unknown() -> Outcome {
    Outcome::Unknown {
        code: "timeout".to_owned(),
    }
}

impl Stage {
    /// A request whose first attempt is in doubt.
    pub(super) async fn doubtful(&self) -> Request {
        let claim = self.on_the_wire().await;
        assert!(self.report(&claim, unknown(), after(1)).await);
        self.look(&claim.request).await
    }

    pub(super) async fn checks(&self, at: i64) -> Vec<Check> {
        self.store.claim_checks(100, after(at)).await.unwrap()
    }

    pub(super) async fn settle(
        &self,
        request: &Request,
        attempt: i64,
        finding: Finding,
        at: i64,
    ) -> bool {
        let state = AttemptState::parse(&self.attempt(request, attempt).await.0).unwrap();
        let settlement = Settlement {
            desk: request.desk,
            request: request.id,
            attempt,
            state,
            finding,
            now: after(at),
        };
        self.store.settle(settlement).await.unwrap()
    }

    /// Makes the second attempt up to the provider's answer.
    pub(super) async fn second(&self, second: Second, at: i64) -> (Claim, Permission) {
        let claim = self.claim(after(at)).await;
        let dispatch = Dispatch {
            second,
            ..dispatch(&claim, after(at))
        };
        let permission = self.store.dispatch(dispatch).await.unwrap();
        (claim, permission)
    }

    /// A request whose second message waits at the provider.
    pub(super) async fn guarded(&self) -> Request {
        let request = self.doubtful().await;
        assert!(
            self.settle(&request, 1, Finding::NotFound { second: true }, 700_000)
                .await
        );
        let (claim, permission) = self.second(Second::At(SEND_AT), 700_001).await;
        let send_at = Some(SEND_AT);
        assert_eq!(permission, Permission::Granted { send_at });
        let report = Report {
            send_at,
            ..report(&claim, taken("SM2"), after(700_002))
        };
        assert!(self.store.report(report).await.unwrap());
        let request = self.look(&request).await;
        assert_eq!(request.delivery, DeliveryState::Guarded);
        assert_eq!(
            (request.state, request.attempts),
            (State::Scheduled, 2),
            "nothing is known to have reached the contact"
        );
        request
    }

    pub(super) async fn callback(
        &self,
        request: &Request,
        attempt: i64,
        id: &str,
        status: Status,
        at: i64,
    ) {
        let token = token(request.id, attempt);
        let found = self.store.record_status(token, id, status, after(at)).await;
        assert!(found.unwrap().is_some());
    }

    pub(super) async fn states(&self, request: &Request) -> (DeliveryState, State, String, String) {
        let read = self.look(request).await;
        let first = self.attempt(request, 1).await.0;
        let second = if read.attempts > 1 {
            self.attempt(request, 2).await.0
        } else {
            String::new()
        };
        (read.delivery, read.state, first, second)
    }

    /// What the sweeper gives back, and what is then due to be taken back at the provider.
    pub(super) async fn taken_back(&self, request: &Request, at: i64) {
        self.store.sweep(after(at)).await.unwrap();
        let due: Vec<_> = self.checks(at).await;
        let back: Vec<_> = due
            .iter()
            .filter(|check| check.attempt.state == AttemptState::Revoking)
            .collect();
        assert_eq!(back.len(), 1);
        assert_eq!(
            (back[0].request.id, back[0].attempt.n),
            (request.id, 2),
            "the second is taken back"
        );
        assert_eq!(back[0].attempt.provider_id, "SM2");
        assert!(self.settle(request, 2, Finding::Revoked, at + 1).await);
        assert_eq!(self.attempt(request, 2).await.0, "revoked");
    }
}

async fn an_attempt_in_doubt_is_looked_after_by_one_at_a_time(stage: Arc<Stage>) {
    let request = stage.doubtful().await;
    assert!(stage.store.claim_checks(10, NOW).await.unwrap().is_empty());
    let mine = stage.checks(2).await;
    assert_eq!(mine.len(), 1);
    let (check, attempt) = (&mine[0], &mine[0].attempt);
    assert_eq!((check.request.id, attempt.n), (request.id, 1));
    assert_eq!((check.doubts, attempt.looks), (1, 0));
    assert_eq!(attempt.state, AttemptState::Unknown);
    assert!(stage.checks(3).await.is_empty(), "another one has it");
    assert_eq!(stage.checks(60_003).await.len(), 1, "who had it is dead");
}

async fn what_is_found_is_sent(stage: Arc<Stage>) {
    let request = stage.doubtful().await;
    let found = Finding::Found {
        provider_id: "SM1".to_owned(),
        status: Status::Taken,
    };
    assert!(stage.settle(&request, 1, found, 10).await);
    let read = stage.look(&request).await;
    assert_eq!(
        (read.delivery, read.state),
        (DeliveryState::Accepted, State::Sent)
    );
    let accepted = ("accepted".to_owned(), String::new(), "SM1".to_owned());
    assert_eq!(stage.attempt(&request, 1).await, accepted);
    assert!(
        stage.checks(10_000_000).await.is_empty(),
        "nothing is left to look for"
    );
    let taken = stage.store.taken("sandbox", &["SM1", "SM9"]).await.unwrap();
    assert_eq!(taken, ["SM1"]);
    assert!(
        stage
            .store
            .taken("twilio", &["SM1"])
            .await
            .unwrap()
            .is_empty()
    );
}

async fn what_is_not_found_is_lost_and_late_evidence_turns_it(stage: Arc<Stage>) {
    let lost = async || {
        let request = stage.doubtful().await;
        let finding = Finding::NotFound { second: false };
        assert!(stage.settle(&request, 1, finding.clone(), 10).await);
        assert!(!stage.settle(&request, 1, finding, 11).await, "once");
        let read = stage.look(&request).await;
        assert_eq!(
            (read.delivery, read.state),
            (DeliveryState::Lost, State::Scheduled)
        );
        assert_eq!(read.delivery_code, "not_confirmed");
        assert_eq!(stage.events(&request, "delivery.lost").await, 1);
        assert!(stage.checks(10_000_000).await.is_empty());
        request
    };
    let called_back = lost().await;
    stage
        .callback(&called_back, 1, "SM1", Status::Delivered, 20)
        .await;
    let read = stage.look(&called_back).await;
    assert_eq!(
        (read.delivery, read.state),
        (DeliveryState::Accepted, State::Delivered)
    );

    let answered = lost().await;
    let replied = stage
        .store
        .record_reply(digit(&answered, "r1", 5, after(30)))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (replied.request.delivery, replied.request.state),
        (DeliveryState::Accepted, State::Answered)
    );
}

async fn a_look_that_found_nothing_is_remembered(stage: Arc<Stage>) {
    let request = stage.doubtful().await;
    let check = stage.checks(2).await.remove(0);
    let doubt = Doubt {
        started_at: check.attempt.started_at,
        looks: 3,
        absent: 2,
        absent_since: Some(after(5)),
        doubts: 1,
        guarded: false,
        expires_at: request.expires_at,
    };
    let at = after(30_000);
    assert!(
        stage
            .settle(&request, 1, Finding::Later { at, doubt }, 6)
            .await
    );
    assert!(stage.checks(29_999).await.is_empty());
    let again = stage.checks(30_000).await.remove(0).attempt;
    assert_eq!(
        (again.looks, again.absent, again.absent_since),
        (3, 2, Some(after(5)))
    );
    stage
        .callback(&request, 1, "SM1", Status::Taken, 31_000)
        .await;
    assert!(
        !stage
            .settle(&request, 1, Finding::Later { at, doubt }, 31_001)
            .await,
        "it was settled meanwhile"
    );
    assert!(stage.checks(10_000_000).await.is_empty());
}

async fn a_mail_is_sent_once_more_under_the_same_name(stage: Arc<Stage>) {
    let request = stage.doubtful().await;
    stage
        .settle(&request, 1, Finding::NotFound { second: true }, 20_000)
        .await;
    let (claim, permission) = stage.second(Second::Same, 20_001).await;
    assert_eq!(permission, Permission::Granted { send_at: None });
    assert!(
        stage
            .report(&claim, taken("<1@example.com>"), after(20_002))
            .await
    );
    let (delivery, now, first, second) = stage.states(&request).await;
    assert_eq!((delivery, now), (DeliveryState::Accepted, State::Sent));
    assert_eq!((first.as_str(), second.as_str()), ("unknown", "accepted"));
}

async fn what_a_reply_says_of_its_time_is_heard(stage: Arc<Stage>) {
    let request = stage.sent(stage.trigger()).await;
    let mut early = digit(&request, "r1", 2, after(60_000));
    early.sent_at = Some(after(-5_000));
    let taken = stage.store.record_reply(early).await.unwrap();
    assert!(taken.is_none(), "written before it was asked");
    let mut late = digit(&request, "r2", 4, after(60_000));
    late.sent_at = Some(after(3_000));
    let taken = stage
        .store
        .record_reply(late.clone())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(taken.request.state, State::Answered);
    let again = stage.store.record_reply(late).await.unwrap().unwrap();
    assert!(again.repeated);
}

fn not_processed() -> Outcome {
    Outcome::NotProcessed {
        code: "paused".to_owned(),
        retry_after_ms: None,
    }
}

/// The request's worker is silent for too long.
pub(super) async fn silent(stage: &Stage, at: i64) {
    stage.store.take_over().await.unwrap();
    assert_eq!(stage.store.sweep(after(at)).await.unwrap(), 1);
}

async fn a_report_that_is_not_believed_leaves_the_attempt_in_doubt(stage: Arc<Stage>) {
    let claim = stage.on_the_wire().await;
    silent(&stage, 1).await;
    assert!(!stage.report(&claim, not_processed(), after(2)).await);
    let request = stage.look(&claim.request).await;
    assert_eq!(request.delivery, DeliveryState::Unknown);
    assert_eq!(stage.attempt(&request, 1).await.0, "unknown");
    assert_eq!(stage.checks(3).await.len(), 1, "it is looked after");
}
