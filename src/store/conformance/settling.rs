//! Attempts in doubt: whose turn it is, what settles them, and the second attempt that can be taken back.

use std::sync::Arc;

use super::stage::{EVERY, NOW, Stage, after, digit, dispatch, report, taken, text, token};
use crate::domain::delivery::{AttemptState, DeliveryState, Outcome, Status};
use crate::domain::reply::Understood;
use crate::domain::request::{Request, State};
use crate::domain::settling::Doubt;
use crate::domain::time::Timestamp;
use crate::store::{
    Check, Claim, Dispatch, Finding, Permission, Report, Second, Settlement, Store as _,
};

stories!(
    migrated: an_attempt_in_doubt_is_looked_after_by_one_at_a_time, what_is_found_is_sent,
    what_is_not_found_is_lost_and_late_evidence_turns_it, a_look_that_found_nothing_is_remembered,
    a_second_message_waits_at_the_provider_and_counts_as_sent_when_its_time_has_come,
    news_of_the_first_take_the_second_back, an_answer_takes_the_second_back,
    a_callback_while_the_second_is_being_made_wins, the_echo_of_taking_back_is_no_failure,
    without_a_way_to_take_it_back_there_is_no_second, a_second_that_is_refused_leaves_the_first_lost,
    an_answer_counts_while_the_second_is_queued, a_mail_is_sent_once_more_under_the_same_name,
    what_a_reply_says_of_its_time_is_heard, a_report_that_is_not_believed_leaves_the_attempt_in_doubt,
    who_slept_over_a_look_makes_no_third_attempt, a_second_without_an_answer_is_looked_for_although_the_first_was_answered,
    a_late_refusal_of_the_second_is_not_lost_on_us, a_second_whose_worker_died_is_looked_after_by_itself,
    who_looks_after_the_first_knows_of_the_second,
);

const SEND_AT: Timestamp = after(1_000_000);

fn unknown() -> Outcome {
    Outcome::Unknown {
        code: "timeout".to_owned(),
    }
}

impl Stage {
    /// A request whose first attempt is in doubt.
    async fn doubtful(&self) -> Request {
        let claim = self.on_the_wire().await;
        assert!(self.report(&claim, unknown(), after(1)).await);
        self.look(&claim.request).await
    }

    async fn checks(&self, at: i64) -> Vec<Check> {
        self.store.claim_checks(100, after(at)).await.unwrap()
    }

