//! Frames of `state` and `chunks`: `u32 LE length, u32 LE CRC32C of the payload, payload`. Pure.

/// Length of a frame's header.
pub(crate) const HEADER_BYTES: usize = 8;

/// Longest payload. A chunk's raw bytes are sealed at 256 KiB, but one event may be larger; 64 MiB is the decoder's bound.
pub const MAX_FRAME_BYTES: usize = 80 * 1024 * 1024;

/// Puts the header of `payload` in front of it: `buffer` holds 8 spare bytes, then the payload.
pub(crate) fn finish(buffer: &mut [u8]) {
    let Some((header, payload)) = buffer.split_at_mut_checked(HEADER_BYTES) else {
        return;
    };
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    let crc = crc32c::crc32c(payload);
    let (first, second) = header.split_at_mut(4);
    first.copy_from_slice(&length.to_le_bytes());
    second.copy_from_slice(&crc.to_le_bytes());
}

/// A frame's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    /// Length of the payload.
    pub length: usize,
    /// CRC32C of the payload.
    pub crc: u32,
}

impl Header {
    /// Reads a header; `None` for a length that no writer makes (zero, or beyond [`MAX_FRAME_BYTES`]).
    pub(crate) fn parse(bytes: [u8; HEADER_BYTES]) -> Option<Self> {
        let [a, b, c, d, e, f, g, h] = bytes;
        let length = u32::from_le_bytes([a, b, c, d]) as usize;
        (1..=MAX_FRAME_BYTES).contains(&length).then(|| Self {
            length,
            crc: u32::from_le_bytes([e, f, g, h]),
        })
    }

    /// Says whether `payload` is the one that was written.
    pub(crate) fn fits(self, payload: &[u8]) -> bool {
        payload.len() == self.length && crc32c::crc32c(payload) == self.crc
    }
}

/// Walks the valid frames of a buffer and stops for good at the first that is torn or damaged.
#[derive(Debug, Clone)]
pub struct Scan<'a> {
    rest: &'a [u8],
    valid: usize,
}

impl<'a> Scan<'a> {
    /// Starts at the first byte of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, valid: 0 }
    }

    /// Length of the prefix that is whole so far.
    pub fn valid_bytes(&self) -> usize {
        self.valid
    }
}

impl<'a> Iterator for Scan<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (header, after) = self.rest.split_first_chunk::<HEADER_BYTES>()?;
        let header = Header::parse(*header)?;
        let (payload, rest) = after.split_at_checked(header.length)?;
        if !header.fits(payload) {
            self.rest = &[];
            return None;
        }
        self.rest = rest;
        self.valid += HEADER_BYTES + header.length;
        Some(payload)
    }
}

#[cfg(test)]
pub(crate) fn framed(payload: &[u8]) -> Vec<u8> {
    let mut buffer = vec![0; HEADER_BYTES];
    buffer.extend_from_slice(payload);
    finish(&mut buffer);
    buffer
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn payloads() -> impl Strategy<Value = Vec<Vec<u8>>> {
        prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..8)
    }

    proptest! {
        #[test]
        fn every_truncation_yields_the_whole_frames_before_it(payloads in payloads()) {
            let mut bytes = Vec::new();
            let mut ends = vec![0];
            for payload in &payloads {
                bytes.extend(framed(payload));
                ends.push(bytes.len());
            }
            for length in 0..=bytes.len() {
                let whole = ends.iter().filter(|end| **end <= length).count() - 1;
                let mut scan = Scan::new(&bytes[..length]);
                let found: Vec<&[u8]> = scan.by_ref().collect();
                prop_assert_eq!(found.len(), whole);
                prop_assert!(found.iter().zip(&payloads).all(|(a, b)| *a == b.as_slice()));
                prop_assert_eq!(scan.valid_bytes(), ends[whole]);
            }
        }

        #[test]
        fn a_flipped_bit_never_yields_a_changed_frame(payloads in payloads(), at in any::<prop::sample::Index>(), bit in 0..8u8) {
            let mut bytes: Vec<u8> = payloads.iter().flat_map(|payload| framed(payload)).collect();
            prop_assume!(!bytes.is_empty());
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            let found: Vec<&[u8]> = Scan::new(&bytes).collect();
            prop_assert!(found.len() < payloads.len());
            prop_assert!(found.iter().zip(&payloads).all(|(a, b)| *a == b.as_slice()));
        }
    }
}
