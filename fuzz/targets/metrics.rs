//! `metrics.jsonl` and `evaluations.jsonl`: read, and opened to resume after the third update.
#![no_main]

use std::fs;

use libfuzzer_sys::fuzz_target;
use mae_fuzz::file;
use mae_report::{RecordWriter, read_evaluations, read_records};

fuzz_target!(|data: &[u8]| {
    let path = file("metrics.jsonl", data);
    let _ = read_evaluations(&path);
    let records = read_records(&path);
    if RecordWriter::open(&path, 3).is_err() {
        assert_eq!(fs::read(&path).expect("it was written"), data, "refused, and changed");
        return;
    }
    let kept = read_records(&path).expect("it was opened");
    assert!(kept.iter().all(|record| record.step <= 3));
    if let Ok(records) = records {
        let before = records.iter().take_while(|record| record.step <= 3).count();
        assert_eq!(kept.len(), before);
    }
});
