//! The English words that the reader of scores knows. Another language is another list, not another rule.

/// The scores as words, worst first.
pub(super) const VALUES: [&str; 5] = ["one", "two", "three", "four", "five"];

/// Words that are a number or change one. One of them beside a value leaves more than one way to read the reply.
pub(super) const OTHER_VALUES: &[&str] = &[
    "zero", "none", "half", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "dozen",
    "twenty", "hundred", "thousand", "first", "second", "third", "fourth", "fifth", "last", "next",
    "minus", "plus", "percent",
];
/// Words before a value inside a sentence that take it back.
pub(super) const DOUBT: &[&str] = &[
    "not", "no", "never", "t", "cannot", "than", "less", "more", "almost", "nearly", "under",
    "over", "about", "around", "between", "below", "above", "until", "if", "wanted", "going",
    "could", "should", "might", "maybe", "perhaps", "have", "had", "or", "unless", "usually",
    "normally", "why", "what", "how", "instead", "would've", "hardly", "barely", "but", "except",
];
/// Words that may follow a value at the start without a mark between them, because they cannot be what is counted.
pub(super) const FOLLOWS: &[&str] = &[
    "but", "because", "cause", "cos", "since", "though", "although", "thanks", "thank", "thx",
    "from",
];
/// The same, as long as the value agrees with them.
pub(super) const FOLLOWS_GOOD: &[&str] = &[
    "good",
    "great",
    "excellent",
    "perfect",
    "awesome",
    "amazing",
    "fantastic",
    "super",
    "wonderful",
    "brilliant",
    "nice",
    "happy",
    "best",
    "outstanding",
    "superb",
    "fast",
    "quick",
];
/// The same for blame.
pub(super) const FOLLOWS_BAD: &[&str] = &[
    "bad",
    "poor",
    "terrible",
    "awful",
    "horrible",
    "worst",
    "useless",
    "slow",
    "rude",
    "disappointing",
    "disappointed",
    "unhappy",
];
/// The same for scores in the middle.
pub(super) const FOLLOWS_MIDDLING: &[&str] = &["ok", "okay", "average", "mediocre", "fine"];
/// Words that may stand before a value that ends the reply.
pub(super) const GREETING: &[&str] = &[
    "hi",
    "hello",
    "hey",
    "thanks",
    "thank",
    "you",
    "thx",
    "ok",
    "okay",
    "yes",
    "sure",
    "answer",
    "a",
    "an",
    "definitely",
    "def",
    "absolutely",
    "easily",
    "very",
    "really",
    "service",
    "job",
    "work",
    "help",
    "support",
    "so",
    "much",
];
/// Words that only make the next one stronger.
pub(super) const STRONGER: &[&str] = &["very", "really", "so", "too", "absolutely"];
/// What scores are counted in.
pub(super) const UNIT: &[&str] = &["star", "stars", "point", "points"];
/// Words between an article and a value: "a solid four".
pub(super) const ADJECTIVES: &[&str] = &[
    "solid", "strong", "clear", "definite", "firm", "big", "full", "easy", "straight",
];
/// Words that say that a value is given.
pub(super) const CUES: &[&str] = &[
    "give", "gave", "giving", "rate", "rated", "rating", "score", "scored", "vote", "grade",
];
/// Words between such a word and the value: "I give it a 4".
pub(super) const OBJECTS: &[&str] = &[
    "it", "this", "that", "you", "him", "her", "them", "is", "of", "the", "service", "call", "as",
    "was", "my",
];
/// What praise is about, and what goes on after it: "5 great service and fast".
pub(super) const WORK: &[&str] = &["service", "job", "work", "help", "support", "and"];