    async fn settle(&self, request: &Request, attempt: i64, finding: Finding, at: i64) -> bool {
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
    async fn second(&self, second: Second, at: i64) -> (Claim, Permission) {
        let claim = self.claim(after(at)).await;
        let dispatch = Dispatch {
            second,
            ..dispatch(&claim, after(at))
        };
        let permission = self.store.dispatch(dispatch).await.unwrap();
        (claim, permission)
    }

    /// A request whose second message waits at the provider.
    async fn guarded(&self) -> Request {
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

    async fn callback(&self, request: &Request, attempt: i64, id: &str, status: Status, at: i64) {
        let token = token(request.id, attempt);
        let found = self.store.record_status(token, id, status, after(at)).await;
        assert!(found.unwrap().is_some());
    }

    async fn states(&self, request: &Request) -> (DeliveryState, State, String, String) {
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
    async fn taken_back(&self, request: &Request, at: i64) {
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

async fn a_second_message_waits_at_the_provider_and_counts_as_sent_when_its_time_has_come(
    stage: Arc<Stage>,
) {
    let request = stage.guarded().await;
    let due = stage.checks(1_000_000 + 60_000).await;
    let second = due.iter().find(|check| check.attempt.n == 2).unwrap();
    assert_eq!(second.attempt.state, AttemptState::Scheduled);
    assert!(
        stage
            .settle(&request, 2, Finding::Released, 1_060_001)
            .await
    );
    let (delivery, now, first, second) = stage.states(&request).await;
    assert_eq!((delivery, now), (DeliveryState::Accepted, State::Sent));
    assert_eq!((first.as_str(), second.as_str()), ("unknown", "accepted"));
    for (name, broken) in stage.store.invariants().await {
        assert_eq!(broken.unwrap(), 0, "{name}");
    }
}

async fn news_of_the_first_take_the_second_back(stage: Arc<Stage>) {
    let request = stage.guarded().await;
    stage
        .callback(&request, 2, "SM2", Status::Taken, 800_000)
        .await;
    let before = stage.states(&request).await;
    assert_eq!(
        before.0,
        DeliveryState::Guarded,
        "it only says that it waits"
    );
    assert_eq!(before.3, "scheduled");
    stage
        .callback(&request, 1, "SM1", Status::Delivered, 800_001)
        .await;
    let read = stage.look(&request).await;
    assert_eq!(
        (read.delivery, read.state),
        (DeliveryState::Accepted, State::Delivered)
    );
    stage.taken_back(&request, 800_002).await;
}

async fn an_answer_takes_the_second_back(stage: Arc<Stage>) {
    let request = stage.guarded().await;
    let rated = digit(&request, "r1", 4, after(800_000));
    let replied = stage.store.record_reply(rated).await.unwrap().unwrap();
    assert_eq!(replied.request.state, State::Answered);
    stage.taken_back(&request, 800_001).await;

    let request = stage.guarded().await;
    let stop = text(&request, "r2", Understood::Stop, after(900_000));
    stage.store.record_reply(stop).await.unwrap().unwrap();
    stage.taken_back(&request, 900_001).await;
}

async fn a_callback_while_the_second_is_being_made_wins(stage: Arc<Stage>) {
    // After the decision, before the point of no return.
    let request = stage.doubtful().await;
    stage
        .settle(&request, 1, Finding::NotFound { second: true }, 700_000)
        .await;
    let claim = stage.claim(after(700_001)).await;
    stage
        .callback(&request, 1, "SM1", Status::Taken, 700_002)
        .await;
    let late = Dispatch {
        second: Second::At(SEND_AT),
        ..dispatch(&claim, after(700_003))
    };
    let permission = stage.store.dispatch(late).await.unwrap();
    assert_eq!(permission, Permission::Withdrawn);

    // After it: the second is made, and taken back.
    let request = stage.doubtful().await;
    stage
        .settle(&request, 1, Finding::NotFound { second: true }, 700_000)
        .await;
    let (claim, _) = stage.second(Second::At(SEND_AT), 700_001).await;
    stage
        .callback(&request, 1, "SM3", Status::Taken, 700_002)
        .await;
    let late = Report {
        send_at: Some(SEND_AT),
        ..report(&claim, taken("SM2"), after(700_003))
    };
    assert!(!stage.store.report(late).await.unwrap());
    stage.taken_back(&request, 700_004).await;
}

async fn the_echo_of_taking_back_is_no_failure(stage: Arc<Stage>) {
    let request = stage.guarded().await;
    stage
        .callback(&request, 1, "SM1", Status::Taken, 800_000)
        .await;
    stage.taken_back(&request, 800_001).await;
    let cancelled = Status::Failed {
        code: String::new(),
        opted_out: false,
    };
    stage
        .callback(&request, 2, "SM2", cancelled, 1_100_000)
        .await;
    let read = stage.look(&request).await;
    assert_eq!(
        (read.delivery, read.state),
        (DeliveryState::Accepted, State::Sent)
    );
    assert_eq!(stage.attempt(&request, 2).await.0, "revoked");
}

async fn without_a_way_to_take_it_back_there_is_no_second(stage: Arc<Stage>) {
    let request = stage.doubtful().await;
    stage
        .settle(&request, 1, Finding::NotFound { second: true }, 700_000)
        .await;
    let (_, permission) = stage.second(Second::Never, 700_001).await;
    assert_eq!(permission, Permission::Withdrawn);
    let read = stage.look(&request).await;
    assert_eq!((read.delivery, read.attempts), (DeliveryState::Lost, 1));
    let due = stage
        .store
        .claim_deliveries("w", EVERY, 10, after(9_000_000))
        .await;
    assert!(due.unwrap().is_empty());
}

async fn a_second_that_is_refused_leaves_the_first_lost(stage: Arc<Stage>) {
    let request = stage.doubtful().await;
    stage
        .settle(&request, 1, Finding::NotFound { second: true }, 700_000)
        .await;
    let (claim, _) = stage.second(Second::At(SEND_AT), 700_001).await;
    let refused = Outcome::Rejected {
        code: "35118".to_owned(),
        opted_out: false,
    };
    let refused = Report {
        send_at: Some(SEND_AT),
        ..report(&claim, refused, after(700_002))
    };
    assert!(stage.store.report(refused).await.unwrap());
    let (delivery, now, first, second) = stage.states(&request).await;
    assert_eq!((delivery, now), (DeliveryState::Lost, State::Scheduled));
    assert_eq!((first.as_str(), second.as_str()), ("unknown", "rejected"));
}

async fn an_answer_counts_while_the_second_is_queued(stage: Arc<Stage>) {
    let request = stage.doubtful().await;
    stage
        .settle(&request, 1, Finding::NotFound { second: true }, 700_000)
        .await;
    let rated = digit(&request, "r1", 3, after(700_001));
    let replied = stage.store.record_reply(rated).await.unwrap().unwrap();
    assert_eq!(
        (replied.request.state, replied.request.delivery),
        (State::Answered, DeliveryState::Accepted)
    );
    let due = stage
        .store
        .claim_deliveries("w", EVERY, 10, after(9_000_000))
        .await;
    assert!(due.unwrap().is_empty(), "nothing is sent any more");
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
async fn silent(stage: &Stage, at: i64) {
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

async fn who_slept_over_a_look_makes_no_third_attempt(stage: Arc<Stage>) {
    let request = stage.doubtful().await;
    let second = Finding::NotFound { second: true };
    assert!(stage.settle(&request, 1, second.clone(), 700_000).await);
    let (claim, _) = stage.second(Second::At(SEND_AT), 700_001).await;
    let answer = Report {
        send_at: Some(SEND_AT),
        ..report(&claim, unknown(), after(700_002))
    };
    assert!(stage.store.report(answer).await.unwrap());
    assert!(!stage.settle(&request, 1, second, 700_003).await);
    let read = stage.look(&request).await;
    assert_eq!(
        (read.delivery, read.attempts),
        (DeliveryState::Unknown, 2),
        "nothing goes back to the queue"
    );
    assert_eq!(
        stage.checks(800_000).await.len(),
        2,
        "both are looked after"
    );
}

async fn a_second_without_an_answer_is_looked_for_although_the_first_was_answered(
    stage: Arc<Stage>,
) {
    let request = stage.doubtful().await;
    let second = Finding::NotFound { second: true };
    assert!(stage.settle(&request, 1, second, 700_000).await);
    let (claim, _) = stage.second(Second::At(SEND_AT), 700_001).await;
    stage
        .callback(&request, 1, "SM1", Status::Delivered, 700_002)
        .await;
    let answer = Report {
        send_at: Some(SEND_AT),
        ..report(&claim, unknown(), after(700_003))
    };
    stage.store.report(answer).await.unwrap();
    let read = stage.look(&request).await;
    assert_eq!(read.delivery, DeliveryState::Accepted);
    let due = stage.checks(700_004).await;
    let second = due.iter().find(|check| check.attempt.n == 2).unwrap();
    assert_eq!(
        second.attempt.state,
        AttemptState::Unknown,
        "it may wait at the provider, and has to be taken back"
    );
}

async fn a_late_refusal_of_the_second_is_not_lost_on_us(stage: Arc<Stage>) {
    let request = stage.doubtful().await;
    let second = Finding::NotFound { second: true };
    assert!(stage.settle(&request, 1, second, 700_000).await);
    let (claim, _) = stage.second(Second::At(SEND_AT), 700_001).await;
    silent(&stage, 700_002).await;
    let refused = Outcome::Rejected {
        code: "21211".to_owned(),
        opted_out: false,
    };
    let answer = Report {
        send_at: Some(SEND_AT),
        ..report(&claim, refused, after(700_003))
    };
    assert!(stage.store.report(answer).await.unwrap());
    let read = stage.look(&request).await;
    assert_eq!(read.delivery, DeliveryState::Lost, "the first is in doubt");
    assert_eq!(stage.attempt(&request, 2).await.0, "rejected");
}

async fn a_second_whose_worker_died_is_looked_after_by_itself(stage: Arc<Stage>) {
    let request = stage.doubtful().await;
    let second = Finding::NotFound { second: true };
    assert!(stage.settle(&request, 1, second, 700_000).await);
    stage.second(Second::At(SEND_AT), 700_001).await;
    stage
        .callback(&request, 1, "SM1", Status::Taken, 700_002)
        .await;
    assert_eq!(stage.look(&request).await.delivery, DeliveryState::Accepted);
    stage.store.sweep(after(700_003)).await.unwrap();
    // Its lease has passed: nobody has said what became of it, and it may wait at the provider.
    let due = stage.checks(700_001 + 60_001).await;
    assert_eq!(due.len(), 1);
    let attempt = &due[0].attempt;
    assert_eq!(
        (attempt.n, attempt.state, attempt.send_at),
        (2, AttemptState::Dispatching, Some(SEND_AT))
    );
    let found = Finding::Found {
        provider_id: "SM2".to_owned(),
        status: Status::Taken,
    };
    assert!(stage.settle(&request, 2, found, 770_000).await);
    stage.taken_back(&request, 770_001).await;
}

async fn who_looks_after_the_first_knows_of_the_second(stage: Arc<Stage>) {
    let request = stage.doubtful().await;
    let first = stage.checks(2).await.remove(0);
    assert_eq!((first.next_send_at, first.next_started_at), (None, None));
    let second = Finding::NotFound { second: true };
    assert!(stage.settle(&request, 1, second, 700_000).await);
    let (claim, _) = stage.second(Second::At(SEND_AT), 700_001).await;
    let answer = Report {
        send_at: Some(SEND_AT),
        ..report(&claim, unknown(), after(700_002))
    };
    assert!(stage.store.report(answer).await.unwrap());
    let due = stage.checks(800_000).await;
    let of = |n| due.iter().find(|check| check.attempt.n == n).unwrap();
    assert_eq!(
        (of(1).next_send_at, of(1).next_started_at),
        (Some(SEND_AT), Some(after(700_001)))
    );
    assert_eq!((of(2).next_send_at, of(2).next_started_at), (None, None));
}
