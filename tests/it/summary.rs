//! Results by group as a desk reads them: certainty with every score, nothing about a person out of few answers, and three
//! response rates by name.

use ::http::Method;
use serde_json::{Value, json};

use crate::decisions::Ruled;
use crate::story;
use crate::support::database::Database;
use crate::support::http;
use crate::support::stage::{Stage, desk};

/// A chat that ends, with its answer if there is one.
pub(crate) async fn chat(
    stage: &Stage,
    conversation: &str,
    about: Value,
    score: Option<u8>,
) -> String {
    let mut body = json!({"channel": "chat", "to": format!("visitor-{conversation}"), "conversation": conversation});
    for (key, value) in about.as_object().unwrap() {
        body[key] = value.clone();
    }
    let asked = stage.trigger(&body).await.json();
    if let (Some(score), Some(token)) = (score, asked["token"].as_str()) {
        let url = format!("{}/w/{token}", stage.url);
        let answer = http::post_json(&url, &[], &json!({"score": score})).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    asked["id"].as_str().unwrap().to_owned()
}

async fn refused(stage: &Stage, query: &str) -> Value {
    let bearer = format!("Bearer {}", stage.key);
    let url = format!("{}/v1/summary{query}", stage.url);
    let answer = http::send(Method::GET, &url, &[("authorization", &bearer)], "").await;
    assert_eq!(answer.status, 400, "{query}: {answer:?}");
    answer.json()
}

pub(crate) fn group<'a>(summary: &'a Value, by: &Value) -> &'a Value {
    let mut groups = summary["groups"].as_array().unwrap().iter();
    groups
        .find(|group| group["by"] == *by)
        .unwrap_or_else(|| panic!("{by} in {summary}"))
}

story!(
    a_score_is_shown_with_its_certainty,
    async |database: Database| {
        let stage = Stage::start(database).await;
        let nothing = stage.api("/v1/summary").await;
        assert_eq!(nothing["groups"], json!([]));
        assert_eq!(nothing["total"]["ratings"]["n"], 0);
        assert_eq!(
            nothing["total"]["ratings"]["csat"],
            Value::Null,
            "no ratings yet is not zero"
        );

        for (n, score) in [5, 5, 4, 4, 3, 2, 1, 5].into_iter().enumerate() {
            let team = if n < 5 { "network" } else { "desktop" };
            chat(
                &stage,
                &format!("INC-{n}"),
                json!({"team": team}),
                Some(score),
            )
            .await;
        }
        for n in 8..12 {
            chat(
                &stage,
                &format!("INC-{n}"),
                json!({"team": "network"}),
                None,
            )
            .await;
        }
        let again = json!({"channel": "chat", "to": "somebody", "conversation": "INC-0", "team": "network"});
        assert_eq!(stage.trigger(&again).await.json()["reason"], "duplicate");

        // The same before and after what is pending is folded.
        for _ in 0..2 {
            let summary = stage.api("/v1/summary?group_by=team,channel").await;
            let network = group(&summary, &json!({"team": "network", "channel": "chat"}));
            let (asked, ratings) = (&network["asked"], &network["ratings"]);
            assert_eq!(
                (&asked["triggers"], &asked["requested"]),
                (&json!(10), &json!(9))
            );
            assert_eq!(asked["suppressed_by"], json!({"duplicate": 1}));
            assert_eq!(asked["answered"], 5);
            assert_eq!(
                ratings["counts"],
                json!({"1": 0, "2": 0, "3": 1, "4": 2, "5": 2})
            );
            // Wilson's interval of 4 out of 5.
            assert_eq!(
                ratings["csat"],
                json!({"value": 80.0, "low": 37.55, "high": 96.38})
            );
            assert_eq!(ratings["bounds"]["silent"], 4);
            assert_eq!(ratings["bounds"]["csat_if_unhappy"], 44.44);
            assert_eq!(ratings["grades"]["channel"], 5);
            assert_eq!(network["response"]["of_requested"]["value"], 55.56);
            let desktop = group(&summary, &json!({"team": "desktop", "channel": "chat"}));
            assert_eq!(desktop["ratings"]["dsat"]["value"], 66.67);
            assert_eq!(summary["total"]["ratings"]["n"], 8);
            while stage.app.journey.tidy().await.unwrap().1 > 0 {}
        }

        let compared = stage
            .api("/v1/summary/compare?team=network&versus_team=desktop")
            .await;
        assert_eq!(compared["first"]["ratings"]["n"], 5);
        assert_eq!(compared["difference"]["csat"]["value"], 46.67);
        assert_eq!(compared["difference"]["beyond_chance"], false);
        assert!(
            compared["difference"]["sentence"]
                .as_str()
                .unwrap()
                .starts_with("Chance alone")
        );
        let few = stage.api("/v1/summary?group_by=team&minimum=4").await;
        let desktop = group(&few, &json!({"team": "desktop"}));
        assert_eq!(
            (&desktop["insufficient"], &desktop["ratings"]),
            (&json!(true), &Value::Null)
        );
        assert_eq!(
            desktop["asked"]["answered"], 3,
            "what was asked is no secret"
        );

        // Another desk sees nothing of it.
        let (_, key) = desk(&stage.app, "other", "Other").await;
        let bearer = format!("Bearer {key}");
        let url = format!("{}/v1/summary", stage.url);
        let other = http::send(Method::GET, &url, &[("authorization", &bearer)], "").await;
        assert_eq!(other.json()["total"]["asked"]["triggers"], 0);
        stage.finish().await;
    }
);

