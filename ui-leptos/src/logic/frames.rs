//! gRPC-web as it comes from the wire: a byte of flags, four of length, then a message, or the words that end a call.

use std::collections::BTreeMap;

use bytes::Bytes;

/// Largest message that is read: a chunk is at most 512 KiB on the wire, lists can be longer.
const MAX_MESSAGE: usize = 64 * 1024 * 1024;
/// Bytes before each message.
const HEAD: usize = 5;

/// Puts the head before a message.
pub fn frame(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    let mut frame = Vec::with_capacity(HEAD + message.len());
    frame.push(0);
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(message);
    frame
}

/// One thing that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// A message.
    Message(Bytes),
    /// How the call ended.
    End(Trailers),
    /// What came is no gRPC-web.
    Broken,
}

/// The words that end a call, by lower-case name.
pub type Trailers = BTreeMap<String, String>;

/// Cuts bytes, which come in pieces of any size, into frames.
#[derive(Debug, Default)]
pub struct Frames {
    bytes: Vec<u8>,
    /// Bytes of it that were read.
    read: usize,
}

impl Frames {
    /// Takes a piece.
    pub fn push(&mut self, piece: &[u8]) {
        if self.read > 0 {
            self.bytes.drain(..self.read);
            self.read = 0;
        }
        self.bytes.extend_from_slice(piece);
    }

    /// The next frame that is there as a whole.
    pub fn next_frame(&mut self) -> Option<Frame> {
        let rest = self.bytes.get(self.read..)?;
        let (head, rest) = rest.split_first_chunk::<HEAD>()?;
        let [flags, a, b, c, d] = *head;
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        if length > MAX_MESSAGE {
            return Some(Frame::Broken);
        }
        let body = rest.get(..length)?;
        self.read += HEAD + length;
        Some(match flags {
            0 => Frame::Message(Bytes::copy_from_slice(body)),
            0x80 => Frame::End(trailers(&String::from_utf8_lossy(body))),
            _ => Frame::Broken,
        })
    }
}

fn trailers(text: &str) -> Trailers {
    let mut trailers = Trailers::new();
    for (name, value) in text.lines().filter_map(|line| line.split_once(':')) {
        trailers.insert(name.trim().to_ascii_lowercase(), value.trim().to_owned());
    }
    trailers
}

/// Reads percent-encoded text, as `grpc-message` is.
pub fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let code = after.get(..2).and_then(|code| std::str::from_utf8(code).ok());
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(byte) if *first == b'%' => {
                bytes.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Reads base64 with or without padding, as headers named `-bin` are. What is no base64 is left out.
pub fn base64(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let (mut bits, mut held) = (0_u32, 0);
    for letter in text.bytes() {
        let value = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => continue,
        };
        bits = (bits << 6) | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_end_is_read_by_name() {
        let mut frames = Frames::default();
        frames.push(b"\x80\x00\x00\x00\x2dGrpc-Status: 5\r\ngrpc-message:no%20%E4%BB%A3\r\n");
        let Some(Frame::End(end)) = frames.next_frame() else {
            panic!("not an end");
        };
        assert_eq!(end["grpc-status"], "5");
        assert_eq!(unescape(&end["grpc-message"]), "no 代");
    }

    #[test]
    fn other_things_are_not_taken_for_messages() {
        let mut frames = Frames::default();
        frames.push(b"<!doctype html>");
        assert_eq!(frames.next_frame(), Some(Frame::Broken));
    }

    #[test]
    fn text_that_is_not_escaped_stays() {
        assert_eq!(unescape("100 % of 5%"), "100 % of 5%");
    }

    proptest! {
        #[test]
        fn frames_come_whole_however_they_are_cut(
            messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..8), size in 1_usize..17,
        ) {
            let wire: Vec<u8> = messages.iter().flat_map(|message| frame(message)).collect();
            let mut frames = Frames::default();
            let mut seen = Vec::new();
            for piece in wire.chunks(size) {
                frames.push(piece);
                while let Some(Frame::Message(message)) = frames.next_frame() {
                    seen.push(message.to_vec());
                }
            }
            prop_assert_eq!(seen, messages);
        }

        #[test]
        fn base64_is_read_as_others_write_it(bytes in prop::collection::vec(any::<u8>(), 0..50)) {
            use ::base64::{Engine, engine::general_purpose::{STANDARD, STANDARD_NO_PAD}};
            prop_assert_eq!(&base64(&STANDARD.encode(&bytes)), &bytes);
            prop_assert_eq!(&base64(&STANDARD_NO_PAD.encode(&bytes)), &bytes);
        }
    }
}
