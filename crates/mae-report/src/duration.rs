//! Durations as text.

/// Formats seconds for people: `42 s`, `3 min 20 s`, `5 h 02 min`.
pub fn duration(seconds: f64) -> String {
    let s = if seconds.is_finite() { seconds.round() as u64 } else { 0 };
    match s {
        0..60 => format!("{s} s"),
        60..3600 => format!("{} min {:02} s", s / 60, s % 60),
        _ => format!("{} h {:02} min", s / 3600, s / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn durations_read_well() {
        let texts = [0.4, 59.6, 3599.0, 7385.0].map(super::duration);
        assert_eq!(texts, ["0 s", "1 min 00 s", "59 min 59 s", "2 h 03 min"]);
    }
}
