//! Ten million random replies through the reader: it may never panic, and what it answers must hold together. Seeded, so that a
//! failure comes back.

use onefive::channel::reading;
use onefive::domain::reply::Understood;

const REPLIES: u64 = 10_000_000;
/// As many shares as small machines have processors; fixed, so that the replies are the same everywhere.
const THREADS: u64 = 2;

/// `SplitMix64`: enough to choose test inputs, and the same on every machine.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.roll() % u64::try_from(bound.max(1)).unwrap()).unwrap()
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

/// Characters that the rules look at, beside any other.
const SPECIAL: &[&str] = &[
    "1",
    "2",
    "3",
    "4",
    "5",
    "0",
    "6",
    "10",
    "/",
    "-",
    ".",
    ",",
    "'",
    "?",
    "!",
    "*",
    "#",
    "$",
    "%",
    ":",
    "\n",
    " ",
    "\t",
    "⭐",
    "★",
    "☆",
    "🛑",
    "👎",
    "\u{fe0f}",
    "\u{20e3}",
    "\u{200d}",
    "\u{202e}",
    "\u{2067}",
    "\u{300}",
    "½",
    "④",
    "٤",
    "４",
    "№",
    "ß",
    "İ",
    "ﬁ",
    "<3",
    "(",
    ")",
    "\"",
    "\u{0}",
    "\u{feff}",
    "\u{e0041}",
];

struct Source {
    replies: Vec<String>,
    words: Vec<String>,
}

impl Source {
    fn new() -> Self {
        let replies: Vec<String> = super::corpus().into_iter().map(|row| row.reply).collect();
        let words = replies
            .iter()
            .flat_map(|reply| reply.split_whitespace().map(str::to_owned));
        Self {
            words: words.collect(),
            replies,
        }
    }

    fn reply(&self, dice: &mut Dice) -> String {
        match dice.below(4) {
            0 => any_characters(dice),
            1 => {
                let bytes: Vec<u8> = (0..dice.below(24))
                    .map(|_| dice.roll().to_le_bytes()[0])
                    .collect();
                String::from_utf8_lossy(&bytes).into_owned()
            }
            2 => self.mutated(dice),
            _ => self.soup(dice),
        }
    }

    fn mutated(&self, dice: &mut Dice) -> String {
        let mut reply: Vec<char> = dice.pick(&self.replies).chars().collect();
        for _ in 0..=dice.below(3) {
            let at = dice.below(reply.len() + 1);
            let other: Vec<char> = dice.pick::<&str>(SPECIAL).chars().collect();
            match dice.below(3) {
                0 if at < reply.len() => drop(reply.remove(at)),
                1 if at < reply.len() => drop(reply.splice(at..=at, other)),
                _ => drop(reply.splice(at..at, other)),
            }
        }
        reply.into_iter().collect()
    }

    fn soup(&self, dice: &mut Dice) -> String {
        let mut reply = String::new();
        for _ in 0..dice.below(7) {
            match dice.below(3) {
                0 => reply.push_str(dice.pick::<&str>(SPECIAL)),
                _ => reply.push_str(dice.pick::<String>(&self.words)),
            }
            if dice.below(4) > 0 {
                reply.push(' ');
            }
        }
        reply
    }
}

fn any_characters(dice: &mut Dice) -> String {
    (0..dice.below(12))
        .filter_map(|_| match dice.below(3) {
            0 => char::from_u32(u32::try_from(dice.below(0x80)).unwrap()),
            1 => char::from_u32(u32::try_from(dice.below(0x3000)).unwrap()),
            _ => char::from_u32(u32::try_from(dice.below(0x11_0000)).unwrap()),
        })
        .collect()
}

/// What is read must be in what was written.
fn check(raw: &str) -> bool {
    match reading::text(raw) {
        Understood::Rating(score, comment) => {
            assert!(
                (1..=5).contains(&score.get()) && raw.contains(&comment),
                "{raw:?}"
            );
            true
        }
        Understood::Words(words) => {
            assert_eq!(words, raw.trim());
            false
        }
        Understood::Stop | Understood::Start | Understood::Help | Understood::Reaction => false,
    }
}

#[test]
fn millions_of_random_replies_are_read_without_a_panic() {
    let source = Source::new();
    let began = std::time::Instant::now();
    let ratings: u64 = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let source = &source;
                scope.spawn(move || {
                    let mut dice = Dice(thread);
                    (0..REPLIES / THREADS)
                        .map(|_| u64::from(check(&source.reply(&mut dice))))
                        .sum::<u64>()
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .sum()
    });
    let took = began.elapsed();
    let line =
        format!("{REPLIES} random replies in {took:.1?}, {ratings} of them ratings, no panic");
    super::figures("random", &line);
    assert!(ratings > REPLIES / 1000, "the random replies reach no rule");
}
