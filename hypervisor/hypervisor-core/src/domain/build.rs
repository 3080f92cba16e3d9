//! The first domain's memory: frames, image, ramdisk, P2M, start page and page tables, by the plan that dom0's builder uses
//! for all other domains (pv-abi 3).
//!
//! Everything is written as plain data. Nothing here gives a frame a type: the tables become tables when vCPU 0's context
//! is set, through the same validator that checks a running guest.

use alloc::vec::Vec;

use hypercall_abi::hypercall_page::fill_hypercall_page;
use hypercall_abi::ids::RawMfn;
use hypercall_abi::vcpu::VcpuGuestContext;
use kernel_image::{Kind, Layout, LoadPlan, first_context, layout, start_info};
use thiserror::Error;
use zerocopy::IntoBytes;

use crate::frame::{AllocError, OwnerId, Ram};
use crate::heap;
use crate::ids::{EntryIndex, FRAME_BYTES, Mfn, Pfn};
use crate::machine::Machine;

/// The largest piece in which the domain's memory is allocated: 128 MiB.
const LARGEST_ORDER: u8 = 15;
/// P2M entries in a frame.
const ENTRIES: u64 = 512;

/// Why the first domain could not be built.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum BuildError {
    /// It does not fit.
    #[error(transparent)]
    Layout(#[from] kernel_image::LayoutError),
    /// The pool is too small for `dom0_mem`.
    #[error("not enough memory: {have} of {wanted} pages")]
    NoMemory {
        /// Pages of the domain.
        wanted: u64,
        /// Pages that were there.
        have: u64,
    },
    /// The M2P view or the list of extents found no memory.
    #[error("no memory for the domain's M2P view")]
    NoView,
}

/// What the first domain is made from.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// The kernel's file.
    pub kernel: &'a [u8],
    /// How to load it.
    pub plan: &'a LoadPlan,
    /// Its ramdisk; empty if there is none.
    pub ramdisk: &'a [u8],
    /// Its command line.
    pub command_line: &'a [u8],
    /// Pages of memory.
    pub pages: u64,
}

/// Gives `owner` its memory, fills it, and describes vCPU 0's state at entry in `context`. Gives the frame of the L4, which is
/// to be pinned.
///
/// # Errors
/// [`BuildError`]; frames that were given stay the owner's, for its teardown.
pub fn build<M: Machine>(
    ram: Ram<'_, M>,
    owner: OwnerId,
    shared_info: Mfn,
    source: &Source<'_>,
    context: &mut VcpuGuestContext,
) -> Result<Mfn, BuildError> {
    let ramdisk_len = u64::try_from(source.ramdisk.len()).unwrap_or(u64::MAX);
    let layout = layout(source.plan, source.pages, ramdisk_len, Kind::FirstDomain)?;
    let memory = Memory::allocate(ram, owner, source.pages)?;
    memory.name(owner)?;
    memory.load_image(source);
    if let Some(ramdisk) = &layout.ramdisk {
        memory.write(ramdisk.pfn.saturating_mul(FRAME_BYTES), source.ramdisk);
    }
    memory.write_p2m(&layout);
    let info = start_info(
        &layout,
        RawMfn(shared_info.get()),
        None,
        source.command_line,
        |pfn| memory.number(pfn),
    );
    memory.write(
        layout.start_info.pfn.saturating_mul(FRAME_BYTES),
        info.as_bytes(),
    );
    memory.write_tables(&layout);
    let root = memory.frame(layout.root.pfn).ok_or(BuildError::NoView)?;
    first_context(context, source.plan, &layout, RawMfn(root.get()));
    Ok(root)
}

/// A run of pages in contiguous frames.
#[derive(Clone, Copy, Debug)]
struct Extent {
    first_page: u64,
    first_frame: u64,
}

