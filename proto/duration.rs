//! Durations as people write them: `90`, `30s`, `5 mins`, `1h30m`, `7d`.

use std::time::Duration;

/// Reads a duration; a bare number is seconds, and only when it stands alone: `5m5` could be anything.
///
/// # Errors
/// A sentence that quotes what was written.
pub fn parse(text: &str) -> Result<Duration, String> {
    let bad = || format!("`{text}` is not a duration; write 30s, 5m, 2h or 1h30m");
    let mut total: u64 = 0;
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(bad());
    }
    let alone = rest.bytes().all(|byte| byte.is_ascii_digit());
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, after) = rest.split_at(digits);
        let number: u64 = number.parse().map_err(|_| bad())?;
        let after = after.trim_start();
        let letters = after.len() - after.trim_start_matches(|c: char| c.is_ascii_alphabetic()).len();
        let (unit, after) = after.split_at(letters);
        let seconds = match unit {
            "" if alone => 1,
            "s" | "sec" | "secs" | "second" | "seconds" => 1,
            "m" | "min" | "mins" | "minute" | "minutes" => 60,
            "h" | "hr" | "hrs" | "hour" | "hours" => 3_600,
            "d" | "day" | "days" => 86_400,
            _ => return Err(bad()),
        };
        total = number
            .checked_mul(seconds)
            .and_then(|part| total.checked_add(part))
            .ok_or_else(bad)?;
        rest = after.trim_start();
    }
    if total == 0 {
        Err(format!("`{text}` is no time at all; give at least 1s"))
    } else {
        Ok(Duration::from_secs(total))
    }
}

/// Reads a duration that must fit the wire's `uint32` seconds.
///
/// # Errors
/// As [`parse`], or it is too long.
pub fn parse_secs(text: &str) -> Result<u32, String> {
    let duration = parse(text)?;
    u32::try_from(duration.as_secs()).map_err(|_| format!("`{text}` is too long; at most 136 years"))
}

/// Shows a duration in the least characters that still say it: `7 ms`, `1.2 s`, `3 min 5 s`, `2 h 4 min`, `1 h`.
/// Rounded before it is split, so that no part is ever 60.
pub fn show(duration: Duration) -> String {
    let millis = duration.as_millis();
    let tenths = (millis + 50) / 100;
    let secs = (millis + 500) / 1_000;
    let mins = (secs + 30) / 60;
    let hours = (mins + 30) / 60;
    if millis == 0 {
        format!("{} µs", duration.as_micros())
    } else if millis < 1_000 {
        format!("{millis} ms")
    } else if tenths < 600 {
        format!("{}.{} s", tenths / 10, tenths % 10)
    } else if secs < 3_600 {
        two(secs, 60, "min", "s")
    } else if mins < 1_440 {
        two(mins, 60, "h", "min")
    } else {
        two(hours, 24, "d", "h")
    }
}

/// Writes two units, the smaller one only when there is something of it.
fn two(count: u128, per: u128, large: &str, small: &str) -> String {
    match count % per {
        0 => format!("{} {large}", count / per),
        rest => format!("{} {large} {rest} {small}", count / per),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_write_durations_in_many_ways() {
        for (text, secs) in [
            ("90", 90),
            ("30s", 30),
            ("5m", 300),
            ("2h", 7_200),
            ("1h30m", 5_400),
            ("7d", 604_800),
            ("5 mins", 300),
            (" 1 h 30 min ", 5_400),
            ("2 days", 172_800),
        ] {
            assert_eq!(parse(text).unwrap().as_secs(), secs, "{text}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            "",
            "s",
            "5x",
            "-1s",
            "1.5h",
            "0",
            "0s",
            "99999999999999999999s",
            "5m5",
            "5 5",
            "m5",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert!(parse_secs("60000d").is_err());
    }

    #[test]
    fn durations_are_shown_short() {
        assert_eq!(show(Duration::from_micros(40)), "40 µs");
        assert_eq!(show(Duration::from_millis(7)), "7 ms");
        assert_eq!(show(Duration::from_millis(1_240)), "1.2 s");
        assert_eq!(show(Duration::from_secs(185)), "3 min 5 s");
        assert_eq!(show(Duration::from_secs(7_440)), "2 h 4 min");
        assert_eq!(show(Duration::from_millis(59_970)), "1 min");
        assert_eq!(show(Duration::from_millis(3_599_700)), "1 h");
        assert_eq!(show(Duration::from_secs(86_399)), "1 d");
    }
}