story!(
    what_names_an_agent_is_not_shown_for_few_answers,
    async |database: Database| {
        let stage = Stage::start(database).await;
        let mut n = 0;
        for (agent, count) in [("a-1", 9), ("a-2", 6), ("a-3", 2), ("a-4", 7)] {
            for _ in 0..count {
                n += 1;
                let about = json!({"agent": {"id": agent}, "team": "network"});
                chat(&stage, &format!("INC-{n}"), about, Some(4)).await;
            }
        }
        let summary = stage.api("/v1/summary?group_by=agent").await;
        let hidden: Vec<&str> = summary["groups"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|group| group["insufficient"] == true)
            .map(|group| group["by"]["agent"].as_str().unwrap())
            .collect();
        // With one agent hidden alone, the whole less all others would be that agent.
        assert_eq!(hidden, ["a-2", "a-3"]);
        assert_eq!(summary["minimum"], 5);
        assert_eq!(summary["total"]["ratings"]["n"], 24);
        let one = stage.api("/v1/summary?agent=a-3&minimum=1").await;
        assert_eq!(
            (&one["total"]["ratings"], &one["total"]["insufficient"]),
            (&Value::Null, &json!(true))
        );
        let compared = stage
            .api("/v1/summary/compare?agent=a-1&versus_agent=a-3")
            .await;
        assert_eq!(compared["difference"], Value::Null);
        // The total of a team of one is that one; and a total less what is shown is what is hidden.
        for (agent, team, count) in [("a-5", "alone", 3), ("a-6", "pair", 9), ("a-7", "pair", 2)] {
            for _ in 0..count {
                n += 1;
                let about = json!({"agent": {"id": agent}, "team": team, "queue": agent});
                chat(&stage, &format!("INC-{n}"), about, Some(4)).await;
            }
        }
        for (query, shown) in [
            ("group_by=agent&team=alone", false),
            ("group_by=agent&team=pair", true),
            ("group_by=queue&team=pair&agent=a-6", true),
            ("group_by=queue&agent=a-7", false),
            ("group_by=day&agent=a-6", true),
            ("group_by=team", true),
        ] {
            let summary = stage.api(&format!("/v1/summary?{query}")).await;
            let total = &summary["total"];
            assert_eq!(total["ratings"].is_object(), shown, "{query}: {summary}");
            assert_eq!(total["insufficient"], !shown, "{query}");
        }
        stage.finish().await;
    }
);

story!(
    nobody_chooses_unseen_who_is_asked,
    async |database: Database| {
        let stage = Stage::start(database).await;
        let mut n = 0;
        for agent in ["a-1", "a-2", "a-3", "a-4"] {
            for at in 0..25 {
                n += 1;
                let mut about = json!({"agent": {"id": agent}});
                // This one knows of an outage whenever it suits.
                if agent == "a-3" && at % 5 != 0 {
                    about["context"] = json!({"hold": true});
                }
                chat(
                    &stage,
                    &format!("INC-{n}"),
                    about,
                    (at % 3 == 0).then_some(5),
                )
                .await;
            }
        }
        let agents = stage.api("/v1/summary/agents").await["agents"].clone();
        for agent in agents.as_array().unwrap() {
            assert_eq!(agent["asked"]["triggers"], 25);
            let outliers: Vec<&Value> = agent["outliers"]
                .as_array()
                .unwrap()
                .iter()
                .map(|one| &one["share"])
                .collect();
            if agent["agent"] == "a-3" {
                assert_eq!(outliers, ["requested"]);
                assert_eq!(agent["asked"]["suppressed_by"], json!({"context_hold": 20}));
                assert_eq!(agent["outliers"][0]["others"], 100.0);
            } else {
                assert!(outliers.is_empty(), "{agent}");
            }
        }
        stage.finish().await;
    }
);

