//! A million steps of everything that can go wrong: the rules of carrying, settling and answering, driven through crashes, sleeps,
//! lost commits, a provider that lies by silence, and contacts who answer whenever they like. All of it is drawn from a seed; a
//! seed that breaks a law is printed with its last steps, and `ONEFIVE_TEST_SEED=n` plays it again with every step.
//!
//! Pure: no files, no sockets, no clock but its own. `world` is the stage, `store` and `provider` are the doubles, `laws` is what
//! must hold, `mutation` breaks the rules on purpose.

mod answers;
mod dice;
mod laws;
mod mutation;
mod outside;
mod plan;
mod provider;
mod replica;
mod settle;
mod store;
mod worker;
mod world;

use std::collections::BTreeMap;
use std::hash::Hasher as _;

use crate::support::faults;
use mutation::Mutation;
use world::{Broken, World};

/// Steps that one run takes at least.
const STEPS: u64 = 1_000_000;
/// The last steps that are shown of a world that broke a law.
const SHOWN: usize = 60;
/// In so many worlds a broken rule has to be found.
const FOUND_WITHIN: u64 = 400;

fn broken(seed: u64, mutation: Option<Mutation>) -> Option<Broken> {
    World::new(seed, mutation, false).run().err()
}

/// What to show of a seed: the law it broke, and its last steps, played again.
fn story(seed: u64, all: bool) -> String {
    let mut world = World::new(seed, None, true);
    let ended = world.run();
    let trace = world.trace.take().unwrap_or_default();
    let from = if all {
        0
    } else {
        trace.len().saturating_sub(SHOWN)
    };
    let (steps, plan) = (trace[from..].join("\n"), &world.plan);
    let ended = ended.map_or_else(|broken| broken.rule, |()| "every law holds".to_owned());
    format!("{plan:?}\n{steps}\nseed {seed}: {ended}\nplay it again: ONEFIVE_TEST_SEED={seed}")
}

#[test]
fn no_law_is_broken_in_a_million_steps() {
    if let Ok(seed) = std::env::var("ONEFIVE_TEST_SEED") {
        let seed = seed.parse().expect("ONEFIVE_TEST_SEED is a number");
        println!("{}", story(seed, true));
        assert!(broken(seed, None).is_none(), "seed {seed} breaks a law");
        return;
    }
    let wanted = STEPS * faults::count(1, 10) as u64;
    let mut tally = BTreeMap::<&str, u64>::new();
    let (mut steps, mut injected, mut messages, mut ratings, mut worlds) = (0, 0, 0, 0, 0);
    for seed in 1.. {
        let mut world = World::new(seed, None, false);
        assert!(world.run().is_ok(), "{}", story(seed, false));
        steps += world.steps;
        injected += world.faults;
        messages += world.provider.ledger.len();
        for (what, times) in &world.tally {
            *tally.entry(*what).or_insert(0) += times;
        }
        ratings += world
            .store
            .rows
            .iter()
            .filter(|row| row.rating.is_some())
            .count();
        worlds = seed;
        if steps >= wanted {
            break;
        }
    }
    // A world in which nothing happens would break no law either.
    println!("{tally:#?}");
    assert_eq!(tally.len(), 13, "something has not happened at all");
    assert!(tally.values().all(|times| *times >= 20), "{tally:?}");
    assert!(
        ratings * 4 > messages,
        "{ratings} ratings of {messages} messages"
    );
    let result = format!(
        "no law broken in {steps} steps of {worlds} worlds with {messages} messages and {ratings} ratings"
    );
    let injected = usize::try_from(injected).unwrap_or(usize::MAX);
    faults::record(
        "sim",
        "crash, loss and delay between every two steps",
        injected,
        &result,
    );
}

#[test]
fn a_seed_is_the_same_world_every_time() {
    for seed in [1, 7, 42, 4_711] {
        let play = || {
            let mut world = World::new(seed, None, true);
            let ended = world.run().is_ok();
            (ended, world.steps, world.hasher.finish(), world.trace)
        };
        assert_eq!(play(), play(), "seed {seed}");
        let mut silent = World::new(seed, None, false);
        let _ = silent.run();
        assert_eq!(silent.hasher.finish(), play().2, "looking changes nothing");
    }
    let ends: std::collections::BTreeSet<u64> = (1..50)
        .map(|seed| {
            let mut world = World::new(seed, None, false);
            let _ = world.run();
            world.hasher.finish()
        })
        .collect();
    assert_eq!(ends.len(), 49, "each seed is a world of its own");
}

#[test]
fn every_rule_that_is_broken_on_purpose_is_found() {
    for mutation in Mutation::ALL {
        let found = (1..=FOUND_WITHIN).find_map(|seed| Some((seed, broken(seed, Some(mutation))?)));
        let (seed, broken) = found.unwrap_or_else(|| panic!("{mutation:?} is not found"));
        println!(
            "{mutation:?}: seed {seed}, step {}: {}",
            broken.step, broken.rule
        );
    }
}
