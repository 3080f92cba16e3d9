//! The contents of a new domain's pages, any range of them at a time. What is not named here stays zero, as frames come.

use super::Recipe;
use crate::resources::FRAME_BYTES;
use alloc::{boxed::Box, vec, vec::Vec};
use core::ops::Range;
use hypercall_abi::{RawMfn, hypercall_page::fill_hypercall_page};
use kernel_image::{Layout, Rings, start_info};
use zerocopy::IntoBytes;

/// Bytes of a page, as a length in memory.
const PAGE: usize = 4096;

/// A run of pages with contents of one kind.
#[derive(Clone, Debug)]
pub(super) struct Run {
    pub(super) source: Source,
    /// First page in the domain.
    pub(super) pfn: u64,
    /// How many.
    pub(super) count: u64,
}

/// Where contents come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Source {
    Image,
    Ramdisk,
    P2m,
    StartInfo,
    Tables,
}

/// All runs of a domain, by what can be computed from its layout alone.
pub(super) fn runs(recipe: &Recipe, layout: &Layout) -> Vec<Run> {
    let mut runs = Vec::new();
    let mut push = |source, pfn, count| {
        if count > 0 {
            runs.push(Run { source, pfn, count });
        }
    };
    for pages in image_pages(recipe) {
        push(Source::Image, pages.start, pages.end - pages.start);
    }
    if let Some(ramdisk) = layout.ramdisk {
        push(
            Source::Ramdisk,
            ramdisk.pfn,
            ramdisk.len.div_ceil(FRAME_BYTES),
        );
    }
    push(Source::P2m, layout.p2m.pfn, layout.p2m.list_pages);
    push(Source::StartInfo, layout.start_info.pfn, 1);
    // The two blocks of tables are not adjacent; each is a run.
    push(Source::Tables, layout.root.pfn, layout.table_pages());
    let outside = layout.all_tables() - layout.table_pages();
    push(
        Source::Tables,
        layout.table_pfn(layout.table_pages()),
        outside,
    );
    runs
}

/// What the contents depend on.
#[derive(Debug)]
pub(super) struct Inputs<'a> {
    pub(super) recipe: &'a Recipe,
    pub(super) layout: &'a Layout,
    /// The frame of each page.
    pub(super) frames: &'a [u64],
    pub(super) shared_info: RawMfn,
    pub(super) rings: Rings,
}

impl Inputs<'_> {
    /// The contents of `count` pages of a run, from its `first` on.
    pub(super) fn contents(&self, run: &Run, first: u64, count: u64) -> Vec<u8> {
        let mut bytes = vec![0; to_len(count) * PAGE];
        match run.source {
            Source::Image => self.fill_image(run.pfn + first, &mut bytes),
            Source::Ramdisk => {
                let from = self.recipe.ramdisk().get(to_len(first) * PAGE..);
                copy(&mut bytes, from.unwrap_or(&[]));
            }
            Source::P2m => self.fill_p2m(first, &mut bytes),
            Source::StartInfo => {
                let cmdline = self.recipe.cmdline().as_bytes();
                let frame_of = |pfn| self.frame_of(pfn);
                let info = start_info(
                    self.layout,
                    self.shared_info,
                    Some(self.rings),
                    cmdline,
                    frame_of,
                );
                copy(&mut bytes, info.as_bytes());
            }
            Source::Tables => self.fill_tables(run, first, &mut bytes),
        }
        bytes
    }

    fn frame_of(&self, pfn: u64) -> u64 {
        self.frames.get(to_len(pfn)).copied().unwrap_or(u64::MAX)
    }

    /// Pages of the image: all segments that touch them, and the hypercall page over them.
    fn fill_image(&self, pfn: u64, bytes: &mut [u8]) {
        let plan = self.recipe.plan();
        let start = pfn * FRAME_BYTES;
        for segment in &plan.segments {
            let file = self
                .recipe
                .kernel()
                .get(segment.file.clone())
                .unwrap_or(&[]);
            let offset = plan.offset_in_domain(segment);
            if let Some(skip) = start.checked_sub(offset) {
                copy(bytes, file.get(to_len(skip)..).unwrap_or(&[]));
            } else if let Some(to) = bytes.get_mut(to_len(offset - start)..) {
                copy(to, file);
            }
        }
        if let Some(address) = plan.hypercall_page
            && let Some(at) = plan.offset_of_virtual(address).checked_sub(start)
            && let Some(page) = bytes
                .get_mut(to_len(at)..)
                .and_then(<[u8]>::first_chunk_mut)
        {
            fill_hypercall_page(page);
        }
    }

    /// Pages of the list of frames: 512 entries each, zero behind the last.
    fn fill_p2m(&self, first: u64, bytes: &mut [u8]) {
        let from = self.frames.get(to_len(first) * (PAGE / 8)..).unwrap_or(&[]);
        for (to, frame) in bytes.chunks_exact_mut(8).zip(from) {
            to.copy_from_slice(&frame.to_le_bytes());
        }
    }

    fn fill_tables(&self, run: &Run, first: u64, bytes: &mut [u8]) {
        let skipped = if run.pfn == self.layout.root.pfn {
            0
        } else {
            self.layout.table_pages()
        };
        let mut entries = Box::new([0; 512]);
        for (page, index) in bytes.chunks_exact_mut(PAGE).zip(skipped + first..) {
            self.layout
                .fill_table(index, |pfn| self.frame_of(pfn), &mut entries);
            copy(page, entries.as_bytes());
        }
    }
}

/// Pages of the image that hold bytes of the file or the hypercall page: runs, ascending, none over another.
fn image_pages(recipe: &Recipe) -> Vec<Range<u64>> {
    let plan = recipe.plan();
    let mut found: Vec<Range<u64>> = (plan.segments.iter())
        .filter(|segment| !segment.file.is_empty())
        .map(|segment| {
            let offset = plan.offset_in_domain(segment);
            let bytes = u64::try_from(segment.file.len()).unwrap_or(u64::MAX);
            offset / FRAME_BYTES..offset.saturating_add(bytes).div_ceil(FRAME_BYTES)
        })
        .collect();
    if let Some(address) = plan.hypercall_page {
        let page = plan.offset_of_virtual(address) / FRAME_BYTES;
        found.push(page..page + 1);
    }
    found.sort_by_key(|pages| pages.start);
    let mut merged: Vec<Range<u64>> = Vec::new();
    for pages in found {
        match merged.last_mut() {
            Some(last) if pages.start <= last.end => last.end = last.end.max(pages.end),
            _ => merged.push(pages),
        }
    }
    merged
}

/// Copies what fits.
fn copy(to: &mut [u8], from: &[u8]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = *from;
    }
}

/// A number of pages or bytes as a length in memory; more than memory can hold finds nothing there.
pub(super) fn to_len(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX / PAGE)
}
