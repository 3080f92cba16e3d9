//! Where everything lies in a new domain's memory.
//!
//! From `virt_base` on, packed, page by page: image (with the hole below it), ramdisk, P2M, start info, for an ordinary domain the
//! xenstore and the console ring, page tables with the L4 first, one page of stack, and at least 512 KiB of free memory up to a
//! multiple of 4 MiB. All of that is mapped. A kernel that can do without gets its ramdisk behind the mapping, unmapped, and its P2M
//! behind that, mapped where it asks by tables of its own, which are mapped nowhere.

use hypercall_abi::mmu::{HYPERVISOR_VIRT_END, PAGE_SIZE};
use hypercall_abi::version::XENFEAT_DOM0;

use crate::error::LayoutError;
use crate::plan::LoadPlan;

/// Free memory behind the stack, at least.
const PADDING: u64 = 512 << 10;
/// The mapping ends at a multiple of this.
const END_ALIGNMENT: u64 = 4 << 20;
/// Bytes that an L1, an L2 and an L3 table map.
pub(crate) const L1_SPAN: u64 = 1 << 21;
pub(crate) const L2_SPAN: u64 = 1 << 30;
pub(crate) const L3_SPAN: u64 = 1 << 39;
/// First address that is not canonical.
const LOWER_HALF_END: u64 = 1 << 47;
/// Bytes of a P2M entry.
const P2M_ENTRY: u64 = 8;

/// What sort of domain is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The one that the hypervisor starts: no rings.
    FirstDomain,
    /// One that dom0 builds.
    Domain,
}

/// A page of the initial mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// Its number in the domain.
    pub pfn: u64,
    /// Its virtual address.
    pub address: u64,
}

/// Where the ramdisk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ramdisk {
    /// Its first page.
    pub pfn: u64,
    /// Its virtual address, if it is mapped.
    pub address: Option<u64>,
    /// Its exact length in bytes.
    pub len: u64,
}

/// Where the P2M is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct P2m {
    /// Its first page.
    pub pfn: u64,
    /// Its virtual address.
    pub address: u64,
    /// Pages of the list.
    pub list_pages: u64,
    /// Page tables of its own, directly behind the list; none if it is in the initial mapping.
    pub tables: Option<TableCounts>,
}

/// How many page tables of each level below the L4 there are. In a block they stand in this order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableCounts {
    /// L3 tables.
    pub l3: u64,
    /// L2 tables.
    pub l2: u64,
    /// L1 tables.
    pub l1: u64,
}

impl TableCounts {
    /// Tables that map the addresses from `start` to just before `end`; `start < end`.
    fn for_range(start: u64, end: u64) -> Self {
        let count = |span: u64| (end - 1) / span - start / span + 1;
        Self {
            l3: count(L3_SPAN),
            l2: count(L2_SPAN),
            l1: count(L1_SPAN),
        }
    }

    /// All of them.
    #[must_use]
    pub fn total(self) -> u64 {
        self.l3 + self.l2 + self.l1
    }
}

/// The layout of a domain's memory. Pages that it does not name are free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Pages of the domain.
    pub nr_pages: u64,
    /// Virtual address of PFN 0.
    pub virt_base: u64,
    /// First virtual address behind the initial mapping.
    pub virt_end: u64,
    /// Ramdisk, if there is one.
    pub ramdisk: Option<Ramdisk>,
    /// P2M.
    pub p2m: P2m,
    /// Start info.
    pub start_info: Page,
    /// Xenstore ring, of an ordinary domain.
    pub xenstore: Option<Page>,
    /// Console ring, of an ordinary domain.
    pub console: Option<Page>,
    /// First of the page tables of the initial mapping: the L4.
    pub root: Page,
    /// The tables behind it.
    pub tables: TableCounts,
    /// Boot stack.
    pub stack: Page,
    /// First page behind all that is named here.
    pub first_free: u64,
}

impl Layout {
    /// Pages of the initial mapping.
    #[must_use]
    pub fn mapped_pages(&self) -> u64 {
        (self.virt_end - self.virt_base) / PAGE_SIZE
    }

    /// Initial stack pointer.
    #[must_use]
    pub fn stack_top(&self) -> u64 {
        self.stack.address + PAGE_SIZE
    }

    /// Page tables of the initial mapping, the L4 included.
    #[must_use]
    pub fn table_pages(&self) -> u64 {
        1 + self.tables.total()
    }
}

/// Lays out a domain of `nr_pages` pages.
///
/// # Errors
/// What does not fit.
pub fn layout(
    plan: &LoadPlan,
    nr_pages: u64,
    ramdisk_len: u64,
    kind: Kind,
) -> Result<Layout, LayoutError> {
    check_kind(plan, kind)?;
    let layout = place(plan, nr_pages, ramdisk_len, kind)?;
    if layout.first_free > nr_pages {
        return Err(LayoutError::TooSmall {
            needed: layout.first_free,
            given: nr_pages,
        });
    }
    Ok(layout)
}

/// Pages that a domain needs at least for this kernel and ramdisk.
///
/// # Errors
/// What no amount of memory mends.
pub fn minimum_pages(plan: &LoadPlan, ramdisk_len: u64, kind: Kind) -> Result<u64, LayoutError> {
    check_kind(plan, kind)?;
    // The P2M grows with the domain, but far more slowly, so this ends after a few steps.
    let mut pages = 1;
    loop {
        let needed = place(plan, pages, ramdisk_len, kind)?.first_free;
        if needed <= pages {
            return Ok(pages);
        }
        pages = needed;
    }
}