/// The domain's pages, as few runs of frames, ascending by page.
struct Memory<'a, M: Machine> {
    ram: Ram<'a, M>,
    extents: Vec<Extent>,
    pages: u64,
}

impl<'a, M: Machine> Memory<'a, M> {
    /// Allocates in the largest pieces that there are.
    fn allocate(ram: Ram<'a, M>, owner: OwnerId, pages: u64) -> Result<Self, BuildError> {
        let mut memory = Self {
            ram,
            extents: Vec::new(),
            pages: 0,
        };
        let mut order = LARGEST_ORDER;
        while memory.pages < pages {
            let missing = pages.saturating_sub(memory.pages);
            order = order.min(u8::try_from(missing.ilog2()).unwrap_or(LARGEST_ORDER));
            match ram.allocate_for(owner, order, u64::MAX) {
                Ok(first) => memory.add(first, 1 << order)?,
                Err(AllocError::NotYet) => {}
                Err(AllocError::NoMemory) if order > 0 => order = order.saturating_sub(1),
                Err(AllocError::NoMemory | AllocError::Account(_)) => {
                    return Err(BuildError::NoMemory {
                        wanted: pages,
                        have: memory.pages,
                    });
                }
            }
        }
        Ok(memory)
    }

    fn add(&mut self, first: Mfn, frames: u64) -> Result<(), BuildError> {
        heap::reserve(&mut self.extents, 1).map_err(|_| BuildError::NoView)?;
        self.extents.push(Extent {
            first_page: self.pages,
            first_frame: first.get(),
        });
        self.pages = self.pages.saturating_add(frames);
        Ok(())
    }

    /// The frame of a page. Layouts name pages of the domain only.
    fn frame(&self, page: u64) -> Option<Mfn> {
        let behind = self.extents.partition_point(|e| e.first_page <= page);
        let extent = self.extents.get(behind.checked_sub(1)?)?;
        let offset = page.checked_sub(extent.first_page)?;
        self.ram
            .frames
            .lookup(extent.first_frame.checked_add(offset)?)
    }

    /// As [`Self::frame`], as a number for the guest.
    fn number(&self, page: u64) -> u64 {
        self.frame(page).map_or(u64::MAX, Mfn::get)
    }

    /// Enters all pages into the M2P view.
    fn name(&self, owner: OwnerId) -> Result<(), BuildError> {
        for page in 0..self.pages {
            let mfn = self.frame(page).ok_or(BuildError::NoView)?;
            self.ram
                .set_pfn(owner, mfn, Pfn::new(page))
                .map_err(|_| BuildError::NoView)?;
        }
        Ok(())
    }

    /// Writes bytes from a byte offset of the domain's memory on.
    fn write(&self, offset: u64, bytes: &[u8]) {
        let mut at = offset;
        let mut rest = bytes;
        while !rest.is_empty() {
            let within = at.checked_rem(FRAME_BYTES).unwrap_or(0);
            let room = usize::try_from(FRAME_BYTES.saturating_sub(within)).unwrap_or(0);
            let (piece, behind) = rest.split_at(room.min(rest.len()));
            if let Some(mfn) = self.frame(at.checked_div(FRAME_BYTES).unwrap_or(0)) {
                let within = usize::try_from(within).unwrap_or(0);
                self.ram.machine.write_frame(mfn, within, piece);
            }
            at = at.saturating_add(u64::try_from(piece.len()).unwrap_or(0));
            rest = behind;
        }
    }

    /// Frames come zeroed: only what the file has is written.
    fn load_image(&self, source: &Source<'_>) {
        for segment in &source.plan.segments {
            let bytes = source.kernel.get(segment.file.clone()).unwrap_or(&[]);
            self.write(source.plan.offset_in_domain(segment), bytes);
        }
        if let Some(address) = source.plan.hypercall_page {
            let mut page = [0; 4096];
            fill_hypercall_page(&mut page);
            self.write(source.plan.offset_of_virtual(address), &page);
        }
    }

