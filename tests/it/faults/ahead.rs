//! Those that are ahead of their turn: their permission is on disk while all places at the provider are taken. They go as soon as one
//! is free, not after the provider has stopped answering, and no more than a quarter as many as there are places.

use crate::story;
use crate::support::database::Database;
use crate::support::faults;
use crate::support::twilio::Behaviour;

use super::scene::{Asked, Scene, until};

/// Places at the provider, and those that may be ahead.
const PLACES: usize = 8;
const AHEAD: usize = 2;

/// A program with few places.
async fn start(database: Database) -> Scene {
    let mut scene = Scene::start(database).await;
    let places = PLACES.to_string();
    scene.program.set("providers.twilio.in_flight", &places);
    scene.kill_and_serve(async |_| {}).await;
    scene
}

/// All places are taken, by sends that meet this, and as many as may be are ahead; more wait in the queue.
async fn full(scene: &mut Scene, behaviour: Behaviour) -> (Vec<Asked>, Vec<Asked>) {
    let requests = scene.twilio.requests();
    for _ in 0..PLACES {
        scene.twilio.next(behaviour);
    }
    let sending = scene.ask(PLACES).await;
    until("all places are taken", async || {
        scene.twilio.requests() == requests + PLACES
    })
    .await;
    let waiting = scene.ask(AHEAD * 2).await;
    scene.dispatching(PLACES + AHEAD).await;
    assert_eq!(scene.twilio.requests(), requests + PLACES);
    (sending, waiting)
}

/// How many of them stand so.
async fn so(scene: &Scene, asked: &[Asked], states: &[&str]) -> usize {
    let mut so = 0;
    for one in asked {
        so += usize::from(states.contains(&scene.standing(one).await.as_str()));
    }
    so
}

story!(
    whoever_is_ahead_goes_when_a_place_is_free,
    async |database: Database| {
        let mut scene = start(database).await;
        let (sending, waiting) = full(&mut scene, Behaviour::HoldAnswer).await;
        scene.twilio.release();
        scene.at_rest().await;
        for one in sending.iter().chain(&waiting) {
            assert_eq!(scene.standing(one).await, "accepted");
            assert_eq!(scene.twilio.delivered_to(&one.number).len(), 1);
        }
        assert_eq!(scene.twilio.reached_twice(), Vec::<String>::new());
    }
);

story!(
    a_kill_leaves_no_more_than_a_quarter_ahead_in_doubt,
    async |database: Database| {
        let mut scene = start(database).await;
        let (sending, waiting) = full(&mut scene, Behaviour::HoldAnswer).await;
        scene
            .kill_and_serve(async |scene| scene.twilio.release())
            .await;
        // Twilio had the first, and never had those that were ahead; nobody knew of the others that they may be sent.
        let doubtful = ["unknown", "lost"];
        assert_eq!(so(&scene, &waiting, &doubtful).await, AHEAD);
        assert_eq!(so(&scene, &waiting, &["accepted"]).await, AHEAD);
        assert_eq!(so(&scene, &sending, &["unknown", "accepted"]).await, PLACES);
        until("Twilio's list shows the first", async || {
            so(&scene, &sending, &["accepted"]).await == PLACES
        })
        .await;
        assert_eq!(scene.twilio.messages().len(), PLACES + AHEAD);
        assert_eq!(scene.twilio.reached_twice(), Vec::<String>::new());
        let result = format!("{PLACES} bound, {AHEAD} ahead never sent, {AHEAD} behind them sent");
        faults::record("F1", "kill -9 with sends ahead of their turn", 1, &result);
    }
);

story!(
    whoever_is_ahead_is_withheld_once_the_provider_does_not_answer,
    async |database: Database| {
        let mut scene = start(database).await;
        // One more in a row opens the circuit.
        for _ in 0..4 {
            scene.twilio.next(Behaviour::Fail500WithoutAccept);
            scene.ask(1).await;
            scene.at_rest().await;
        }
        let (_, waiting) = full(&mut scene, Behaviour::Hang).await;
        let requests = scene.twilio.requests();
        scene.proxy.reset_all();
        let withheld = "select count(*) from requests where delivery = 'queued' and delivery_code = 'withheld'";
        let ahead = i64::try_from(AHEAD).unwrap();
        until("those ahead are withheld", async || {
            scene.database.number(withheld).await == ahead
        })
        .await;
        assert_eq!(scene.twilio.requests(), requests);
        // After the pause one tries the way for the others.
        scene.at_rest().await;
        for one in &waiting {
            assert_eq!(scene.standing(one).await, "accepted");
        }
        assert_eq!(scene.twilio.requests(), requests + waiting.len());
        assert_eq!(scene.twilio.reached_twice(), Vec::<String>::new());
    }
);