fn check_kind(plan: &LoadPlan, kind: Kind) -> Result<(), LayoutError> {
    let dom0 = 1 << XENFEAT_DOM0;
    match kind {
        Kind::FirstDomain if plan.features.by_number && plan.features.supported & dom0 == 0 => {
            Err(LayoutError::NotForFirstDomain)
        }
        Kind::Domain if plan.features.required & dom0 != 0 => Err(LayoutError::FirstDomainOnly),
        Kind::FirstDomain | Kind::Domain => Ok(()),
    }
}

/// Hands out pages of the initial mapping, one block behind the other.
struct Cursor {
    base: u64,
    next: u64,
}

impl Cursor {
    /// Takes the bytes from the cursor on, in whole pages.
    fn take(&mut self, bytes: u64) -> Result<Page, LayoutError> {
        let page = Page {
            pfn: (self.next - self.base) / PAGE_SIZE,
            address: self.next,
        };
        let full = LayoutError::AddressSpace(self.base);
        let bytes = bytes.checked_next_multiple_of(PAGE_SIZE).ok_or(full)?;
        self.next = self.next.checked_add(bytes).ok_or(full)?;
        Ok(page)
    }
}

fn place(
    plan: &LoadPlan,
    nr_pages: u64,
    ramdisk_len: u64,
    kind: Kind,
) -> Result<Layout, LayoutError> {
    let base = plan.virt_base;
    let full = LayoutError::AddressSpace(base);
    let list_bytes = nr_pages.checked_mul(P2M_ENTRY).ok_or(full)?;
    let list_pages = list_bytes.div_ceil(PAGE_SIZE);
    let outside = plan
        .init_p2m
        .filter(|&address| p2m_fits(address, list_pages, base));

    let mut cursor = Cursor { base, next: base };
    cursor.take(plan.virt_end - base)?;
    let mapped_ramdisk = if ramdisk_len > 0 && !plan.mod_start_pfn {
        Some(cursor.take(ramdisk_len)?)
    } else {
        None
    };
    let mapped_list = if outside.is_none() {
        Some(cursor.take(list_bytes)?)
    } else {
        None
    };
    let start_info = cursor.take(PAGE_SIZE)?;
    let (xenstore, console) = match kind {
        Kind::FirstDomain => (None, None),
        Kind::Domain => (Some(cursor.take(PAGE_SIZE)?), Some(cursor.take(PAGE_SIZE)?)),
    };
    let (tables, virt_end) = count_tables(base, cursor.next)?;
    let root = cursor.take((1 + tables.total()) * PAGE_SIZE)?;
    let stack = cursor.take(PAGE_SIZE)?;

    let mut first_free = (virt_end - base) / PAGE_SIZE;
    let mut ramdisk = mapped_ramdisk.map(|page| Ramdisk {
        pfn: page.pfn,
        address: Some(page.address),
        len: ramdisk_len,
    });
    if ramdisk_len > 0 && ramdisk.is_none() {
        ramdisk = Some(Ramdisk {
            pfn: first_free,
            address: None,
            len: ramdisk_len,
        });
        first_free = first_free
            .checked_add(ramdisk_len.div_ceil(PAGE_SIZE))
            .ok_or(full)?;
    }
    let p2m = match (mapped_list, outside) {
        (Some(page), _) => P2m {
            pfn: page.pfn,
            address: page.address,
            list_pages,
            tables: None,
        },
        (None, address) => {
            let address = address.ok_or(full)?;
            let tables = TableCounts::for_range(address, address + list_pages * PAGE_SIZE);
            let pfn = first_free;
            first_free = first_free
                .checked_add(list_pages + tables.total())
                .ok_or(full)?;
            P2m {
                pfn,
                address,
                list_pages,
                tables: Some(tables),
            }
        }
    };
    Ok(Layout {
        nr_pages,
        virt_base: base,
        virt_end,
        ramdisk,
        p2m,
        start_info,
        xenstore,
        console,
        root,
        tables,
        stack,
        first_free,
    })
}

/// Tables that map everything up to `before` (where they begin themselves), the stack and the padding; and where that ends.
fn count_tables(base: u64, before: u64) -> Result<(TableCounts, u64), LayoutError> {
    let full = LayoutError::AddressSpace(base);
    let mut pages = 1;
    loop {
        // The tables, one page of stack, the padding.
        let behind = (pages + 1) * PAGE_SIZE + PADDING;
        let end = before
            .checked_add(behind)
            .and_then(|end| end.checked_next_multiple_of(END_ALIGNMENT))
            .ok_or(full)?;
        if !is_guest_range(base, end) {
            return Err(full);
        }
        let tables = TableCounts::for_range(base, end);
        if tables.total() < pages {
            return Ok((tables, end));
        }
        pages = 1 + tables.total();
    }
}

/// Whether a range lies in one half of the address space, outside the hypervisor's part.
fn is_guest_range(start: u64, end: u64) -> bool {
    let lower = end <= LOWER_HALF_END;
    let upper = start >= HYPERVISOR_VIRT_END;
    start < end && (lower || upper)
}

/// Whether a P2M can be mapped at an address: below the initial mapping, and under L4 entries of its own.
fn p2m_fits(address: u64, list_pages: u64, base: u64) -> bool {
    let end = list_pages
        .checked_mul(PAGE_SIZE)
        .and_then(|bytes| address.checked_add(bytes));
    end.is_some_and(|end| {
        end <= base && is_guest_range(address, end) && (end - 1) / L3_SPAN < base / L3_SPAN
    })
}
