//! Passwords: Argon2id on a bounded number of threads.
//!
//! Hashing is itself a way to exhaust a server (19 MiB and 20 ms each), so two at most run at a time and a caller
//! waits only so long for a turn.

use std::{sync::Arc, time::Duration};

use argon2::{Argon2, PasswordHasher, PasswordVerifier};
use tokio::{sync::Semaphore, time::timeout};

/// Shortest password.
pub(crate) const MIN_CHARS: usize = 12;
/// Longest password, in bytes: more would only feed the hash.
pub(crate) const MAX_BYTES: usize = 1024;

const AT_ONCE: usize = 2;
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Error {
    /// Too many others are waiting. A retry helps.
    #[error("too many passwords are being checked")]
    Busy,
    /// Hashing failed.
    #[error("hashing a password: {0}")]
    Hash(String),
}

/// Hash of nobody's password: an unknown name takes as long as a known one. Zeros; what counts are the parameters.
const DECOY: &str = "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

#[derive(Debug, Clone)]
pub(super) struct Passwords {
    turns: Arc<Semaphore>,
}

impl Passwords {
    pub(super) fn new() -> Self {
        Self {
            turns: Arc::new(Semaphore::new(AT_ONCE)),
        }
    }

    /// Hashes a new password into a PHC string.
    pub(super) async fn hash(&self, password: String) -> Result<String, Error> {
        run(&self.turns, move || hash(password.as_bytes())).await
    }

    /// Tells whether the password is the one of this PHC string; `None` takes the same time and is never right.
    pub(super) async fn verify(&self, password: String, stored: Option<String>) -> Result<bool, Error> {
        run(&self.turns, move || {
            let expected = stored.as_deref().unwrap_or(DECOY);
            let right =
                password.len() <= MAX_BYTES && Argon2::default().verify_password(password.as_bytes(), expected).is_ok();
            Ok(right && stored.is_some())
        })
        .await
    }
}

/// Argon2id with the crate's defaults, which are OWASP's: 19 MiB, 2 passes, 1 lane.
fn hash(password: &[u8]) -> Result<String, Error> {
    let hash: argon2::password_hash::phc::PasswordHash = Argon2::default()
        .hash_password(password)
        .map_err(|error| Error::Hash(error.to_string()))?;
    Ok(hash.to_string())
}

async fn run<T: Send + 'static>(
    turns: &Arc<Semaphore>,
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let turn = timeout(LONGEST_WAIT, Arc::clone(turns).acquire_owned()).await;
    let Ok(Ok(turn)) = turn else { return Err(Error::Busy) };
    tokio::task::spawn_blocking(move || {
        // Held by the thread, not by the caller: who hangs up does not make room for one more.
        let _turn = turn;
        work()
    })
    .await
    .map_err(|error| Error::Hash(error.to_string()))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_right_password_of_a_known_user_is_right() {
        let passwords = Passwords::new();
        let stored = passwords.hash("correct horse".to_owned()).await.unwrap();
        assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{stored}");
        assert!(
            passwords
                .verify("correct horse".to_owned(), Some(stored.clone()))
                .await
                .unwrap()
        );
        assert!(
            !passwords
                .verify("correct horsf".to_owned(), Some(stored.clone()))
                .await
                .unwrap()
        );
        assert!(!passwords.verify("correct horse".to_owned(), None).await.unwrap());
        assert_eq!(
            DECOY.rsplit_once('$').map(|(_, hash)| hash.len()),
            stored.rsplit_once('$').map(|(_, hash)| hash.len())
        );
        assert!(
            !passwords
                .verify("correct horse".to_owned(), Some("garbage".to_owned()))
                .await
                .unwrap()
        );
        assert!(!passwords.verify("x".repeat(MAX_BYTES + 1), Some(stored)).await.unwrap());
    }
}
