//! Signs task envelopes with the cloud's Ed25519 key, over the exact bytes that travel.

use opslink::{envelope, pb};
use prost::Message;
use ring::{
    rand::SystemRandom,
    signature::{Ed25519KeyPair, KeyPair},
};

/// A key that is none, or a random source that does not answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The stored bytes are no Ed25519 key in PKCS#8.
    #[error("the task signing key is not readable")]
    Unreadable,
    /// The system's random source failed.
    #[error("no random bytes for a task signing key")]
    NoRandom,
}

/// Holds the private key. Agents learn the public one when they join.
pub struct Signer {
    pair: Ed25519KeyPair,
    public: [u8; 32],
    key_id: String,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signer")
            .field("key_id", &self.key_id)
            .finish_non_exhaustive()
    }
}

impl Signer {
    /// Makes a new key, as PKCS#8: what the store keeps.
    ///
    /// # Errors
    /// [`Error::NoRandom`].
    pub fn generate() -> Result<Vec<u8>, Error> {
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| Error::NoRandom)?;
        Ok(document.as_ref().to_vec())
    }

    /// Reads a key that [`Self::generate`] made.
    ///
    /// # Errors
    /// [`Error::Unreadable`].
    pub fn from_pkcs8(pkcs8: &[u8]) -> Result<Self, Error> {
        let pair = Ed25519KeyPair::from_pkcs8(pkcs8).map_err(|_| Error::Unreadable)?;
        let public: [u8; 32] = pair.public_key().as_ref().try_into().map_err(|_| Error::Unreadable)?;
        let key_id = envelope::key_id(&public);
        Ok(Self { pair, public, key_id })
    }

    /// The public key, as agents get it.
    pub const fn public_key(&self) -> [u8; 32] {
        self.public
    }

    /// Encodes and signs. About 20 µs, and 1 ms more for half a megabyte of script.
    pub fn sign(&self, envelope: &pb::TaskEnvelope) -> pb::SignedEnvelope {
        let body = envelope.encode_to_vec();
        let signature = self.pair.sign(&envelope::signing_input(&body));
        pb::SignedEnvelope {
            body: body.into(),
            signature: bytes::Bytes::copy_from_slice(signature.as_ref()),
            key_id: self.key_id.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use ring::signature::{ED25519, UnparsedPublicKey};

    use super::*;

    #[test]
    fn a_signature_holds_over_the_bytes_that_travel_and_over_no_others() {
        let signer = Signer::from_pkcs8(&Signer::generate().unwrap()).unwrap();
        let envelope = pb::TaskEnvelope {
            attempt_id: "a".into(),
            nonce: vec![1, 2].into(),
            ..Default::default()
        };
        let signed = signer.sign(&envelope);
        let key = UnparsedPublicKey::new(&ED25519, signer.public_key());
        key.verify(&envelope::signing_input(&signed.body), &signed.signature)
            .unwrap();
        key.verify(&signed.body, &signed.signature).unwrap_err();
        assert_eq!(pb::TaskEnvelope::decode(signed.body).unwrap(), envelope);
    }

    #[test]
    fn other_bytes_are_no_key() {
        assert!(matches!(Signer::from_pkcs8(&[1, 2, 3]), Err(Error::Unreadable)));
    }
}
