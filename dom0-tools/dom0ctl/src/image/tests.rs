//! Every packing that kernels come in, and every way in which a file can be none.

use super::*;
use proptest::prelude::*;
use std::io::Write;
use std::sync::LazyLock;

const LENGTH: usize = 40_000;

/// A kernel with one segment, of text that packs well, and the notes that every kernel must have.
fn kernel() -> Vec<u8> {
    let note = |kind: u32, text: &[u8; 8]| {
        let words = [4, 8, kind].map(u32::to_le_bytes);
        [words.as_flattened(), b"Xen\0", text].concat()
    };
    let notes = [note(5, b"xen-3.0\0"), note(8, b"generic\0")].concat();
    let (start, length) = (176_u64, u64::try_from(LENGTH).unwrap());
    let mut elf = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    elf.extend([2, 0, 62, 0, 1, 0, 0, 0]);
    for word in [0x10_0000_u64, 64, 0] {
        elf.extend(word.to_le_bytes());
    }
    elf.extend([0, 0, 0, 0, 64, 0, 56, 0, 2, 0, 0, 0, 0, 0, 0, 0]);
    let segments = [
        (1_u32, 0_u64, 0x10_0000, length),
        (4, start, 0, u64::try_from(notes.len()).unwrap()),
    ];
    for (kind, offset, address, length) in segments {
        elf.extend(kind.to_le_bytes());
        elf.extend(7_u32.to_le_bytes());
        for word in [offset, 0, address, length, length, 8] {
            elf.extend(word.to_le_bytes());
        }
    }
    elf.extend(notes);
    let text = b"a kernel that packs rather well, ".repeat(LENGTH / 32);
    elf.extend(&text[..LENGTH - elf.len()]);
    elf
}

