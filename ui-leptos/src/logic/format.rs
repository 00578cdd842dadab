//! Numbers, sizes and lengths of time, as people read them.

/// `1,234,567`.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// `1.5 MiB`.
pub fn bytes(number: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if number < 1024 {
        return format!("{number} B");
    }
    // In whole tenths: printing fractions of any size would bring 4 kB of code into the browser.
    let mut unit = 1_u128 << 10;
    let mut name = "KiB";
    for larger in UNITS.into_iter().skip(1) {
        if u128::from(number) < unit << 10 {
            break;
        }
        unit <<= 10;
        name = larger;
    }
    let tenths = (u128::from(number) * 10 + unit / 2) / unit;
    if tenths >= 1_000 || tenths.is_multiple_of(10) {
        format!("{} {name}", (tenths + 5) / 10)
    } else {
        format!("{}.{} {name}", tenths / 10, tenths % 10)
    }
}

/// `420 ms`, `3.2 s`, `2 m 05 s`, `1 h 12 m`, `3 d 4 h`.
pub fn duration_us(micros: i64) -> String {
    let micros = micros.max(0);
    let millis = micros / 1_000;
    let seconds = micros / 1_000_000;
    match seconds {
        0 if micros == 0 => "< 1 ms".to_owned(),
        0 if micros < 1_000 => format!("{micros} µs"),
        0 => format!("{millis} ms"),
        1..=9 => format!("{}.{} s", seconds, (millis % 1_000) / 100),
        10..=59 => format!("{seconds} s"),
        60..=3_599 => format!("{} m {:02} s", seconds / 60, seconds % 60),
        3_600..=86_399 => format!("{} h {:02} m", seconds / 3_600, (seconds % 3_600) / 60),
        _ => format!("{} d {} h", seconds / 86_400, (seconds % 86_400) / 3_600),
    }
}

/// The unit and number of a time ago, for the catalogue: `("minute", 5)`.
pub fn ago_secs(seconds: i64) -> (&'static str, i64) {
    match seconds.max(0) {
        0..=4 => ("now", 0),
        seconds @ 5..=59 => ("second", seconds),
        seconds @ 60..=3_599 => ("minute", seconds / 60),
        seconds @ 3_600..=86_399 => ("hour", seconds / 3_600),
        seconds => ("day", seconds / 86_400),
    }
}

/// The start of an id, enough to find it again: ids begin with their time, and eight letters last for a minute.
pub fn short_id(id: &str) -> &str {
    id.get(..13).unwrap_or(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_grouped() {
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(1_000), "1,000");
        assert_eq!(count(734_112), "734,112");
        assert_eq!(count(1_234_567), "1,234,567");
    }

    #[test]
    fn sizes_have_units() {
        assert_eq!(bytes(512), "512 B");
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1024), "1 KiB");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(bytes(150 * 1024 + 600), "151 KiB");
        assert_eq!(bytes(u64::MAX), "16384 PiB");
        assert_eq!(bytes(8 * 1024 * 1024 * 1024), "8 GiB");
    }

    #[test]
    fn durations_read_well() {
        assert_eq!(duration_us(0), "< 1 ms");
        assert_eq!(duration_us(900), "900 µs");
        assert_eq!(duration_us(420_000), "420 ms");
        assert_eq!(duration_us(3_250_000), "3.2 s");
        assert_eq!(duration_us(125_000_000), "2 m 05 s");
        assert_eq!(duration_us(4_320_000_000), "1 h 12 m");
        assert_eq!(duration_us(-5), "< 1 ms");
    }
}
