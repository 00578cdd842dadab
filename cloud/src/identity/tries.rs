//! Tries of passwords, as rows: a restart forgets none, and several clouds count together.
//!
//! A try is counted before the password is looked at, and all of them are forgotten when it was right. One that is refused
//! writes nothing, so a flood of them is no flood of rows.

use std::time::Duration;

use opslink::{problem::Problem, reason::Reason, time::UnixMicros};

use super::secret;
use crate::{status::store_problem, store::Store};

/// Tries of one name from one address in one window. OWASP and Vault allow about five; ten forgives a clumsy person and
/// still means 120 an hour. Nobody elsewhere can use up a person's tries and so keep that person out; what many addresses
/// can try together is bounded by the cost of a hash, two at a time (`password`).
const TRIES_MAX: u32 = 10;
const WINDOW: Duration = Duration::from_secs(5 * 60);

/// The row of one name from one address. Of the name only its hash: it may be as long as a message.
pub(super) fn key(name: &str, address: &str) -> String {
    format!("{address} {}", hex::encode(secret::hash(name)))
}

/// Counts one try; the first one begins a window.
///
/// # Errors
/// `TOO_MANY_ATTEMPTS` with the seconds until the window ends, or the store's.
pub(super) async fn take(store: &Store, key: &str, now: UnixMicros) -> Result<(), Problem> {
    let row = store.login_limit_get(key).await.map_err(store_problem)?;
    let row = row.filter(|row| row.lease_until > now);
    let end = row.as_ref().map_or_else(|| now.plus(WINDOW), |row| row.lease_until);
    let count = match row {
        Some(row) if row.count >= TRIES_MAX => row.count.saturating_add(1),
        _ => {
            let added = store.login_limit_add(key.to_owned(), now, end).await;
            added.map_err(store_problem)?
        }
    };
    if count <= TRIES_MAX {
        return Ok(());
    }
    Err(Problem::new(Reason::TooManyAttempts).with("seconds", end.since(now).as_secs().max(1)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::memory::MemoryStore;

    const NOW: UnixMicros = UnixMicros(1_800_000_000_000_000);

    #[tokio::test]
    async fn ten_tries_pass_in_a_window_also_across_a_restart() {
        let store = Store::from(MemoryStore::new());
        for _ in 0..TRIES_MAX {
            take(&store, "a", NOW).await.unwrap();
        }
        let minute = NOW.plus(Duration::from_secs(60));
        let refused = take(&store, "a", minute).await.unwrap_err();
        assert_eq!(refused.reason, Reason::TooManyAttempts);
        assert!(refused.to_string().contains("240"), "{refused}");
        take(&store, "b", minute).await.unwrap();
        take(&store, "a", NOW.plus(WINDOW)).await.unwrap();
    }
}
