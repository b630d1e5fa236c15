//! A wish is heard and answered whenever it comes, follows the person, and outlives what is held about them.

use http::Method;
use serde_json::{Value, json};

use crate::story;
use crate::support::database::Database;
use crate::support::http::{get, post_form, send};
use crate::support::stage::{ANA, OUR_NUMBER, Stage, desk};

const SILENCE: &str = "<Response/>";
const BEN: &str = "ben@example.com";
const HANG_UP: &str = "<Response><Hangup/></Response>";

/// A text to our number, and what is answered.
async fn text_from(stage: &Stage, from: &str, body: &str) -> String {
    let service = stage.service();
    let (status, twiml) = stage.twilio.text(&service, from, OUR_NUMBER, body).await;
    assert_eq!(status, 200, "{twiml}");
    twiml.split_once("?>").unwrap().1.to_owned()
}

async fn text(stage: &Stage, body: &str) -> String {
    text_from(stage, ANA, body).await
}

async fn told(stage: &Stage, kind: &str) -> i64 {
    let sql = match kind {
        "contact.opted_out" => "select count(*) from events where kind = 'contact.opted_out'",
        "contact.opted_in" => "select count(*) from events where kind = 'contact.opted_in'",
        "reply.unrecognized" => "select count(*) from events where kind = 'reply.unrecognized'",
        other => panic!("{other}"),
    };
    stage.database.number(sql).await
}

story!(
    after_the_window_a_wish_is_confirmed_once_in_the_contacts_language,
    async |database: Database| {
        let stage = Stage::start(database).await;
        let body = json!({"channel": "sms", "to": ANA, "conversation": "INC-1", "contact": {"language": "de"}});
        assert_eq!(stage.trigger(&body).await.status, 202);
        assert_eq!(stage.deliver().await, 1);
        text(&stage, "4").await;
        stage.pass(3_600);
        stage.app.journey.tidy().await.unwrap();

        let helped = text(&stage, "Hilfe").await;
        assert!(helped.contains("Acme IT bittet"), "{helped}");
        assert_eq!(told(&stage, "contact.opted_out").await, 0);
        let stopped = text(&stage, "Abmelden").await;
        assert!(
            stopped.contains("Acme IT: Sie bekommen keine Nachrichten mehr"),
            "{stopped}"
        );
        for words in ["leave me alone", "Abmelden"] {
            assert_eq!(text(&stage, words).await, SILENCE, "{words}");
        }
        assert_eq!(told(&stage, "contact.opted_out").await, 1);
        let next = json!({"channel": "sms", "to": ANA, "conversation": "INC-2"});
        assert_eq!(stage.trigger(&next).await.json()["reason"], "opted_out");

        let started = text(&stage, "opt me in").await;
        assert!(started.contains("Acme IT"), "{started}");
        assert_eq!(text(&stage, "opt me in").await, SILENCE);
        assert_eq!(told(&stage, "contact.opted_in").await, 1);
        // Twilio confirms its own words by itself.
        assert_eq!(text(&stage, "STOP").await, SILENCE);
        assert_eq!(told(&stage, "contact.opted_out").await, 2);

        // A stranger is answered by nobody, and remembered.
        let stranger = "+14155550188";
        for words in ["leave me alone", "Hilfe"] {
            assert_eq!(text_from(&stage, stranger, words).await, SILENCE);
        }
        let body = json!({"channel": "sms", "to": stranger, "conversation": "INC-3"});
        assert_eq!(stage.trigger(&body).await.json()["reason"], "opted_out");
        assert_eq!(told(&stage, "contact.opted_out").await, 2);
        stage.finish().await;
    }
);

