//! Decompression, bounded by the size that the header promises.

use super::Error;

/// First bytes of every zstd frame.
const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// Frame header descriptor: a checksum follows the content.
const CHECKSUM_FLAG: u8 = 0b0000_0100;
/// Frame header descriptor: unused and reserved; zero in every frame that we make.
const UNUSED_BITS: u8 = 0b0001_1000;

/// Decompresses one frame of exactly `raw_size` bytes, with what is fastest here.
pub(super) fn zstd(payload: &[u8], raw_size: usize) -> Result<Vec<u8>, Error> {
    check_frame(payload)?;
    #[cfg(feature = "encode")]
    return native(payload, raw_size);
    #[cfg(not(feature = "encode"))]
    return portable(payload, raw_size);
}

/// Decoders ignore some bits and accept frames without a checksum. We do neither: a flipped bit is never overlooked.
fn check_frame(payload: &[u8]) -> Result<(), Error> {
    let descriptor = payload.strip_prefix(&MAGIC).and_then(|rest| rest.first());
    match descriptor {
        Some(descriptor) if descriptor & (CHECKSUM_FLAG | UNUSED_BITS) == CHECKSUM_FLAG => Ok(()),
        Some(_) => Err(Error::Inflate("it is a zstd frame without a checksum".to_owned())),
        None => Err(Error::Inflate("it is no zstd frame".to_owned())),
    }
}

#[cfg(feature = "encode")]
pub(super) fn native(payload: &[u8], raw_size: usize) -> Result<Vec<u8>, Error> {
    // What a frame says of itself is in its first bytes: most bombs are told by them.
    if let Ok(Some(found)) = zstd::zstd_safe::get_frame_content_size(payload)
        && found != raw_size as u64
    {
        let expected = raw_size as u64;
        return Err(Error::Size { expected, found });
    }
    let mut raw = Vec::with_capacity(raw_size);
    native_into(payload, &mut raw)?;
    Ok(raw)
}

/// Decompresses one frame into the room that `raw` has, and into no more: what needs more is an error.
#[cfg(feature = "encode")]
pub(super) fn native_into(payload: &[u8], raw: &mut Vec<u8>) -> Result<(), Error> {
    use std::cell::RefCell;

    // A context is some 100 KiB: one a thread, not one a chunk.
    thread_local! {
        static CONTEXT: RefCell<Option<zstd::bulk::Decompressor<'static>>> = const { RefCell::new(None) };
    }
    match zstd::zstd_safe::find_frame_compressed_size(payload) {
        Ok(size) if size == payload.len() => {}
        Ok(_) => return Err(Error::Inflate("something follows the frame".to_owned())),
        Err(code) => return Err(Error::Inflate(zstd::zstd_safe::get_error_name(code).to_owned())),
    }
    let inflate = |error: std::io::Error| Error::Inflate(error.to_string());
    CONTEXT.with_borrow_mut(|context| {
        let decompressor = match context {
            Some(decompressor) => decompressor,
            None => context.insert(zstd::bulk::Decompressor::new().map_err(inflate)?),
        };
        decompressor.decompress_to_buffer(payload, raw).map_err(inflate)?;
        Ok(())
    })
}

#[cfg(any(test, not(feature = "encode")))]
pub(super) fn portable(payload: &[u8], raw_size: usize) -> Result<Vec<u8>, Error> {
    use std::io::Read as _;

    use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

    // RFC 8878 asks every decoder for 8 MiB; a window is never worth more than the content.
    const WINDOW: u64 = 8 * 1024 * 1024;
    let inflate = |error: &dyn std::fmt::Display| Error::Inflate(error.to_string());

    let mut input = payload;
    let mut decoder = FrameDecoder::new();
    decoder.set_max_window_size(WINDOW.max(raw_size as u64));
    decoder.init(&mut input).map_err(|error| inflate(&error))?;
    let mut raw = vec![0; raw_size];
    let mut written = 0;
    while !decoder.is_finished() {
        decoder
            .decode_blocks(&mut input, BlockDecodingStrategy::UptoBytes(1024 * 1024))
            .map_err(|error| inflate(&error))?;
        let space = raw.get_mut(written..).unwrap_or_default();
        written += decoder.read(space).map_err(|error| inflate(&error))?;
        if decoder.is_finished() && decoder.can_collect() != 0 || written == raw_size && decoder.can_collect() != 0 {
            return Err(Error::Size {
                expected: raw_size as u64,
                found: (written + decoder.can_collect()) as u64,
            });
        }
    }
    if !input.is_empty() {
        return Err(Error::Inflate("something follows the frame".to_owned()));
    }
    if decoder.get_checksum_from_data() != decoder.get_calculated_checksum() {
        return Err(Error::Inflate("its checksum is wrong".to_owned()));
    }
    raw.truncate(written);
    Ok(raw)
}