story!(
    days_are_those_of_the_time_zone,
    async |database: Database| {
        let stage = Stage::start(database).await;
        // The stage's clock stands at 18:00 UTC on 2026-11-21, a Saturday.
        let now = stage.now().to_rfc3339();
        for hour in 0..12 {
            chat(
                &stage,
                &format!("INC-{hour}"),
                json!({"touchpoint": "closed"}),
                Some(5),
            )
            .await;
            stage.pass(3600);
        }
        let days = async |query: &str| {
            let summary = stage.api(&format!("/v1/summary?{query}")).await;
            let groups = summary["groups"].as_array().unwrap().clone();
            groups
                .into_iter()
                .map(|group| {
                    let key = if group["by"]["day"].is_null() {
                        "week"
                    } else {
                        "day"
                    };
                    (
                        group["by"][key].as_str().unwrap().to_owned(),
                        group["ratings"]["n"].as_i64().unwrap(),
                    )
                })
                .collect::<Vec<_>>()
        };
        let date = |day: &str| now[..8].to_owned() + day;
        let split = |first: i64| vec![(date("21"), first), (date("22"), 12 - first)];
        assert!(now.starts_with("2026-11-21T18:00"), "{now}");
        assert_eq!(days("group_by=day").await, split(6));
        assert_eq!(
            days("group_by=day&timezone=America/New_York").await,
            split(11)
        );
        // India's midnight is at 18:30 UTC.
        assert_eq!(days("group_by=day&timezone=Asia/Kolkata").await, split(1));
        assert_eq!(days("group_by=week").await, [(date("16"), 12)]);
        assert_eq!(
            days("group_by=week&timezone=Pacific/Auckland").await,
            [(date("16"), 12)]
        );
        let since = "group_by=day&from=2026-11-21T20:15:00Z&to=2026-11-22T02:00:00Z";
        assert_eq!(days(since).await, [(date("21"), 4), (date("22"), 2)]);
        let widened = stage.api(&format!("/v1/summary?{since}")).await;
        assert_eq!(widened["from"], "2026-11-21T20:00:00.000Z");
        // Whatever else is named, in whatever zone, and no wider than half an hour.
        for (grouping, choice) in [
            ("day,agent", "queue=vpn"),
            ("day,topic", "agent=a-1"),
            ("day,language", "topic=mail"),
            ("week,queue", "touchpoint=closed"),
        ] {
            let query = format!(
                "group_by={grouping}&{choice}&timezone=Asia/Tokyo&from=2026-11-21T20:15:00Z"
            );
            let summary = stage.api(&format!("/v1/summary?{query}")).await;
            assert_eq!(summary["from"], "2026-11-21T20:00:00.000Z", "{query}");
        }
        let late = "queue=vpn&agent=a-1&topic=mail&language=es";
        for hour in 0..3 {
            let about = json!({"agent": {"id": "a-1"}, "queue": "vpn", "topic": "mail", "contact": {"language": "es"}});
            chat(&stage, &format!("LATE-{hour}"), about, Some(5)).await;
            stage.pass(3600);
        }
        // They end at 06:00, 07:00 and 08:00 of UTC; it is midnight in Denver at 07:00.
        for _ in 0..2 {
            for (zone, from, groups) in [
                ("America/Denver", "", vec![(date("21"), 1), (date("22"), 2)]),
                (
                    "America/Denver",
                    "&from=2026-11-22T07:00:00Z",
                    vec![(date("22"), 2)],
                ),
                (
                    "Asia/Tokyo",
                    "&to=2026-11-22T07:30:00Z",
                    vec![(date("22"), 2)],
                ),
            ] {
                let query = format!("group_by=day,agent&minimum=0&{late}&timezone={zone}{from}");
                let summary = stage.api(&format!("/v1/summary?{query}")).await;
                let days: Vec<_> = summary["groups"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|group| {
                        let day = group["by"]["day"].as_str().unwrap().to_owned();
                        (day, group["asked"]["answered"].as_i64().unwrap())
                    })
                    .collect();
                assert_eq!(days, groups, "{query}");
            }
            while stage.app.journey.tidy().await.unwrap().1 > 0 {}
        }
        let fair = stage
            .api("/v1/summary/agents?from=2026-11-21T20:15:00Z")
            .await;
        assert_eq!(fair["from"], "2026-11-21T20:00:00.000Z");
        let sides = "from=2026-11-21T18:00:00Z&to=2026-11-21T20:30:00Z&versus_from=2026-11-21T20:30:00Z&versus_to=2026-11-22T00:00:00Z";
        let compared = stage.api(&format!("/v1/summary/compare?{sides}")).await;
        assert_eq!(compared["first"]["to"], "2026-11-21T20:30:00.000Z");
        assert_eq!(compared["second"]["from"], "2026-11-21T20:30:00.000Z");
        let n = |side: &str| compared[side]["ratings"]["n"].as_i64();
        assert_eq!((n("first"), n("second")), (Some(3), Some(3)));
        for (query, field) in [
            ("?group_by=colour", "group_by"),
            ("?group_by=day,week", "group_by"),
            ("?group_by=team,team", "group_by"),
            ("?group_by=team,queue,phase,day", "group_by"),
            ("?timezone=Mars", "timezone"),
            ("?from=yesterday", "from"),
            ("?minimum=-1", "minimum"),
            ("?team=%00", "team"),
            ("/compare?team=a", "versus_from"),
            // These would count conversations on both sides.
            ("/compare?channel=chat&versus_team=a", "versus_team"),
            ("/compare?team=a&versus_team=a", "versus_team"),
            (
                "/compare?from=2026-11-21T18:00:00Z&to=2026-11-21T20:15:00Z&versus_from=2026-11-21T20:15:00Z&versus_to=2026-11-22T00:00:00Z",
                "versus_from",
            ),
            ("/compare?versus_team=a&group_by=team", "group_by"),
            ("/agents?group_by=team", "group_by"),
        ] {
            assert_eq!(refused(&stage, query).await["field"], field, "{query}");
        }
        for query in [
            "?colour=red",
            "/compare?versus_colour=red",
            "/agents?colour=red",
        ] {
            assert_eq!(
                refused(&stage, query).await["code"],
                "invalid_parameter",
                "{query}"
            );
        }
        stage.finish().await;
    }
);