story!(
    a_wish_by_text_holds_for_the_persons_mail,
    async |database: Database| {
        let stage = Stage::start(database).await;
        let ask = |channel: &str, to: &str, n: u8| json!({"channel": channel, "to": to, "conversation": format!("INC-{n}"), "contact": {"id": "c-901"}});
        assert_eq!(stage.trigger(&ask("sms", ANA, 1)).await.status, 202);
        assert_eq!(stage.deliver().await, 1);
        text(&stage, "leave me alone").await;
        let by_mail = stage.trigger(&ask("email", BEN, 2)).await.json();
        assert_eq!(by_mail["reason"], "opted_out");
        text(&stage, "opt me in").await;
        let by_mail = stage.trigger(&ask("email", BEN, 3)).await.json();
        assert_eq!(by_mail["state"], "scheduled");
        assert_eq!(stage.deliver().await, 1);
        stage.finish().await;
    }
);

/// A call of this number is handed over to us; what it is told.
async fn handed_over(stage: &Stage, target: &str, n: u8, extra: &[(&str, &str)]) -> String {
    let sid = format!("CA{n:032x}");
    let service = stage.service();
    let (status, twiml) = stage.twilio.call(&service, target, &sid, extra).await;
    assert_eq!(status, 200, "{twiml}");
    twiml.split_once("?>").unwrap().1.to_owned()
}

story!(
    a_call_that_is_handed_over_is_known_by_its_number,
    async |database: Database| {
        let stage = Stage::start(database).await;
        let flow = "/hooks/twilio/voice?desk=acme&contact=c-901";
        let ana = [("From", ANA), ("Direction", "inbound")];
        let prompt = handed_over(&stage, flow, 1, &ana).await;
        assert!(prompt.contains("<Gather"), "{prompt}");
        let held = stage.api("/v1/contacts/+14155550123").await;
        assert_eq!(held["requests"].as_array().unwrap().len(), 1);

        text(&stage, "leave me alone").await;
        assert_eq!(handed_over(&stage, flow, 2, &ana).await, HANG_UP);
        let whom_we_called = [
            ("From", OUR_NUMBER),
            ("To", ANA),
            ("Direction", "outbound-api"),
        ];
        let other = "/hooks/twilio/voice?desk=acme&contact=c-902";
        assert_eq!(
            handed_over(&stage, other, 3, &whom_we_called).await,
            HANG_UP
        );
        assert_eq!(
            stage
                .database
                .number("select count(*) from requests where reason = 'opted_out'")
                .await,
            2
        );
        // Whoever keeps the number back is nobody who is known; and nobody says a number in the address.
        for (n, from) in [(4, "+266696687"), (5, "anonymous"), (6, "")] {
            let target = "/hooks/twilio/voice?desk=acme&phone=%2B14155550123&person=%2B14155550123";
            let prompt = handed_over(&stage, target, n, &[("From", from)]).await;
            assert!(prompt.contains("<Gather"), "{from}: {prompt}");
        }
        // The desk's own triggers say it in so many words, and only of a call.
        let ask = |channel: &str, to: &str, phone: &str| json!({"channel": channel, "to": to, "conversation": "C-9", "dry_run": true, "contact": {"phone": phone}});
        let call = format!("CA{:032x}", 9);
        let known = stage.trigger(&ask("voice", &call, ANA)).await;
        assert_eq!(known.json()["reason"], "opted_out");
        for (channel, to, phone) in [("sms", ANA, ANA), ("voice", call.as_str(), "555")] {
            let refused = stage.trigger(&ask(channel, to, phone)).await;
            assert_eq!(
                (refused.status, &refused.json()["field"]),
                (400, &json!("contact.phone"))
            );
        }
        for request in stage.api("/v1/requests").await["items"].as_array().unwrap() {
            stage.cancel(request["id"].as_str().unwrap()).await;
        }
        stage.finish().await;
    }
);