    /// Page n's frame, for all pages. What is behind the last entry stays zero.
    fn write_p2m(&self, layout: &Layout) {
        for page in 0..layout.nr_pages {
            let list_page = page.checked_div(ENTRIES).unwrap_or(0);
            if let Some(list) = self.frame(layout.p2m.pfn.saturating_add(list_page)) {
                let index = EntryIndex::of_address(page << 3);
                self.ram.machine.write_entry(list, index, self.number(page));
            }
        }
    }

    fn write_tables(&self, layout: &Layout) {
        let mut entries = [0; 512];
        for table in 0..layout.all_tables() {
            layout.fill_table(table, |page| self.number(page), &mut entries);
            if let Some(mfn) = self.frame(layout.table_pfn(table)) {
                for (index, &entry) in EntryIndex::all().zip(&entries) {
                    self.ram.machine.write_entry(mfn, index, entry);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {

    use hypercall_abi::start::StartInfo;
    use kernel_image::Segment;
    use zerocopy::{FromBytes, FromZeros};

    use super::*;
    use crate::domain::account::DomainMemory;
    use crate::fake::FakeMachine;
    use crate::frame::{FrameRange, FrameTable, Layout as Ranges};
    use crate::ids::Frames;

    const BASE: u64 = 0xffff_ffff_8000_0000;
    const PAGES: u64 = 1500;

    fn plan() -> LoadPlan {
        LoadPlan {
            segments: [Segment {
                file: 4..4 + 5000,
                paddr: 0x10_0000,
                memory_size: 0x3000,
            }]
            .into_iter()
            .collect(),
            virt_base: BASE,
            paddr_offset: 0,
            entry: BASE + 0x10_0000,
            virt_start: BASE + 0x10_0000,
            virt_end: BASE + 0x10_3000,
            hypercall_page: Some(BASE + 0x10_2000),
            init_p2m: None,
            mod_start_pfn: true,
            guest_os: Default::default(),
            features: kernel_image::Features::default(),
        }
    }

    struct World {
        machine: FakeMachine,
        frames: FrameTable,
        memory: DomainMemory,
    }

    fn world(frames_in_pool: u64) -> World {
        // A hole, so that pages do not lie in one run of frames.
        let pool = [
            FrameRange {
                start: 0x11,
                end: 0x100,
            },
            FrameRange {
                start: 0x200,
                end: 0x200 + frames_in_pool,
            },
        ];
        let machine = FakeMachine::new(&pool, 1);
        let layout = Ranges {
            pool: &pool,
            withheld: &[],
            address_bits: 40,
            no_execute: true,
            max_domains: 2,
        };
        let frames = FrameTable::new(&machine, &layout).unwrap();
        let ram = Ram {
            machine: &machine,
            frames: &frames,
        };
        let memory = DomainMemory::new(ram, 0, Frames::new(1 << 20)).unwrap();
        World {
            machine,
            frames,
            memory,
        }
    }

    fn run(world: &World, context: &mut VcpuGuestContext) -> Result<(Mfn, Vec<u8>), BuildError> {
        let ram = Ram {
            machine: &world.machine,
            frames: &world.frames,
        };
        let shared_info = ram.allocate_special(world.memory.owner()).unwrap();
        let kernel: Vec<u8> = (0..6000_u32).map(|n| n.to_le_bytes()[0] | 1).collect();
        let plan = plan();
        let source = Source {
            kernel: &kernel,
            plan: &plan,
            ramdisk: &[7; 5000],
            command_line: b"console=hvc0",
            pages: PAGES,
        };
        build(ram, world.memory.owner(), shared_info, &source, context).map(|root| (root, kernel))
    }

    /// What the guest would read at an address of its initial mapping, by walking its tables.
    fn read(world: &World, root: Mfn, address: u64, to: &mut [u8]) -> u64 {
        use crate::ids::Level;
        let mut table = root;
        for level in [Level::L4, Level::L3, Level::L2] {
            let entry = world
                .machine
                .read_entry(table, EntryIndex::of_virtual(address, level));
            table = world.frames.lookup((entry >> 12) & 0xff_ffff_ffff).unwrap();
        }
        let entry = world
            .machine
            .read_entry(table, EntryIndex::of_virtual(address, Level::L1));
        let mfn = world.frames.lookup((entry >> 12) & 0xff_ffff_ffff).unwrap();
        let within = usize::try_from(address & 0xfff).unwrap();
        world.machine.read_frame(mfn, within, to);
        entry
    }

    #[test]
    fn the_kernel_finds_itself_its_ramdisk_and_its_list_of_frames() {
        let world = world(4096);
        let mut context = VcpuGuestContext::new_zeroed();
        let (root, kernel) = run(&world, &mut context).unwrap();
        assert_eq!(context.user_regs.rip, BASE + 0x10_0000);
        assert_eq!(context.ctrlreg[3], root.address());

        let mut bytes = [0; 8];
        read(&world, root, BASE + 0x10_0ffc, &mut bytes[..4]);
        assert_eq!(bytes[..4], kernel[4 + 0xffc..4 + 0x1000]);
        read(&world, root, BASE + 0x10_1000, &mut bytes[..4]);
        assert_eq!(bytes[..4], kernel[4 + 0x1000..4 + 0x1004]);
        read(&world, root, BASE + 0x10_2000, &mut bytes);
        assert_eq!(bytes[..3], [0x51, 0x41, 0x53]);

        let mut page = [0; size_of::<StartInfo>()];
        read(&world, root, context.user_regs.rsi, &mut page);
        let info = StartInfo::read_from_bytes(&page).unwrap();
        assert_eq!(info.nr_pages, PAGES);
        assert_eq!(info.mod_len, 5000);
        assert_eq!(info.flags, 0b1011);
        assert_eq!(&info.cmd_line[..13], b"console=hvc0\0");

        let mut listed = [0; 8];
        read(&world, root, info.mfn_list + (PAGES - 1) * 8, &mut listed);
        let last = world.frames.lookup(u64::from_le_bytes(listed)).unwrap();
        let ram = Ram {
            machine: &world.machine,
            frames: &world.frames,
        };
        assert_eq!(ram.pfn(world.memory.owner(), last), Pfn::new(PAGES - 1));
        read(
            &world,
            root,
            info.mfn_list + info.mod_start * 8,
            &mut listed,
        );
        let ramdisk = world.frames.lookup(u64::from_le_bytes(listed)).unwrap();
        world.machine.read_frame(ramdisk, 0, &mut bytes);
        assert_eq!(bytes, [7; 8]);
    }

    #[test]
    fn page_tables_are_mapped_read_only() {
        let world = world(4096);
        let mut context = VcpuGuestContext::new_zeroed();
        let (root, _) = run(&world, &mut context).unwrap();
        let mut page = [0; size_of::<StartInfo>()];
        read(&world, root, context.user_regs.rsi, &mut page);
        let info = StartInfo::read_from_bytes(&page).unwrap();
        for table in 0..info.nr_pt_frames {
            let entry = read(&world, root, info.pt_base + table * 4096, &mut [0; 8]);
            assert_eq!(entry & 3, 1, "table {table}");
        }
        let behind = info.pt_base + info.nr_pt_frames * 4096;
        assert_eq!(read(&world, root, behind, &mut [0; 8]) & 3, 3);
    }

    #[test]
    fn a_pool_that_is_too_small_is_said_with_both_numbers() {
        let world = world(64);
        let error = run(&world, &mut VcpuGuestContext::new_zeroed()).unwrap_err();
        assert!(
            matches!(error, BuildError::NoMemory { wanted: PAGES, have } if have < 310),
            "{error}"
        );
    }
}
