//! Chunks that would unpack to far more than they say: told by their first bytes where those are honest, and stopped at
//! the end of their room in any case.

use zstd::{bulk::Compressor, zstd_safe::DCtx};

use super::*;

/// What a bomb unpacks to: four times what any chunk may have.
const BOMB: usize = 4 * RAW_MAX;
/// What its chunk says.
const SAID: usize = 1_000;

/// Zeros in one frame with a checksum, so that only their number is wrong.
fn frame(states_size: bool) -> Vec<u8> {
    let mut compressor = Compressor::new(1).unwrap();
    compressor.include_checksum(true).unwrap();
    compressor.include_contentsize(states_size).unwrap();
    let frame = compressor.compress(&vec![0; BOMB]).unwrap();
    assert!(frame.len() < PAYLOAD_MAX);
    frame
}

/// The same, but it says of itself what its chunk says.
fn lying() -> Vec<u8> {
    let mut frame = frame(true);
    // RFC 8878, 3.1.1.1: magic number, descriptor, window unless all is one segment, size.
    let descriptor = *frame.get(4).unwrap();
    assert_eq!(descriptor >> 6, 2, "a size of 4 bytes");
    let at = if descriptor & 0b0010_0000 == 0 { 6 } else { 5 };
    let size = frame.get_mut(at..at + 4).unwrap();
    assert_eq!(size, (BOMB as u32).to_le_bytes());
    size.copy_from_slice(&(SAID as u32).to_le_bytes());
    frame
}

fn chunk(payload: Vec<u8>) -> pb::LogChunk {
    pb::LogChunk {
        raw_size: SAID as u64,
        payload: payload.into(),
        ..sample()
    }
}

#[test]
fn a_bomb_is_told_by_its_first_bytes() {
    let mut bomb = frame(true);
    let (expected, found) = (SAID as u64, BOMB as u64);
    let told = Error::Size { expected, found };
    assert_eq!(decode(&chunk(bomb.clone())).unwrap_err(), told);
    // The longest header of a frame: nothing behind it is asked.
    bomb.truncate(18);
    assert_eq!(decode(&chunk(bomb)).unwrap_err(), told);
}

#[test]
fn a_decoder_has_the_room_that_was_promised_and_makes_no_more() {
    for bomb in [frame(true), frame(false), lying()] {
        let mut room: Vec<u8> = Vec::with_capacity(SAID);
        let before = (room.as_ptr(), room.capacity());
        assert!(inflate::native_into(&bomb, &mut room).is_err());
        assert_eq!((room.as_ptr(), room.capacity()), before);
        // Beside that room it takes its context, which is as large as before.
        let mut context = DCtx::create();
        let size = context.sizeof();
        assert!(context.decompress(&mut room, &bomb).is_err());
        assert_eq!(
            (room.as_ptr(), room.capacity(), context.sizeof()),
            (before.0, before.1, size)
        );
        assert!(inflate::portable(&bomb, SAID).is_err());
        assert!(decode(&chunk(bomb)).is_err());
    }
}