/// A bzImage with this payload, and a signature behind it.
fn bzimage(payload: &[u8]) -> Vec<u8> {
    let mut file = vec![0; 3 * 512];
    file[0x1f1] = 2;
    file[0x1fe..0x200].copy_from_slice(&[0x55, 0xaa]);
    file[0x202..0x206].copy_from_slice(b"HdrS");
    file[0x206..0x208].copy_from_slice(&[0x0f, 0x02]);
    file[0x248..0x24c].copy_from_slice(&100_u32.to_le_bytes());
    let length = u32::try_from(payload.len()).unwrap();
    file[0x24c..0x250].copy_from_slice(&length.to_le_bytes());
    file.extend([0xcc; 100]);
    file.extend(payload);
    file.extend(b"signature");
    file
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

fn bzip2(plain: &[u8]) -> Vec<u8> {
    let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

fn xz(plain: &[u8]) -> Vec<u8> {
    let mut options = lzma_rust2::XzOptions::with_preset(1);
    options.set_check_sum_type(lzma_rust2::CheckType::Crc32);
    options.prepend_pre_filter(lzma_rust2::FilterType::BcjX86, 0);
    let mut encoder = lzma_rust2::XzWriter::new(Vec::new(), options).unwrap();
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

fn lzma(plain: &[u8]) -> Vec<u8> {
    let options = lzma_rust2::LzmaOptions::with_preset(1);
    let mut encoder = lzma_rust2::LzmaWriter::new_use_header(Vec::new(), &options, None).unwrap();
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

fn zstd(plain: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(plain, ruzstd::encoding::CompressionLevel::Fastest)
}

/// Two blocks, with the magic again between them.
fn lz4(plain: &[u8]) -> Vec<u8> {
    let magic = 0x184c_2102_u32.to_le_bytes();
    let mut out = Vec::new();
    for half in plain.chunks(plain.len().div_ceil(2)) {
        let block = lz4_flex::block::compress(half);
        out.extend(magic);
        out.extend(u32::try_from(block.len()).unwrap().to_le_bytes());
        out.extend(block);
    }
    out
}

/// A header with a name and Adler checksums, a packed block and a plain one.
fn lzop(plain: &[u8]) -> Vec<u8> {
    let (first, second) = plain.split_at(plain.len() / 2);
    let packed = lzokay_native::compress(first).unwrap();
    let number = |value: usize| u32::try_from(value).unwrap().to_be_bytes();
    let mut out = vec![0x89, b'L', b'Z', b'O', 0, 13, 10, 26, 10];
    out.extend([0x10, 0x40, 0x20, 0x80, 0x09, 0x40, 1, 5]);
    out.extend(3_u32.to_be_bytes());
    out.extend([0; 12]);
    out.extend([2, b'v', b'm', 0, 0, 0, 0]);
    for (plain, stored, block) in [
        (first.len(), packed.len(), packed.as_slice()),
        (second.len(), second.len(), second),
    ] {
        out.extend(number(plain));
        out.extend(number(stored));
        out.extend([0; 4]);
        if stored < plain {
            out.extend([0; 4]);
        }
        out.extend(block);
    }
    out.extend([0; 4]);
    out
}

/// The bytes with the plain length behind them.
fn with_length(mut packed: Vec<u8>, length: usize) -> Vec<u8> {
    packed.extend(u32::try_from(length).unwrap().to_le_bytes());
    packed
}

fn all_formats(plain: &[u8]) -> Vec<(Format, Vec<u8>)> {
    let long = |packed| with_length(packed, plain.len());
    vec![
        (Format::Gzip, gzip(plain)),
        (Format::Bzip2, long(bzip2(plain))),
        (Format::Xz, long(xz(plain))),
        (Format::Lzma, long(lzma(plain))),
        (Format::Lzo, long(lzop(plain))),
        (Format::Lz4, long(lz4(plain))),
        (Format::Zstd, long(zstd(plain))),
    ]
}

#[test]
fn elf_gzip_and_every_bzimage_give_the_same_kernel() {
    let kernel = kernel();
    assert_eq!(unpack(kernel.clone()).unwrap(), kernel);
    assert_eq!(unpack(gzip(&kernel)).unwrap(), kernel);
    assert_eq!(unpack(bzimage(&kernel)).unwrap(), kernel);
    for (format, payload) in all_formats(&kernel) {
        assert_eq!(Format::of(&payload), Some(format));
        assert!(payload.len() < kernel.len());
        assert_eq!(unpack(bzimage(&payload)).unwrap(), kernel, "{format}");
    }
}

#[test]
fn a_payload_cut_anywhere_is_refused() {
    for (format, payload) in all_formats(&kernel()) {
        for keep in [8, payload.len() / 3, payload.len() - 8] {
            let cut = unpack(bzimage(&payload[..keep]));
            assert!(cut.is_err(), "{format} cut at {keep}");
        }
    }
}

#[test]
fn a_payload_that_unpacks_to_more_than_it_states_is_refused() {
    let kernel = kernel();
    for (format, mut payload) in all_formats(&kernel) {
        let end = payload.len() - 4;
        payload[end..].copy_from_slice(&1000_u32.to_le_bytes());
        let error = unpack(bzimage(&payload)).unwrap_err();
        let expected = match format {
            // Its decoder compares the trailer itself.
            Format::Gzip => matches!(
                error,
                ImageError::Damaged { .. } | ImageError::WrongLength { .. }
            ),
            Format::Bzip2
            | Format::Xz
            | Format::Lzma
            | Format::Lzo
            | Format::Lz4
            | Format::Zstd => {
                matches!(error, ImageError::WrongLength { .. })
            }
        };
        assert!(expected, "{format}: {error}");
    }
}

#[test]
fn files_that_are_no_kernels_are_told_apart() {
    let says = |bytes: Vec<u8>| unpack(bytes).unwrap_err().to_string();
    assert!(says(vec![]).contains("empty"));
    assert!(says(b"#!/bin/sh\n".to_vec()).contains("neither"));
    assert!(says(b"\x7fELF".to_vec()).contains("truncated"));
    assert!(says(gzip(b"text")).contains("not an ELF"));
    assert!(says(bzimage(b"BZh9..\0\x10\0\0")).contains("bzip2"));
    assert!(says(bzimage(b"what is this")).contains("not known"));
    let mut old = bzimage(&kernel());
    old[0x206] = 7;
    assert!(says(old).contains("2.07"));
    let mut cut = bzimage(&kernel());
    cut.truncate(5000);
    assert!(says(cut).contains("cut short"));
    let mut wide = kernel();
    wide[4] = 1;
    assert!(says(wide).contains("32-bit"));
    let mut arm = kernel();
    arm[18] = 183;
    assert!(says(arm).contains("ELF machine 183"));
}

#[test]
fn debug_information_is_left_at_home() {
    let kernel = kernel();
    let mut long = kernel.clone();
    long.extend([0xdb; 5000]);
    long[0x28..0x30].copy_from_slice(&u64::try_from(LENGTH).unwrap().to_le_bytes());
    long[0x3a..0x40].copy_from_slice(&[64, 0, 3, 0, 1, 0]);
    assert_eq!(unpack(long).unwrap(), kernel);
}

#[test]
fn notes_behind_the_last_segment_keep_the_file_whole() {
    let mut late = kernel();
    let notes = late[176..224].to_vec();
    late[176..224].fill(0);
    late[128..136].copy_from_slice(&u64::try_from(LENGTH).unwrap().to_le_bytes());
    late.extend(notes);
    assert_eq!(unpack(late.clone()).unwrap(), late);
}

#[test]
fn a_missing_file_is_named() {
    let failure = read_kernel(Path::new("/nonexistent/kernel")).unwrap_err();
    assert_eq!(failure.error().code, ErrorCode::LocalIo);
    assert!(failure.error().message.contains("/nonexistent/kernel"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn damaged_images_never_panic(which in 0usize..7, at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        static PACKED: LazyLock<Vec<(Format, Vec<u8>)>> = LazyLock::new(|| all_formats(&kernel()));
        let mut file = bzimage(&PACKED[which].1);
        let at = at.index(file.len());
        file[at] = byte;
        drop(unpack(file));
    }

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        drop(unpack(bytes.clone()));
        drop(unpack(bzimage(&bytes)));
    }
}
