//! What the stories about faults report: one line each, from which the table at the end of a test run is made.

use std::io::Write as _;
use std::path::Path;

/// How often a fault is made: a few times in every run, many times with `ONEFIVE_TEST_SOAK=1`.
pub(crate) fn count(ci: usize, soak: usize) -> usize {
    if std::env::var("ONEFIVE_TEST_SOAK").is_ok_and(|soak| soak == "1") {
        soak
    } else {
        ci
    }
}

/// Writes down that a fault was made `count` times, and what came of it.
pub(crate) fn record(id: &str, fault: &str, count: usize, result: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target");
    std::fs::create_dir_all(&folder).unwrap();
    let line = serde_json::json!({"id": id, "fault": fault, "count": count, "result": result});
    let mut file = std::fs::File::options()
        .create(true)
        .append(true)
        .open(folder.join("faults.jsonl"))
        .unwrap();
    file.write_all(format!("{line}\n").as_bytes()).unwrap();
    println!("{line}");
}
