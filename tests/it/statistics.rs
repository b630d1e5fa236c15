//! Our intervals and tests beside those of `SciPy` and `statsmodels`, for hundreds of groups from one answer to a million.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use onefive::domain::statistics::interval::{
    Estimate, Moments, binomial, holm, newcombe, welch, wilson,
};
use serde_json::{Value, json};

use crate::support::part;

/// Numbers that look like chance and are the same each time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> i64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        i64::try_from((self.0 >> 33) % sides).unwrap()
    }

    /// How many, of all sizes.
    fn size(&mut self) -> i64 {
        let most = [3, 10, 40, 1_000, 100_000][usize::try_from(self.roll(5)).unwrap()];
        self.roll(most) + 1
    }

    fn share(&mut self) -> (i64, i64) {
        let n = self.size();
        let hits = match self.roll(6) {
            0 => 0,
            1 => n,
            _ => self.roll(n.unsigned_abs() + 1),
        };
        (hits, n)
    }

    /// Scores that are not all the same.
    fn scores(&mut self) -> [i64; 5] {
        loop {
            let most = self.size().unsigned_abs();
            let counts: [i64; 5] = std::array::from_fn(|_| {
                if self.roll(3) == 0 {
                    0
                } else {
                    self.roll(most)
                }
            });
            if counts.iter().filter(|count| **count > 0).count() > 1 {
                return counts;
            }
        }
    }
}

fn all(estimate: Estimate) -> Vec<f64> {
    vec![
        estimate.value,
        estimate.low.unwrap(),
        estimate.high.unwrap(),
    ]
}

fn cases() -> Value {
    let dice = &mut Dice(1);
    let shares: Vec<Value> = (0..400)
        .map(|_| {
            let (hits, n) = dice.share();
            let ours = wilson(hits, n).unwrap();
            json!({"hits": hits, "n": n, "ours": [ours.low, ours.high]})
        })
        .collect();
    let differences: Vec<Value> = (0..300)
        .map(|_| {
            let (first, second) = (dice.share(), dice.share());
            json!({"first": first, "second": second, "ours": all(newcombe(first, second).unwrap())})
        })
        .collect();
    let means: Vec<Value> = (0..300)
        .map(|_| {
            let counts = dice.scores();
            json!({"counts": counts, "ours": all(Moments::of(&counts).unwrap().interval())})
        })
        .collect();
    let pairs: Vec<Value> = (0..300)
        .map(|_| {
            let (first, second) = (dice.scores(), dice.scores());
            let ours = welch(Moments::of(&first).unwrap(), Moments::of(&second).unwrap());
            json!({"first": first, "second": second, "ours": all(ours)})
        })
        .collect();
    let tests: Vec<Value> = (0..300)
        .map(|_| {
            let (hits, n) = dice.share();
            let p = [0.01, 0.2, 0.5, 0.9, 0.999][usize::try_from(dice.roll(5)).unwrap()];
            json!({"hits": hits, "n": n, "p": p, "ours": [binomial(hits, n, p).unwrap()]})
        })
        .collect();
    let many: Vec<Value> = (1..40)
        .map(|count| {
            let each: Vec<f64> = (0..count)
                .map(|_| f64::from(i32::try_from(dice.roll(10_000)).unwrap()) / 1e5)
                .collect();
            json!({"each": each, "ours": holm(&each)})
        })
        .collect();
    json!({"wilson": shares, "newcombe": differences, "mean": means, "welch": pairs, "binomial": tests, "holm": many})
}

#[test]
fn our_statistics_are_those_of_scipy_and_statsmodels() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/statistics/check.py");
    let mut reference = Command::new(part("ONEFIVE_TEST_STATISTICS"))
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = reference.stdin.take().unwrap();
    input.write_all(cases().to_string().as_bytes()).unwrap();
    drop(input);
    let said = reference.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&said.stdout);
    assert!(said.status.success(), "{text}");
    assert_eq!(
        text.lines()
            .filter(|line| line.contains("cases, at most"))
            .count(),
        6,
        "{text}"
    );
    println!("{text}");
}
