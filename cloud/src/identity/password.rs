//! Passwords: Argon2id on a bounded number of threads, in memory that is there once for each of them.
//!
//! Hashing is itself a way to exhaust a server (19 MiB and 20 ms each), so two at most run at a time and a caller
//! waits only so long for its turn ([`super::turns`]). The memory of a hash is kept for the next one: given back to the
//! allocator after each, it comes from elsewhere each time, and most of it stays.

use std::sync::{Arc, Mutex, PoisonError};

use argon2::{
    Algorithm, Argon2, Block, Params, Version,
    password_hash::{
        self,
        phc::{Output, ParamsString, PasswordHash, Salt},
    },
};

use super::turns::{Turn, Turns};

/// Shortest password.
pub(crate) const MIN_CHARS: usize = 12;
/// Longest password, in bytes: more would only feed the hash.
pub(crate) const MAX_BYTES: usize = 1024;

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

/// Where one hash is made.
type Memory = Vec<Block>;

#[derive(Debug, Clone)]
pub(super) struct Passwords {
    turns: Arc<Turns>,
    /// Not in use now. Whoever has a turn takes one, or makes the first, so there are no more than turns.
    memories: Arc<Mutex<Vec<Memory>>>,
}

impl Passwords {
    pub(super) fn new() -> Self {
        Self {
            turns: Arc::default(),
            memories: Arc::default(),
        }
    }

    /// Waits for leave to hash a password for somebody at this address.
    pub(super) async fn turn(&self, address: &str) -> Result<Turn, Error> {
        self.turns.take(address).await.ok_or(Error::Busy)
    }

    /// Hashes a new password into a PHC string.
    pub(super) async fn hash(&self, password: String, turn: Turn) -> Result<String, Error> {
        self.run(turn, move |memory| hash(password.as_bytes(), memory)).await
    }

    /// Tells whether the password is the one of this PHC string; `None` takes the same time and is never right.
    pub(super) async fn verify(&self, password: String, stored: Option<String>, turn: Turn) -> Result<bool, Error> {
        let turns = Arc::clone(&self.turns);
        let address = turn.address().to_owned();
        let right = self.run(turn, move |memory| {
            let expected = stored.as_deref().unwrap_or(DECOY);
            let right = password.len() <= MAX_BYTES && is_of(password.as_bytes(), expected, memory)?;
            Ok(right && stored.is_some())
        });
        let right = right.await?;
        if right {
            turns.was_right(&address);
        }
        Ok(right)
    }

    async fn run<T: Send + 'static>(
        &self,
        turn: Turn,
        work: impl FnOnce(&mut Memory) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let memories = Arc::clone(&self.memories);
        tokio::task::spawn_blocking(move || {
            let mut memory = memories
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .pop()
                .unwrap_or_default();
            let result = work(&mut memory);
            memories.lock().unwrap_or_else(PoisonError::into_inner).push(memory);
            // Held by the thread, not by the caller: who hangs up does not make room for one more. And given back behind
            // the memory, so that the next one finds it.
            drop(turn);
            result
        })
        .await
        .map_err(|error| Error::Hash(error.to_string()))?
    }
}

fn failed(error: impl std::fmt::Display) -> Error {
    Error::Hash(error.to_string())
}

fn fill(
    argon2: &Argon2<'_>,
    password: &[u8],
    salt: &[u8],
    output: &mut [u8],
    memory: &mut Memory,
) -> Result<(), Error> {
    let blocks = argon2.params().block_count();
    // Ours never ask for more; a row that does is damaged.
    if blocks > Params::DEFAULT.block_count() {
        return Err(failed("the stored hash asks for more memory than ours have"));
    }
    if memory.len() < blocks {
        memory.resize(blocks, Block::new());
    }
    let filled = argon2.hash_password_into_with_memory(password, salt, output, memory.as_mut_slice());
    filled.map_err(failed)
}

/// Argon2id with the crate's defaults, which are OWASP's: 19 MiB, 2 passes, 1 lane.
fn hash(password: &[u8], memory: &mut Memory) -> Result<String, Error> {
    let argon2 = Argon2::default();
    let salt = password_hash::try_generate_salt().map_err(failed)?;
    let mut output = [0; Params::DEFAULT_OUTPUT_LEN];
    fill(&argon2, password, &salt, &mut output, memory)?;
    let hash = PasswordHash {
        algorithm: Algorithm::default().ident(),
        version: Some(Version::default().into()),
        params: ParamsString::try_from(argon2.params()).map_err(failed)?,
        salt: Some(Salt::new(&salt).map_err(failed)?),
        hash: Some(Output::new(&output).map_err(failed)?),
    };
    Ok(hash.to_string())
}

/// Says whether a password is the one of a PHC string; never of a text that is none.
fn is_of(password: &[u8], expected: &str, memory: &mut Memory) -> Result<bool, Error> {
    let Some((argon2, salt, expected)) = parsed(expected) else {
        return Ok(false);
    };
    let mut buffer = [0; Output::MAX_LENGTH];
    let Some(output) = buffer.get_mut(..expected.len()) else {
        return Ok(false);
    };
    fill(&argon2, password, &salt, output, memory)?;
    // Compared in constant time: see `Output`.
    Ok(Output::new(output).is_ok_and(|output| output == expected))
}

