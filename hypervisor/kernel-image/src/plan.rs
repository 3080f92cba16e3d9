//! The load plan: what of a kernel's file goes where, and how the kernel wants to be started.
//!
//! Placement is by physical address, never by virtual: `virt = paddr - PADDR_OFFSET + VIRT_BASE`, and the page at `VIRT_BASE` is the
//! domain's PFN 0.

use core::ops::Range;

use arrayvec::{ArrayString, ArrayVec};
use hypercall_abi::mmu::PAGE_SIZE;

use crate::error::ImageError;
use crate::image::Image;
use crate::note::Notes;

/// Segments that a kernel may have.
pub const MAX_SEGMENTS: usize = 16;
/// Bytes of a kernel's name that are kept.
const NAME_LENGTH: usize = 32;

/// A piece of the file and the memory that it fills. What the file does not fill is zero.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Bytes of the file.
    pub file: Range<usize>,
    /// Where they go, as the file's physical address.
    pub paddr: u64,
    /// Bytes of memory, at least as many as of the file.
    pub memory_size: u64,
}

impl Segment {
    /// First physical address behind it; cannot overflow in a plan.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.paddr.saturating_add(self.memory_size)
    }
}

/// Features that a kernel names, as bitmaps of `XENFEAT_*`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features {
    /// It can use them.
    pub supported: u64,
    /// It says it needs them. One that is known but not offered is no error: every Linux asks for writable page tables.
    pub required: u64,
    /// Whether the kernel gave the bitmap, and not only names.
    pub by_number: bool,
}

/// A 64-bit PV kernel, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadPlan {
    /// What to load, by ascending address; none overlaps another.
    pub segments: ArrayVec<Segment, MAX_SEGMENTS>,
    /// Virtual address of PFN 0.
    pub virt_base: u64,
    /// Physical address, in the file's terms, of PFN 0.
    pub paddr_offset: u64,
    /// Virtual address of the first instruction.
    pub entry: u64,
    /// First virtual address of the image.
    pub virt_start: u64,
    /// First virtual address behind the image.
    pub virt_end: u64,
    /// Virtual address of the page to fill with hypercall stubs, a page of the image.
    pub hypercall_page: Option<u64>,
    /// Virtual address at which the kernel wants its P2M, if it can be had there.
    pub init_p2m: Option<u64>,
    /// The ramdisk need not be mapped.
    pub mod_start_pfn: bool,
    /// The kernel's name, printable.
    pub guest_os: ArrayString<NAME_LENGTH>,
    /// Its features.
    pub features: Features,
}

impl LoadPlan {
    /// Where a segment goes, as bytes from the start of PFN 0.
    #[must_use]
    pub fn offset_in_domain(&self, segment: &Segment) -> u64 {
        segment.paddr.saturating_sub(self.paddr_offset)
    }

    /// Where a virtual address of the image is, as bytes from the start of PFN 0.
    #[must_use]
    pub fn offset_of_virtual(&self, address: u64) -> u64 {
        address.saturating_sub(self.virt_base)
    }
}

/// Reads a kernel.
///
/// # Errors
/// The first reason why it cannot be loaded.
pub fn plan(bytes: &[u8]) -> Result<LoadPlan, ImageError> {
    let image = Image::parse(bytes)?;
    let segments = image.segments()?;
    let notes = Notes::read(&image)?;
    assemble(&image, segments, &notes).map_err(|error| {
        // Whatever is wrong with its PV side: a kernel with a PVH entry was not made for us.
        let not_pv = matches!(
            error,
            ImageError::WrongInterface | ImageError::WrongLoader | ImageError::Addresses { .. }
        );
        if not_pv && notes.pvh_entry {
            ImageError::NoPvSupport
        } else {
            error
        }
    })
}

fn assemble(
    image: &Image<'_>,
    segments: ArrayVec<Segment, MAX_SEGMENTS>,
    notes: &Notes<'_>,
) -> Result<LoadPlan, ImageError> {
    if !notes.xen_version.starts_with(b"xen-3.0") {
        return Err(ImageError::WrongInterface);
    }
    if !notes.loader.starts_with(b"generic") && !notes.guest_os.starts_with(b"linux") {
        return Err(ImageError::WrongLoader);
    }
    if notes.paddr_offset.is_some() && notes.virt_base.is_none() {
        return Err(ImageError::OffsetWithoutBase);
    }
    let base = notes.virt_base.unwrap_or(0);
    let paddr_offset = notes.paddr_offset.unwrap_or(0);
    let entry = notes.entry.unwrap_or(image.entry());
    let first = segments.first().ok_or(ImageError::NoSegments)?.paddr;
    let last = segments.last().ok_or(ImageError::NoSegments)?.end();
    let virtual_address = |paddr: u64| {
        paddr
            .checked_sub(paddr_offset)
            .and_then(|offset| offset.checked_add(base))
    };
    let (start, end) = (
        virtual_address(first).unwrap_or(0),
        virtual_address(last).unwrap_or(0),
    );
    let placed = virtual_address(first).is_some() && virtual_address(last).is_some();
    if !placed || start < base || !(start..=end).contains(&entry) || !base.is_multiple_of(PAGE_SIZE)
    {
        return Err(ImageError::Addresses {
            base,
            start,
            end,
            entry,
        });
    }
    if let Some(page) = notes.hypercall_page {
        let behind = page.checked_add(PAGE_SIZE);
        let limit = end.checked_next_multiple_of(PAGE_SIZE);
        if !page.is_multiple_of(PAGE_SIZE)
            || page < base
            || behind.is_none()
            || limit.is_none()
            || behind > limit
        {
            return Err(ImageError::HypercallPage(page));
        }
    }
    Ok(LoadPlan {
        segments,
        virt_base: base,
        paddr_offset,
        entry,
        virt_start: start,
        virt_end: end,
        hypercall_page: notes.hypercall_page,
        init_p2m: notes
            .init_p2m
            .filter(|address| address.is_multiple_of(PAGE_SIZE) && *address < base),
        mod_start_pfn: notes.mod_start_pfn.is_some_and(|value| value != 0),
        guest_os: printable(notes.guest_os),
        features: notes.all_features()?,
    })
}

/// Text of a stranger, with `?` for what is not printable.
fn printable(bytes: &[u8]) -> ArrayString<NAME_LENGTH> {
    let mut text = ArrayString::new();
    for &byte in bytes.iter().take(NAME_LENGTH) {
        text.push(if byte == b' ' || byte.is_ascii_graphic() {
            char::from(byte)
        } else {
            '?'
        });
    }
    text
}
