//! The container of `lzop`: a header, then blocks of LZO1X or of plain bytes, all numbers big-endian.
//!
//! Its checksums are read over: the decoder and the length that must come out find damage too, and ELF checks follow.

const MAGIC_LEN: usize = 9;

/// From this version on the header has a level, a version needed and a high half of the time.
const LONG_HEADER: u16 = 0x0940;

const ADLER_OF_PLAIN: u32 = 1;
const ADLER_OF_PACKED: u32 = 2;
const CRC_OF_PLAIN: u32 = 0x100;
const CRC_OF_PACKED: u32 = 0x200;
const HAS_EXTRA: u32 = 0x40;
const HAS_FILTER: u32 = 0x800;

/// lzop's own limit for a block.
const MAX_BLOCK: usize = 64 << 20;

/// Reads numbers off the front of bytes.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn bytes(&mut self, length: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self
            .0
            .split_at_checked(length)
            .ok_or("it ends in the middle")?;
        self.0 = rest;
        Ok(taken)
    }

    fn number(&mut self, length: usize) -> Result<u32, String> {
        let bytes = self.bytes(length)?;
        Ok(bytes
            .iter()
            .fold(0, |sum, byte| sum << 8 | u32::from(*byte)))
    }

    fn length(&mut self, length: usize) -> Result<usize, String> {
        usize::try_from(self.number(length)?).map_err(|error| error.to_string())
    }
}

/// Unpacks an lzop file, up to a little more than `limit`.
pub(super) fn unpack(packed: &[u8], limit: usize) -> Result<Vec<u8>, String> {
    let mut cursor = Cursor(packed);
    cursor.bytes(MAGIC_LEN)?;
    let flags = header(&mut cursor)?;
    let plain_checks = checks(flags, ADLER_OF_PLAIN, CRC_OF_PLAIN);
    let packed_checks = checks(flags, ADLER_OF_PACKED, CRC_OF_PACKED);
    let mut out = Vec::new();
    loop {
        let plain = cursor.length(4)?;
        if plain == 0 || out.len() > limit {
            return Ok(out);
        }
        let stored = cursor.length(4)?;
        if plain > MAX_BLOCK || stored > plain {
            return Err(format!("a block of {stored} bytes states {plain}"));
        }
        cursor.bytes(plain_checks)?;
        if stored == plain {
            out.extend_from_slice(cursor.bytes(stored)?);
            continue;
        }
        cursor.bytes(packed_checks)?;
        let block = lzokay_native::decompress_all(cursor.bytes(stored)?, Some(plain))
            .map_err(|error| error.to_string())?;
        if block.len() != plain {
            return Err(format!("a block unpacks to {}, not {plain}", block.len()));
        }
        out.extend_from_slice(&block);
    }
}

/// Bytes of checksums in front of a block.
fn checks(flags: u32, adler: u32, crc: u32) -> usize {
    let has = |flag: u32| usize::from(flags & flag != 0);
    4 * (has(adler) + has(crc))
}

/// Reads over the header and returns its flags.
fn header(cursor: &mut Cursor<'_>) -> Result<u32, String> {
    let version = cursor.number(2)?;
    let long = version >= u32::from(LONG_HEADER);
    cursor.bytes(2)?;
    if long {
        cursor.bytes(2)?;
    }
    let method = cursor.number(1)?;
    if !(1..=3).contains(&method) {
        return Err(format!("method {method} is not LZO1X"));
    }
    if long {
        cursor.bytes(1)?;
    }
    let flags = cursor.number(4)?;
    if flags & HAS_FILTER != 0 {
        return Err("it has a filter".into());
    }
    // Mode and time.
    cursor.bytes(if long { 12 } else { 8 })?;
    let name = cursor.length(1)?;
    cursor.bytes(name + 4)?;
    if flags & HAS_EXTRA != 0 {
        let extra = cursor.length(4)?;
        cursor.bytes(extra)?;
        cursor.bytes(4)?;
    }
    Ok(flags)
}