story!(
    the_words_of_a_desk_are_told_from_ours,
    async |database: Database| {
        let stage = Stage::start(database).await;
        let desk = Ruled::with(&stage, "beta", &json!({})).await;
        let shown = desk.call(Method::GET, "/v1/desk", &Value::Null).await;
        let mut settings = shown.json()["settings"].clone();
        let own = |key: &str| json!({key: "How was it?"});
        settings["language"] = json!("de");
        settings["wording"] = json!([
            {"language": "en", "texts": own("chat.question.desk")},
            {"language": "en", "touchpoint": "vpn", "texts": own("chat.question.agent")},
            {"language": "de", "texts": own("email.question.desk")},
        ]);
        let put = desk.call(Method::PUT, "/v1/desk", &settings).await;
        assert_eq!(put.status, 200, "{put:?}");
        let mut tokens = Vec::new();
        for (n, (language, touchpoint)) in [
            ("", ""),
            ("de-AT", "vpn"),
            ("en", "mail"),
            ("en-GB", "vpn"),
            ("tlh", "vpn"),
        ]
        .into_iter()
        .enumerate()
        {
            let ended = json!({"channel": "chat", "to": format!("visitor-{n}"), "conversation": format!("INC-{n}"),
                "touchpoint": touchpoint, "contact": {"language": language}});
            let asked = desk.call(Method::POST, "/v1/requests", &ended).await.json();
            let token = asked["token"].as_str();
            tokens.push(token.unwrap_or_else(|| panic!("{asked}")).to_owned());
        }
        // What was asked in some words was, whatever the desk says from now on.
        settings["wording"] = json!([]);
        let put = desk.call(Method::PUT, "/v1/desk", &settings).await;
        assert_eq!(put.status, 200, "{put:?}");
        for token in &tokens {
            let url = format!("{}/w/{token}", stage.url);
            let answer = http::post_json(&url, &[], &json!({"score": 4})).await;
            assert_eq!(answer.status, 200, "{answer:?}");
        }

        // The same before and after what is pending is folded.
        for _ in 0..2 {
            let path = "/v1/summary?group_by=wording&minimum=1";
            let summary = desk.call(Method::GET, path, &Value::Null).await.json();
            for (words, count) in [("de", 2), ("en/own", 1), ("en/own/vpn", 2)] {
                let group = group(&summary, &json!({"wording": words}));
                let counts = (&group["asked"]["requested"], &group["ratings"]["n"]);
                assert_eq!(counts, (&json!(count), &json!(count)), "{words}");
            }
            assert_eq!(summary["groups"].as_array().unwrap().len(), 3, "{summary}");
            let path = "/v1/summary?wording=en/own/vpn&minimum=1";
            let alone = desk.call(Method::GET, path, &Value::Null).await.json();
            assert_eq!(alone["total"]["ratings"]["n"], 2, "{alone}");
            while stage.app.journey.tidy().await.unwrap().1 > 0 {}
        }
        stage.finish().await;
    }
);
