//! Secrets of sessions and tokens: 256 random bits, shown once, kept as their SHA-256.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::{
    digest,
    rand::{SecureRandom, SystemRandom},
};

/// Begins every session secret.
pub const SESSION_PREFIX: &str = "ols_";
/// Begins every API token.
pub const TOKEN_PREFIX: &str = "olp_";
/// Begins every join token.
pub const JOIN_PREFIX: &str = "olj1";

/// The system gave no random bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the system's random number generator failed")]
pub struct NoRandom;

/// Makes 256 random bits as 43 characters that need no quoting anywhere.
///
/// # Errors
/// [`NoRandom`].
pub fn random() -> Result<String, NoRandom> {
    let mut bytes = [0u8; 32];
    SystemRandom::new().fill(&mut bytes).map_err(|_| NoRandom)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

/// Makes a secret that begins with `prefix`.
///
/// # Errors
/// [`NoRandom`].
pub fn with_prefix(prefix: &str) -> Result<String, NoRandom> {
    Ok(format!("{prefix}{}", random()?))
}

/// Returns what is kept of a secret. It has 256 random bits, so a plain hash is enough and the lookup by it leaks
/// nothing through time.
pub fn hash(secret: &str) -> [u8; 32] {
    let mut out = [0u8; 32];
    out.copy_from_slice(digest::digest(&digest::SHA256, secret.as_bytes()).as_ref());
    out
}

/// Makes a password that a person can type: 5 groups of 4, about 98 bits.
///
/// # Errors
/// [`NoRandom`].
pub fn password() -> Result<String, NoRandom> {
    // Without look-alikes; 32 letters, so that a byte's low bits choose evenly.
    const LETTERS: &[u8; 32] = b"abcdefghjkmnpqrstuvwxyz23456789_";
    let mut bytes = [0u8; 20];
    SystemRandom::new().fill(&mut bytes).map_err(|_| NoRandom)?;
    let mut out = String::with_capacity(24);
    for (index, byte) in bytes.iter().enumerate() {
        if index > 0 && index % 4 == 0 {
            out.push('-');
        }
        out.push(LETTERS.get(usize::from(byte & 31)).copied().map_or('x', char::from));
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_long_and_never_the_same() {
        let (a, b) = (with_prefix(TOKEN_PREFIX).unwrap(), with_prefix(TOKEN_PREFIX).unwrap());
        assert_ne!(a, b);
        assert_eq!(a.len(), 4 + 43);
        assert_ne!(hash(&a), hash(&b));
        assert_eq!(hash(&a), hash(&a.clone()));
    }

    #[test]
    fn a_generated_password_satisfies_our_own_rule() {
        let password = password().unwrap();
        assert_eq!(password.len(), 24);
        assert!(password.chars().count() >= crate::identity::password::MIN_CHARS);
    }
}
