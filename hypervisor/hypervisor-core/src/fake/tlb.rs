//! A fake CPU's translation caches: every translation and every table stays cached until a flush removes it.

use std::collections::BTreeMap;
use std::vec::Vec;

use crate::ids::{EntryIndex, Level, Mfn, Nanos};
use crate::machine::{Flush, RootFlush};

use crate::vcpu::debug::DebugRegisters;
use crate::vcpu::state::Control;

use super::ram::FakeRam;

const PRESENT: u64 = 1;
const WRITE: u64 = 1 << 1;
const USER: u64 = 1 << 2;
const GLOBAL: u64 = 1 << 8;
const FRAME: u64 = 0x000f_ffff_ffff_f000;

/// What an access wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Read.
    Read,
    /// Write.
    Write,
}

/// What a cached entry lets a CPU do with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CachedUse {
    /// Walk it as a table of this level.
    Walk(Level),
    /// Read it.
    Read,
    /// Write it.
    Write,
}

/// A cached entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cached {
    /// The root under which it was cached.
    pub root: Mfn,
    /// The frame that it leads to.
    pub frame: Mfn,
    /// What it permits.
    pub how: CachedUse,
    /// The page, or the first page of what the table translates.
    pub address: u64,
}

#[derive(Clone, Copy, Debug)]
struct Leaf {
    root: Mfn,
    frame: Mfn,
    writable: bool,
    global: bool,
}

/// A CPU.
#[derive(Debug, Default)]
pub struct FakeCpu {
    root: Option<Mfn>,
    leaves: BTreeMap<u64, Leaf>,
    /// By level of the table and the address bits above what it translates: root, table, writable so far.
    tables: BTreeMap<(Level, u64), (Mfn, Mfn, bool)>,
    /// The descriptor window.
    pub windows: [Option<Mfn>; 32],
    /// Entries of the LDT, as loaded.
    pub ldt_entries: u16,
    /// The deadline set last.
    pub deadline: Option<Nanos>,
    /// FS base, active GS base, inactive GS base.
    pub bases: [u64; 3],
    /// CR0.TS.
    pub task_switched: bool,
    /// TSC_AUX.
    pub tsc_aux: u32,
    /// How often another domain began here.
    pub separations: u32,
    /// Debug registers, as loaded last.
    pub debug: Option<DebugRegisters>,
    /// CR4 bits and XCR0, as loaded last.
    pub control: Option<Control>,
}

impl FakeCpu {
    /// The root in CR3; none while the idle root is loaded.
    #[must_use]
    pub fn root(&self) -> Option<Mfn> {
        self.root
    }

    pub(super) fn load(&mut self, root: Option<Mfn>, flush: RootFlush) {
        self.root = root;
        match flush {
            RootFlush::All => self.flush(Flush::All),
            RootFlush::NonGlobal => {
                self.leaves.retain(|_, leaf| leaf.global);
                self.tables.clear();
            }
        }
    }

    pub(super) fn flush(&mut self, what: Flush) {
        match what {
            Flush::All => {
                self.leaves.clear();
                self.tables.clear();
            }
            // INVLPG drops the page and, as processors document it, the paging-structure caches.
            Flush::Page(address) => {
                assert!(
                    address >> 47 == 0 || address >> 47 == 0x1_ffff,
                    "not canonical"
                );
                self.leaves.remove(&(address >> 12));
                self.tables.clear();
            }
        }
    }

    pub(super) fn cached(&self) -> Vec<Cached> {
        let leaf = |(&page, leaf): (&u64, &Leaf)| Cached {
            root: leaf.root,
            frame: leaf.frame,
            how: if leaf.writable {
                CachedUse::Write
            } else {
                CachedUse::Read
            },
            address: page << 12,
        };
        let table =
            |(&(level, prefix), &(root, frame, _)): (&(Level, u64), &(Mfn, Mfn, bool))| Cached {
                root,
                frame,
                how: CachedUse::Walk(level),
                address: prefix,
            };
        self.leaves
            .iter()
            .map(leaf)
            .chain(self.tables.iter().map(table))
            .collect()
    }

    /// Translates as user code: by what is cached, else by a walk from the lowest cached table.
    pub(super) fn access(&mut self, ram: &FakeRam, address: u64, how: Access) -> Option<Mfn> {
        let page = address >> 12;
        let wanted = |writable| how == Access::Read || writable;
        if let Some(leaf) = self.leaves.get(&page).filter(|leaf| wanted(leaf.writable)) {
            return Some(leaf.frame);
        }
        let root = self.root?;
        let (mut level, mut table, mut writable) = (Level::L4, root, true);
        for cached in [Level::L3, Level::L2, Level::L1] {
            if let Some(&(_, frame, w)) = self.tables.get(&(cached, prefix(cached, address))) {
                (level, table, writable) = (cached, frame, w);
            }
        }
        loop {
            let entry = ram.entry(table, EntryIndex::of_virtual(address, level).get());
            if entry & (PRESENT | USER) != PRESENT | USER {
                return None;
            }
            writable &= entry & WRITE != 0;
            let frame = Mfn::new((entry & FRAME) >> 12);
            let Some(below) = level.below() else {
                let global = entry & GLOBAL != 0;
                self.leaves.insert(
                    page,
                    Leaf {
                        root,
                        frame,
                        writable,
                        global,
                    },
                );
                return wanted(writable).then_some(frame);
            };
            self.tables
                .insert((below, prefix(below, address)), (root, frame, writable));
            (level, table) = (below, frame);
        }
    }
}

/// The address bits that select a table of `level`.
fn prefix(level: Level, address: u64) -> u64 {
    let shift = match level {
        Level::L1 => 21,
        Level::L2 => 30,
        Level::L3 => 39,
        Level::L4 => 48,
    };
    address >> shift << shift
}
