//! Cells: how times, labels and states are written.

use std::{collections::HashMap, time::Duration};

use opslink::{
    convert,
    pb::{self, Role},
    time::UnixMicros,
};

use crate::{duration, text::text};

type Timestamp = Option<pbjson_types::Timestamp>;

/// Writes a point in time in the user's time zone, `–` when there is none.
pub(crate) fn time(timestamp: &Timestamp) -> String {
    let Some(timestamp) = timestamp else {
        return "–".to_owned();
    };
    match jiff::Timestamp::from_microsecond(convert::unix_micros(timestamp).0) {
        Ok(time) => time
            .to_zoned(jiff::tz::TimeZone::system())
            .strftime("%Y-%m-%d %H:%M:%S")
            .to_string(),
        Err(_) => "–".to_owned(),
    }
}

/// Writes how long ago something was: `3 min 5 s`.
pub(crate) fn ago(timestamp: &Timestamp) -> String {
    since(timestamp, UnixMicros::now())
}

/// Writes the time from a point until `now`.
fn since(timestamp: &Timestamp, now: UnixMicros) -> String {
    timestamp
        .as_ref()
        .map_or_else(|| "–".to_owned(), |from| coarse(now.since(convert::unix_micros(from))))
}

/// Writes how long until something is; `over` when it is past.
pub(crate) fn until(timestamp: &Timestamp) -> String {
    let Some(end) = timestamp else { return "–".to_owned() };
    let left = convert::unix_micros(end).since(UnixMicros::now());
    if left.is_zero() {
        "over".to_owned()
    } else {
        coarse(left)
    }
}

/// Ages are whole seconds: the clocks of two machines do not agree better than that. From ten minutes on they are whole
/// minutes: what lives for an hour has `1 h` left a second later, not `59 min 59 s`.
fn coarse(age: Duration) -> String {
    match age.as_secs() {
        0..=59 => format!("{} s", age.as_secs()),
        60..=599 => duration::show(Duration::from_secs(age.as_secs())),
        secs => duration::show(Duration::from_secs((secs + 30) / 60 * 60)),
    }
}

/// Writes labels: `dc=bj,env=prod`.
pub(crate) fn labels(labels: &HashMap<String, String>) -> String {
    let mut pairs: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    pairs.sort_unstable();
    if pairs.is_empty() {
        "–".to_owned()
    } else {
        pairs.join(",")
    }
}

/// Writes a list: `a,b`.
pub(crate) fn list(items: &[String]) -> String {
    if items.is_empty() {
        "–".to_owned()
    } else {
        items.join(",")
    }
}

/// Writes a role.
pub(crate) fn role(role: i32) -> String {
    match Role::try_from(role) {
        Ok(Role::Viewer) => "viewer",
        Ok(Role::Operator) => "operator",
        Ok(Role::Admin) => "admin",
        Ok(Role::Unspecified) | Err(_) => "–",
    }
    .to_owned()
}

/// Writes a state for people, in their language; `word` is that of the API.
pub(crate) fn state(word: &str) -> String {
    text(&format!("state-{}", word.replace('_', "-")), &[])
}

/// Writes the state of a task.
pub(crate) fn task_state(state: i32) -> &'static str {
    match pb::TaskState::try_from(state) {
        Ok(pb::TaskState::Pending) => "pending",
        Ok(pb::TaskState::Running) => "running",
        Ok(pb::TaskState::Succeeded) => "succeeded",
        Ok(pb::TaskState::Failed) => "failed",
        Ok(pb::TaskState::Canceled) => "canceled",
        Ok(pb::TaskState::Unspecified) | Err(_) => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use opslink::task::ExecutionState;

    use super::*;

    #[test]
    fn every_state_has_the_word_of_the_api_in_english() {
        for known in ExecutionState::ALL {
            assert_eq!(state(known.word()), known.word());
        }
        for known in 0..=5 {
            assert_eq!(state(task_state(known)), task_state(known));
        }
    }

    #[test]
    fn labels_have_one_order() {
        let map = HashMap::from([("env".into(), "prod".into()), ("dc".into(), "bj".into())]);
        assert_eq!(labels(&map), "dc=bj,env=prod");
    }

    #[test]
    fn an_age_is_coarse_and_an_absent_time_is_a_dash() {
        let start = convert::timestamp(UnixMicros(1_000_000));
        assert_eq!(since(&Some(start), UnixMicros(4_700_000)), "3 s");
        assert_eq!(time(&None), "–");
        assert_eq!(coarse(Duration::from_secs(3_599)), "1 h");
        assert_eq!(coarse(Duration::from_secs(12 * 60 + 31)), "13 min");
        assert_eq!(coarse(Duration::from_secs(65)), "1 min 5 s");
    }
}
