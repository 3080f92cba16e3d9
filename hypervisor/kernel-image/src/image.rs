//! The ELF file: header, segments to load, and where notes are.

use arrayvec::ArrayVec;
use elf::ElfBytes;
use elf::abi::{EM_X86_64, PT_LOAD, PT_NOTE, SHT_NOTE};
use elf::endian::LittleEndian;
use elf::file::Class;
use elf::note::{Note, NoteIterator};
use elf::parse::ParseError;

use crate::error::ImageError;
use crate::plan::{MAX_SEGMENTS, Segment};

/// R, W and X: a segment without any of them is not loaded.
const ACCESS_FLAGS: u32 = 7;
/// Notes looked at in one image; the rest is ignored.
const MAX_NOTES: usize = 65536;
/// Alignment of notes, whatever the file says of it.
const NOTE_ALIGNMENT: usize = 4;
/// Where the class is in the file, and its value for 32-bit files.
const CLASS_OFFSET: usize = 4;
const CLASS_32: u8 = 1;

/// A 64-bit x86 ELF file whose headers could be read.
pub(crate) struct Image<'a> {
    bytes: &'a [u8],
    elf: ElfBytes<'a, LittleEndian>,
}

impl<'a> Image<'a> {
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, ImageError> {
        if bytes.is_empty() {
            return Err(ImageError::Empty);
        }
        if !bytes.starts_with(&elf::abi::ELFMAGIC) {
            let cut = elf::abi::ELFMAGIC.starts_with(bytes);
            return Err(if cut {
                ImageError::Truncated
            } else {
                ImageError::NotElf
            });
        }
        if bytes.get(CLASS_OFFSET) == Some(&CLASS_32) {
            return Err(ImageError::Is32Bit);
        }
        let elf = ElfBytes::minimal_parse(bytes).map_err(|error| refuse(&error))?;
        if elf.ehdr.e_machine != EM_X86_64 {
            return Err(ImageError::WrongMachine(elf.ehdr.e_machine));
        }
        Ok(Self { bytes, elf })
    }

    /// Entry of the ELF header.
    pub(crate) fn entry(&self) -> u64 {
        self.elf.ehdr.e_entry
    }

    /// The segments to load, by ascending address, none over another.
    pub(crate) fn segments(&self) -> Result<ArrayVec<Segment, MAX_SEGMENTS>, ImageError> {
        let mut found = ArrayVec::<(usize, Segment), MAX_SEGMENTS>::new();
        for (index, header) in self
            .elf
            .segments()
            .ok_or(ImageError::NoSegments)?
            .iter()
            .enumerate()
        {
            if header.p_type != PT_LOAD || header.p_flags & ACCESS_FLAGS == 0 || header.p_memsz == 0
            {
                continue;
            }
            if header.p_filesz > header.p_memsz {
                return Err(ImageError::SegmentLargerInFile(index));
            }
            let file = self.range(header.p_offset, header.p_filesz)?;
            if header.p_paddr.checked_add(header.p_memsz).is_none() {
                return Err(ImageError::SegmentWraps(index));
            }
            let segment = Segment {
                file,
                paddr: header.p_paddr,
                memory_size: header.p_memsz,
            };
            found
                .try_push((index, segment))
                .map_err(|_full| ImageError::TooManySegments)?;
        }
        found.sort_unstable_by_key(|(_, segment)| segment.paddr);
        for pair in found.windows(2) {
            if let [(first, lower), (second, upper)] = pair
                && lower.end() > upper.paddr
            {
                return Err(ImageError::SegmentsOverlap(
                    *first.min(second),
                    *first.max(second),
                ));
            }
        }
        if found.is_empty() {
            Err(ImageError::NoSegments)
        } else {
            Ok(found.into_iter().map(|(_, segment)| segment).collect())
        }
    }

    /// Calls `take` with type and contents of every note named "Xen" in the segments, or if there is none in the sections.
    pub(crate) fn each_note(&self, mut take: impl FnMut(u64, &'a [u8])) -> Result<(), ImageError> {
        let mut found = false;
        let mut left = MAX_NOTES;
        let mut each = |bytes: &'a [u8], found: &mut bool| {
            let notes = NoteIterator::new(LittleEndian, Class::ELF64, NOTE_ALIGNMENT, bytes);
            for note in notes.take(left) {
                left -= 1;
                if let Note::Unknown(note) = note
                    && note.name == hypercall_abi::elf_note::NOTE_NAME
                {
                    *found = true;
                    take(note.n_type, note.desc);
                }
            }
        };
        for header in self
            .elf
            .segments()
            .into_iter()
            .flat_map(|table| table.iter())
        {
            if header.p_type == PT_NOTE && header.p_offset != 0 {
                each(
                    self.bytes
                        .get(self.range(header.p_offset, header.p_filesz)?)
                        .unwrap_or_default(),
                    &mut found,
                );
            }
        }
        if found {
            return Ok(());
        }
        for header in self
            .elf
            .section_headers()
            .into_iter()
            .flat_map(|table| table.iter())
        {
            if header.sh_type == SHT_NOTE {
                each(
                    self.bytes
                        .get(self.range(header.sh_offset, header.sh_size)?)
                        .unwrap_or_default(),
                    &mut found,
                );
            }
        }
        if found {
            Ok(())
        } else {
            Err(ImageError::NoNotes)
        }
    }

    /// A range of the file, if it is all there.
    fn range(&self, offset: u64, size: u64) -> Result<core::ops::Range<usize>, ImageError> {
        let start = usize::try_from(offset).map_err(|_large| ImageError::Truncated)?;
        let size = usize::try_from(size).map_err(|_large| ImageError::Truncated)?;
        let end = start.checked_add(size).ok_or(ImageError::Truncated)?;
        if end > self.bytes.len() {
            Err(ImageError::Truncated)
        } else {
            Ok(start..end)
        }
    }
}

/// The library's errors, told as ours: what lies beyond the end of the file, and the rest.
fn refuse(error: &ParseError) -> ImageError {
    match error {
        ParseError::SliceReadError(_) | ParseError::BadOffset(_) | ParseError::IntegerOverflow => {
            ImageError::Truncated
        }
        ParseError::BadMagic(_) => ImageError::NotElf,
        ParseError::UnsupportedElfClass(_)
        | ParseError::UnsupportedElfEndianness(_)
        | ParseError::UnsupportedVersion(_)
        | ParseError::StringTableMissingNul(_)
        | ParseError::BadEntsize(_)
        | ParseError::UnexpectedSectionType(_)
        | ParseError::UnexpectedSegmentType(_)
        | ParseError::UnexpectedAlignment(_)
        | ParseError::Utf8Error(_)
        | ParseError::TryFromSliceError(_)
        | ParseError::TryFromIntError(_) => ImageError::Malformed,
    }
}
