//! The text of a body: unpacked where a server or a CDN has compressed it, and decoded.
//! Neither the headers nor the coding's end are relied on: what there is, is used.

use super::{header, lenient::WRONG};
use crate::provider::Answer;
use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use std::io::Read;
use zeroize::Zeroizing;

/// Bodies are not unpacked beyond this; no token answer comes near it.
const MAX_BYTES: usize = 1 << 20;
/// Some are packed twice, by a server and by what stands before it.
const LAYERS: usize = 3;

/// A body's text.
pub(super) struct Text {
    pub(super) text: Zeroizing<String>,
    /// It is not whole.
    pub(super) cut: bool,
    /// All bytes are there, and some of them could not be unpacked: they may hold anything.
    pub(super) damaged: bool,
}

/// The text of an answer's body.
///
/// # Errors
/// Why there is none, for people.
pub(super) fn of(answer: &Answer) -> Result<Text, &'static str> {
    let mut broken = false;
    let mut unpacked: Option<Zeroizing<Vec<u8>>> = None;
    for _ in 0..LAYERS {
        let bytes = unpacked.as_ref().map_or(&answer.body[..], |bytes| bytes);
        let Some(next) = unpack(bytes, coding(answer))? else {
            break;
        };
        broken |= next.cut;
        unpacked = Some(next.bytes);
    }
    let bytes = unpacked.as_ref().map_or(&answer.body[..], |bytes| bytes);
    if bytes.len() > MAX_BYTES {
        return Err("it is larger than 1 MiB");
    }
    let text = decode(bytes);
    if is_binary(&text) {
        return Err(match coding(answer) {
            Some(_) => "its content coding is none that is read (gzip and deflate are)",
            None => "it is no text",
        });
    }
    Ok(Text {
        text,
        cut: broken || !answer.complete,
        damaged: broken && answer.complete,
    })
}

fn coding(answer: &Answer) -> Option<&str> {
    header(answer, "content-encoding").filter(|coding| !coding.trim().is_empty())
}

struct Unpacked {
    bytes: Zeroizing<Vec<u8>>,
    cut: bool,
}

/// Takes one coding off; `None`: there is none. gzip is known by its bytes, for some
/// servers do not announce it and some announce it twice.
fn unpack(bytes: &[u8], coding: Option<&str>) -> Result<Option<Unpacked>, &'static str> {
    if bytes.starts_with(&[0x1f, 0x8b]) {
        return inflate(MultiGzDecoder::new(bytes)).map(Some);
    }
    let deflate = |coding: &str| coding.to_ascii_lowercase().contains("deflate");
    if !coding.is_some_and(deflate) || std::str::from_utf8(bytes).is_ok() {
        return Ok(None);
    }
    // RFC 9110 §8.4.1.2: zlib's format is meant, and some leave its frame away.
    let framed = inflate(ZlibDecoder::new(bytes))?;
    if framed.bytes.is_empty() {
        return inflate(DeflateDecoder::new(bytes)).map(Some);
    }
    Ok(Some(framed))
}

/// All that comes out of it before it ends or breaks.
fn inflate(decoder: impl Read) -> Result<Unpacked, &'static str> {
    let limit = u64::try_from(MAX_BYTES).unwrap_or(u64::MAX) + 1;
    let mut bytes = Zeroizing::new(Vec::with_capacity(16 * 1024));
    let cut = decoder.take(limit).read_to_end(&mut bytes).is_err();
    match bytes.len() > MAX_BYTES {
        true => Err("it unpacks to more than 1 MiB"),
        false => Ok(Unpacked { bytes, cut }),
    }
}

/// UTF-8, or UTF-16 as its first bytes tell. What is neither has [`WRONG`] in its place.
fn decode(bytes: &[u8]) -> Zeroizing<String> {
    let text = match *bytes {
        [0xef, 0xbb, 0xbf, ..] => utf_8(&bytes[3..]),
        [0xff, 0xfe, ..] => utf_16(&bytes[2..], u16::from_le_bytes),
        [0xfe, 0xff, ..] => utf_16(&bytes[2..], u16::from_be_bytes),
        [first, 0, third, 0, ..] if first != 0 && third != 0 => utf_16(bytes, u16::from_le_bytes),
        [0, second, 0, fourth, ..] if second != 0 && fourth != 0 => {
            utf_16(bytes, u16::from_be_bytes)
        }
        _ => utf_8(bytes),
    };
    Zeroizing::new(text)
}

fn utf_8(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn utf_16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> String {
    let units = bytes.chunks_exact(2).map(|pair| unit([pair[0], pair[1]]));
    let characters = char::decode_utf16(units).map(|c| c.unwrap_or(WRONG));
    characters.collect()
}

/// Whether so much of it is no character that it was never a text.
fn is_binary(text: &str) -> bool {
    let odd = |c: &char| *c == WRONG || (c.is_control() && !c.is_whitespace());
    text.chars().filter(odd).count() * 8 > text.chars().count()
}
