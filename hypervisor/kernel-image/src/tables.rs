//! The contents of a new domain's page tables.
//!
//! Tables are numbered: first those of the initial mapping (L4, L3s, L2s, L1s), then those of a P2M outside of it (L3s, L2s, L1s).
//! They are written as plain data; the validator that checks a running guest's tables checks these too.

use hypercall_abi::mmu::{ENTRIES_PER_TABLE, EntryFlags, PAGE_SHIFT, PAGE_SIZE};

use crate::layout::{L1_SPAN, L2_SPAN, L3_SPAN, Layout, P2m, TableCounts};

/// Flags of an entry that leads to a lower table.
const LINK: EntryFlags = EntryFlags::PRESENT
    .union(EntryFlags::WRITABLE)
    .union(EntryFlags::USER)
    .union(EntryFlags::ACCESSED)
    .union(EntryFlags::DIRTY);
/// Flags of an entry that maps a page.
const PAGE: EntryFlags = EntryFlags::PRESENT
    .union(EntryFlags::WRITABLE)
    .union(EntryFlags::ACCESSED);
/// Flags of an entry that maps a page table.
const TABLE_PAGE: EntryFlags = EntryFlags::PRESENT.union(EntryFlags::ACCESSED);

/// A contiguous range of addresses, the pages mapped there, and the tables below the L4 that map them.
#[derive(Clone, Copy)]
struct Mapping {
    start: u64,
    end: u64,
    /// Page at `start`.
    first_page: u64,
    /// Page of the first L3 table.
    first_table: u64,
    tables: TableCounts,
}

/// A table's place in a mapping.
enum Level {
    L3(u64),
    L2(u64),
    L1(u64),
}

impl Mapping {
    /// The level of the `index`-th table, and its place among those of that level.
    fn locate(&self, index: u64) -> Option<Level> {
        let TableCounts { l3, l2, .. } = self.tables;
        match index {
            _ if index < l3 => Some(Level::L3(index)),
            _ if index < l3 + l2 => Some(Level::L2(index - l3)),
            _ if index < self.tables.total() => Some(Level::L1(index - l3 - l2)),
            _ => None,
        }
    }

    /// Page of the table that maps the `nth` span from the mapping's start on, where that level's tables begin at `level_first`.
    fn table_for(&self, level_first: u64, span: u64, address: u64) -> u64 {
        self.first_table + level_first + (address / span - self.start / span)
    }

    /// Whether any address of a span is in the mapping.
    fn touches(&self, address: u64, span: u64) -> bool {
        address < self.end && address.saturating_add(span - 1) >= self.start
    }
}

impl Layout {
    /// How many page tables there are in all.
    #[must_use]
    pub fn all_tables(&self) -> u64 {
        self.table_pages() + self.p2m.tables.map_or(0, TableCounts::total)
    }

    /// The page that holds the `index`-th table.
    #[must_use]
    pub fn table_pfn(&self, index: u64) -> u64 {
        match index.checked_sub(self.table_pages()) {
            None => self.root.pfn + index,
            Some(outside) => self.p2m.pfn + self.p2m.list_pages + outside,
        }
    }

    /// Writes the contents of the `index`-th table. `frame_of` gives the frame of a page.
    pub fn fill_table(&self, index: u64, frame_of: impl Fn(u64) -> u64, entries: &mut [u64; 512]) {
        entries.fill(0);
        let main = self.main_mapping();
        let outside = self.p2m_mapping();
        if index == 0 {
            self.fill(
                entries,
                0,
                L3_SPAN,
                &main,
                |address| main.table_for(0, L3_SPAN, address),
                &frame_of,
            );
            if let Some(p2m) = outside {
                self.fill(
                    entries,
                    0,
                    L3_SPAN,
                    &p2m,
                    |address| p2m.table_for(0, L3_SPAN, address),
                    &frame_of,
                );
            }
            return;
        }
        let (mapping, within) = match (index.checked_sub(self.table_pages()), outside) {
            (Some(within), Some(p2m)) => (p2m, within),
            (Some(_), None) => return,
            (None, _) => (main, index - 1),
        };
        let TableCounts { l3, l2, .. } = mapping.tables;
        let base = |span: u64, nth: u64| (mapping.start / span + nth) * span;
        match mapping.locate(within) {
            Some(Level::L3(nth)) => {
                self.fill(
                    entries,
                    base(L3_SPAN, nth),
                    L2_SPAN,
                    &mapping,
                    |a| mapping.table_for(l3, L2_SPAN, a),
                    &frame_of,
                );
            }
            Some(Level::L2(nth)) => {
                self.fill(
                    entries,
                    base(L2_SPAN, nth),
                    L1_SPAN,
                    &mapping,
                    |a| mapping.table_for(l3 + l2, L1_SPAN, a),
                    &frame_of,
                );
            }
            Some(Level::L1(nth)) => {
                let page =
                    |address: u64| mapping.first_page + (address - mapping.start) / PAGE_SIZE;
                self.fill(
                    entries,
                    base(L1_SPAN, nth),
                    PAGE_SIZE,
                    &mapping,
                    page,
                    &frame_of,
                );
            }
            None => {}
        }
    }

    /// Writes the entries of one table that are in a mapping: entry i maps `span` bytes from `base + i * span` on.
    fn fill(
        &self,
        entries: &mut [u64; 512],
        base: u64,
        span: u64,
        mapping: &Mapping,
        target: impl Fn(u64) -> u64,
        frame_of: &impl Fn(u64) -> u64,
    ) {
        for (slot, index) in entries.iter_mut().zip(0..ENTRIES_PER_TABLE) {
            // The L4 covers both halves: its upper entries stand for addresses with the sign extended.
            let mut address = base.wrapping_add(index.wrapping_mul(span));
            if span == L3_SPAN && index >= ENTRIES_PER_TABLE / 2 {
                address |= 0xffff << 48;
            }
            if mapping.touches(address, span) {
                let page = target(address.max(mapping.start));
                let flags = if span > PAGE_SIZE {
                    LINK
                } else if self.is_table(page) {
                    TABLE_PAGE
                } else {
                    PAGE
                };
                *slot = frame_of(page) << PAGE_SHIFT | flags.bits();
            }
        }
    }

    fn is_table(&self, page: u64) -> bool {
        let main = self.root.pfn..self.root.pfn + self.table_pages();
        let behind_list = self.p2m.pfn + self.p2m.list_pages;
        let outside = behind_list..behind_list + self.p2m.tables.map_or(0, TableCounts::total);
        main.contains(&page) || outside.contains(&page)
    }

    fn main_mapping(&self) -> Mapping {
        let first_table = self.root.pfn + 1;
        Mapping {
            start: self.virt_base,
            end: self.virt_end,
            first_page: 0,
            first_table,
            tables: self.tables,
        }
    }

    fn p2m_mapping(&self) -> Option<Mapping> {
        let P2m {
            pfn,
            address,
            list_pages,
            tables,
        } = self.p2m;
        let end = address + list_pages * PAGE_SIZE;
        tables.map(|tables| Mapping {
            start: address,
            end,
            first_page: pfn,
            first_table: pfn + list_pages,
            tables,
        })
    }
}
