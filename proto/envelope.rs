//! The signed task envelope: what exactly is signed, and how a key is named.
//!
//! Signing itself is done by the cloud and checking by the agent, over the same bytes: those from here.

use sha2::{Digest, Sha256};

/// First bytes of every signing input: a signature made for a task can never be taken for one made for something else.
pub const DOMAIN: &[u8] = b"opslink.v1.TaskEnvelope\0";

/// Returns the bytes that are signed: [`DOMAIN`] and then the encoded `TaskEnvelope`, exactly as it travels.
pub fn signing_input(body: &[u8]) -> Vec<u8> {
    [DOMAIN, body].concat()
}

/// Returns the name of an Ed25519 public key: the first 8 bytes of its SHA-256, hexadecimal.
pub fn key_id(public_key: &[u8; 32]) -> String {
    Sha256::digest(public_key)
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signing_input_is_the_domain_and_the_body() {
        assert_eq!(signing_input(b"abc"), b"opslink.v1.TaskEnvelope\0abc");
    }

    #[test]
    fn a_key_is_named_by_the_start_of_its_sha256() {
        // sha256 of 32 zero bytes begins 66687aadf862bd77.
        assert_eq!(key_id(&[0; 32]), "66687aadf862bd77");
        assert_ne!(key_id(&[1; 32]), key_id(&[0; 32]));
    }
}
