//! The book of injected faults: every story about a fault says what it did and what came of it.

use std::io::Write as _;
use std::path::Path;

use serde_json::json;

/// Notes that `injected` faults of one kind were met with `result`, for the table that is printed at the end of a run.
/// One write to a file that is only ever appended to, so stories may note at the same time.
pub(crate) fn record(id: &str, fault: &str, injected: usize, result: &str) {
    let line = json!({"id": id, "fault": fault, "count": injected, "result": result});
    println!("{line}");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target");
    std::fs::create_dir_all(&folder).unwrap();
    let mut book = std::fs::File::options()
        .create(true)
        .append(true)
        .open(folder.join("faults.jsonl"))
        .unwrap();
    book.write_all(format!("{line}\n").as_bytes()).unwrap();
}

/// How many faults a story injects: `ci` in every run of the suite, `soak` with `ONEFIVE_TEST_SOAK=1`.
pub(crate) fn count(ci: usize, soak: usize) -> usize {
    if std::env::var("ONEFIVE_TEST_SOAK").is_ok_and(|value| value == "1") {
        soak
    } else {
        ci
    }
}