fn parsed(hash: &str) -> Option<(Argon2<'static>, Salt, Output)> {
    let hash = PasswordHash::new(hash).ok()?;
    let algorithm = Algorithm::try_from(hash.algorithm.as_str()).ok()?;
    let version = hash.version.map_or(Ok(Version::default()), Version::try_from).ok()?;
    let params = Params::try_from(&hash).ok()?;
    Some((Argon2::new(algorithm, version, params), hash.salt?, hash.hash?))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn verify(passwords: &Passwords, password: &str, stored: Option<&str>) -> Result<bool, Error> {
        let turn = passwords.turn("a").await?;
        passwords
            .verify(password.to_owned(), stored.map(str::to_owned), turn)
            .await
    }

    #[tokio::test]
    async fn only_the_right_password_of_a_known_user_is_right() {
        let passwords = Passwords::new();
        let turn = passwords.turn("a").await.unwrap();
        let stored = passwords.hash("correct horse".to_owned(), turn).await.unwrap();
        assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{stored}");
        let right = async |password: &str, stored: Option<&str>| verify(&passwords, password, stored).await.unwrap();
        assert!(right("correct horse", Some(&stored)).await);
        assert!(!right("correct horsf", Some(&stored)).await);
        assert!(!right("correct horse", None).await);
        assert_eq!(
            DECOY.rsplit_once('$').map(|(_, hash)| hash.len()),
            stored.rsplit_once('$').map(|(_, hash)| hash.len())
        );
        assert!(!right("correct horse", Some("garbage")).await);
        assert!(!right(&"x".repeat(MAX_BYTES + 1), Some(&stored)).await);
        let endless = stored.replace("m=19456", "m=4194304");
        let refused = verify(&passwords, "correct horse", Some(&endless)).await;
        assert!(matches!(refused, Err(Error::Hash(_))), "{refused:?}");
    }

    /// What the crate itself makes of a password is the same, and the reverse.
    #[tokio::test]
    async fn hashes_of_before_are_read_and_ours_are_the_crates() {
        use argon2::{PasswordHasher as _, PasswordVerifier as _};

        let passwords = Passwords::new();
        let theirs: PasswordHash = Argon2::default().hash_password(b"correct horse").unwrap();
        let theirs = theirs.to_string();
        assert_eq!(verify(&passwords, "correct horse", Some(&theirs)).await, Ok(true));
        let turn = passwords.turn("a").await.unwrap();
        let ours = passwords.hash("correct horse".to_owned(), turn).await.unwrap();
        let argon2 = Argon2::default();
        assert!(argon2.verify_password(b"correct horse", ours.as_str()).is_ok());
        assert!(argon2.verify_password(b"correct horsf", ours.as_str()).is_err());
    }

    /// R1: each hash had memory of its own, which stayed: 480 MB after twenty logins.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_flood_of_logins_is_hashed_in_two_memories() {
        let passwords = Passwords::new();
        let flood: Vec<_> = (0..20)
            .map(|n| {
                let passwords = passwords.clone();
                tokio::spawn(async move {
                    let turn = passwords.turn(&format!("10.0.0.{n}")).await?;
                    passwords.verify("x".to_owned(), None, turn).await
                })
            })
            .collect();
        for one in flood {
            assert_eq!(one.await.unwrap(), Ok(false));
        }
        let places = |passwords: &Passwords| -> Vec<usize> {
            let memories = passwords.memories.lock().unwrap();
            memories.iter().map(|memory| memory.as_ptr().addr()).collect()
        };
        let first = places(&passwords);
        assert!(
            (1..=super::super::turns::AT_ONCE).contains(&first.len()),
            "{}",
            first.len()
        );
        assert_eq!(verify(&passwords, "x", None).await, Ok(false));
        let mut second = places(&passwords);
        second.sort_unstable();
        let mut first = first;
        first.sort_unstable();
        assert_eq!(first, second, "they live on");
    }

    #[tokio::test]
    async fn a_flood_of_one_address_waits_for_itself() {
        let passwords = Passwords::new();
        let all_turns = [passwords.turn("x").await.unwrap(), passwords.turn("y").await.unwrap()];
        let login = |address: &'static str| {
            let passwords = passwords.clone();
            tokio::spawn(async move {
                let turn = passwords.turn(address).await?;
                passwords.verify("x".to_owned(), None, turn).await
            })
        };
        let mut flood: Vec<_> = (0..20).map(|_| login("flood")).collect();
        let mut busy = 0;
        for one in flood.split_off(8) {
            busy += u32::from(one.await.unwrap() == Err(Error::Busy));
        }
        assert_eq!(busy, 12, "eight wait");
        let other = login("other");
        tokio::task::yield_now().await;
        drop(all_turns);
        assert_eq!(other.await.unwrap(), Ok(false), "it had a place in line");
        for one in flood {
            assert_eq!(one.await.unwrap(), Ok(false));
        }
    }
}
