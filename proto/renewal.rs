//! Renewing a certificate that has expired: what exactly proves that the caller holds its key.
//!
//! The agent signs, the cloud checks, over the same bytes: those from here. They hold a secret that both ends of one
//! TLS connection derive from its keys (RFC 9266, with a label of our own), so a proof is good on that connection and
//! nowhere else: nothing to remember, nothing to replay, no clock involved.

use std::fmt;

/// The label by which both ends derive a [`ChannelBinding`] (`export_keying_material`, without context).
pub const EXPORTER_LABEL: &[u8] = b"EXPORTER-opslink-v1-renew-expired";

/// First bytes of every signing input: a proof can never be taken for a signature of something else.
pub const DOMAIN: &[u8] = b"opslink.v1.RenewExpired\0";

/// What only the two ends of one TLS connection know.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ChannelBinding(pub [u8; 32]);

impl fmt::Debug for ChannelBinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ChannelBinding")
    }
}

/// Returns the bytes that are signed with the key of the expired certificate: [`DOMAIN`], the connection, and the
/// request for the next certificate.
pub fn signing_input(channel: &ChannelBinding, csr_der: &[u8]) -> Vec<u8> {
    [DOMAIN, &channel.0, csr_der].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signing_input_holds_the_connection_and_the_request() {
        let input = signing_input(&ChannelBinding([7; 32]), b"csr");
        assert!(input.starts_with(b"opslink.v1.RenewExpired\0\x07\x07"));
        assert!(input.ends_with(b"\x07csr"));
        assert_eq!(input.len(), DOMAIN.len() + 32 + 3);
    }

    #[test]
    fn a_binding_is_not_printed() {
        assert_eq!(format!("{:?}", ChannelBinding([7; 32])), "ChannelBinding");
    }
}
