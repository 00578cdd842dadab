//! Limits and environment as people type them. What cannot be read is an error and never a default: a time limit that
//! falls away in silence is a task that runs for an hour.

use opslink::duration;

/// A length of time in whole seconds; an empty text is 0, the cloud's default. `None` when it cannot be read.
pub fn seconds(text: &str) -> Option<u32> {
    if text.trim().is_empty() {
        return Some(0);
    }
    duration::parse_secs(text).ok()
}

/// A whole number above 0, as far as its type goes; an empty text is the default. `None` when it cannot be read.
pub fn number<N: std::str::FromStr + Default + PartialEq>(text: &str) -> Option<N> {
    let text = text.trim();
    if text.is_empty() {
        return Some(N::default());
    }
    // `parse` takes a sign.
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| digits && *number != N::default())
}

/// Lines of `NAME=value`; values are as they stand, with their spaces.
///
/// # Errors
/// The first line that is none.
pub fn environment(text: &str) -> Result<Vec<(String, String)>, String> {
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    lines
        .map(|line| match line.split_once('=') {
            Some((name, value)) if !name.trim().is_empty() => Ok((name.trim().to_owned(), value.to_owned())),
            Some(_) | None => Err(line.trim().to_owned()),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_or_refused() {
        assert_eq!(seconds(" "), Some(0));
        assert_eq!(seconds("5 mins"), Some(300));
        assert_eq!(seconds("1h30m"), Some(5_400));
        for text in ["soon", "1.5h", "-5m", "0", "99999999d"] {
            assert_eq!(seconds(text), None, "{text}");
        }
    }

    #[test]
    fn numbers_are_read_or_refused() {
        assert_eq!(number::<u32>(""), Some(0));
        assert_eq!(number::<u32>(" 3 "), Some(3));
        assert_eq!(number::<u64>("10000"), Some(10_000));
        for text in ["1.5", "-1", "+1", "0", "1e3", "two", "5000000000"] {
            assert_eq!(number::<u32>(text), None, "{text}");
        }
    }

    #[test]
    fn an_environment_is_read_or_refused() {
        let pairs = environment("A=1\n\n B = x = y \n").unwrap();
        let pairs: Vec<_> = pairs
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        assert_eq!(pairs, [("A", "1"), ("B", " x = y ")]);
        assert_eq!(environment("A=1\nFOO BAR\n"), Err("FOO BAR".to_owned()));
        assert_eq!(environment("=1"), Err("=1".to_owned()));
    }
}