story!(
    a_comment_belongs_to_its_answer_while_another_desk_only_plans_to_ask,
    async |database: Database| {
        let stage = Stage::start(database).await;
        let id = stage.ask("sms", ANA, "INC-1").await;
        assert_eq!(stage.deliver().await, 1);
        text(&stage, "3").await;
        let (_, key) = desk(&stage.app, "beta", "Beta Clinic").await;
        let bearer = format!("Bearer {key}");
        let headers = [
            ("authorization", bearer.as_str()),
            ("content-type", "application/json"),
        ];
        let body =
            json!({"channel": "sms", "to": ANA, "conversation": "B-1", "delay_seconds": 604_800});
        let url = format!("{}/v1/requests", stage.url);
        let planned = send(Method::POST, &url, &headers, body.to_string()).await;
        assert_eq!(planned.status, 202, "{planned:?}");
        let planned = planned.json()["id"].as_str().unwrap().to_owned();

        stage.pass(60);
        let thanks = text(&stage, "nobody listened to me").await;
        assert!(thanks.contains("words"), "{thanks}");
        assert_ne!(text(&stage, "2").await, SILENCE);
        let rating = &stage.request(&id).await["rating"];
        assert_eq!(
            (&rating["score"], &rating["comment"]),
            (&json!(2), &json!("nobody listened to me"))
        );
        assert_eq!(text(&stage, "and it took hours").await, SILENCE);
        assert_eq!(told(&stage, "reply.unrecognized").await, 1);
        // Afterwards it is about something else.
        stage.pass(3_600);
        assert_eq!(text(&stage, "5").await, SILENCE);
        assert_eq!(stage.ratings("sms").await, [1, 1, 1]);

        let cancel = format!("{url}/{planned}/cancel");
        assert_eq!(send(Method::POST, &cancel, &headers, "").await.status, 200);
        stage.finish().await;
    }
);

/// Why Ben would not be asked.
async fn bens(stage: &Stage) -> Value {
    let dry = json!({"channel": "email", "to": BEN, "conversation": "dry", "dry_run": true});
    stage.trigger(&dry).await.json()["reason"].clone()
}

story!(
    whoever_was_erased_may_still_say_that_they_want_no_more,
    async |database: Database| {
        let stage = Stage::start(database).await;
        let asked = stage.ask("email", BEN, "T-1").await;
        assert_eq!(stage.deliver().await, 1);
        let mail = stage.mail.wait_for(1).await.pop().unwrap();
        let url = stage.real(mail.header("list-unsubscribe").trim_matches(['<', '>']));
        let bearer = format!("Bearer {}", stage.key);
        let erase = format!("{}/v1/contacts/{BEN}", stage.url);
        let headers = [("authorization", bearer.as_str())];
        let erased = send(Method::DELETE, &erase, &headers, "").await;
        assert_eq!(erased.status, 200, "{erased:?}");
        assert_eq!(stage.request(&asked).await["state"], "cancelled");

        // The page opens, and nothing but its button or a mail program's click does anything.
        let rating = get(&url.replace("/u/", "/r/")).await;
        assert_eq!(rating.status, 404);
        let shown = get(&url).await;
        assert_eq!(shown.status, 200);
        assert!(shown.body.contains("Acme IT"), "{}", shown.body);
        let view = shown.body.split_once("name=\"view\" value=\"").unwrap().1;
        let view = view.split_once('"').unwrap().0;
        for fields in [&[][..], &[("event", "button")], &[("view", view)]] {
            assert_eq!(post_form(&url, fields, "*/*").await.status, 200);
        }
        assert_eq!(bens(&stage).await, json!(null));
        stage.pass(10);
        let pressed = [("view", view), ("event", "button")];
        let done = post_form(&url, &pressed, "*/*").await;
        assert_eq!(done.status, 200);
        assert_eq!(bens(&stage).await, "opted_out");
        let one_click = [("List-Unsubscribe", "One-Click")];
        assert_eq!(post_form(&url, &one_click, "*/*").await.status, 200);
        assert_eq!(told(&stage, "contact.opted_out").await, 1);
        let strange = url.replace(url.rsplit('/').next().unwrap(), "AAAAAAAAAAAAAAAAAAAAAA");
        assert_eq!(post_form(&strange, &one_click, "*/*").await.status, 404);
        stage.finish().await;
    }
);
