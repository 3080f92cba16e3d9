//! Grants and their reference: entries as guests see them, pins, mappings, and the entries that map.

use std::collections::BTreeMap;

use hypercall_abi::grant::*;
use hypercall_abi::{GuestPtr, RawDomId, RawGrantRef, number};
use hypervisor_core::fake::bench::{BASE, DATA};
use hypervisor_core::grant::judge;
use hypervisor_core::ids::Place;
use hypervisor_core::machine::Machine;
use hypervisor_core::sync::Held;

use super::world::World;

/// Pages of the first domain where grants are mapped, and two of its own frames.
const WINDOWS: [u64; 2] = [BASE + 0x5000, BASE + 0x6000];
const OWN: [u64; 2] = [BASE + 0x7000, BASE + 0x8000];
/// Entries that are used.
const ENTRIES: u64 = 6;
const NOWHERE: u64 = BASE + 0x4000_0000;

/// Uses of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pins {
    grantee: u16,
    frame: u64,
    readers: u16,
    writers: u16,
}

#[derive(Clone, Copy, Debug)]
struct Mapping {
    granter: u16,
    serial: u64,
    gref: u32,
    frame: u64,
    write: bool,
    host: bool,
    device: bool,
    address: u64,
}

/// The reference.
pub(crate) struct Grants {
    /// Words of the tables that are not 0: flags, domid, frame.
    words: BTreeMap<(u16, u32), (u16, u16, u32)>,
    pins: BTreeMap<(u16, u32), Pins>,
    mappings: BTreeMap<(u16, u32), Mapping>,
    /// Which frame a window maps, and whether it may be written.
    windows: BTreeMap<u64, (u64, bool)>,
    sizes: BTreeMap<u16, u32>,
    own: [u64; 2],
}

impl Grants {
    pub(crate) fn new(world: &mut World) -> Self {
        let own = OWN.map(|address| world.bench.frame_at(address));
        for window in WINDOWS {
            let arguments = [window, 0, 0];
            assert_eq!(world.bench.result(number::UPDATE_VA_MAPPING, arguments), 0);
        }
        Self {
            words: BTreeMap::new(),
            pins: BTreeMap::new(),
            mappings: BTreeMap::new(),
            windows: BTreeMap::new(),
            sizes: BTreeMap::new(),
            own,
        }
    }

    /// One operation of anybody's.
    pub(crate) fn step(&mut self, world: &mut World) -> String {
        let caller = world.caller();
        match world.below(10) {
            0..3 => self.write_entry(world, caller),
            3..6 => self.map(world, caller),
            6..8 => self.unmap(world, caller),
            8 => self.copy(world, caller),
            _ => self.grow(world, caller),
        }
    }

    /// Whether somebody else refers to frames of a domain.
    pub(crate) fn holds(&self, world: &World, id: u16) -> bool {
        let serial = world.domains[&id].serial();
        let frames = &world.frames[&id];
        let mapped = self
            .windows
            .values()
            .any(|(frame, _)| frames.contains(frame));
        let by_device = |(&(grantee, _), m): (&(u16, u32), &Mapping)| {
            grantee != id && m.device && m.serial == serial
        };
        mapped || self.mappings.iter().any(by_device)
    }

    /// Whether anything refers to a frame.
    pub(crate) fn uses(&self, frame: u64) -> bool {
        let mapped = self.windows.values().any(|&(mapped, _)| mapped == frame);
        mapped || self.mappings.values().any(|m| m.frame == frame)
    }

    /// A domain has ended, or has nothing left but its memory.
    pub(crate) fn end(&mut self, world: &World, id: u16, gone: bool) {
        let own = self.mappings.extract_if((id, 0)..(id + 1, 0), |_, _| true);
        let own: Vec<Mapping> = own.map(|(_, mapping)| mapping).collect();
        for mapping in own {
            for _ in 0..u8::from(mapping.host) + u8::from(mapping.device) {
                self.unpin(world, &mapping);
            }
        }
        if gone {
            self.words.retain(|(domain, _), _| *domain != id);
            self.pins.retain(|(domain, _), _| *domain != id);
            self.sizes.remove(&id);
        }
    }

    /// All entries and records are as the reference says.
    pub(crate) fn check(&self, world: &World, place: &str) {
        let ram = world.bench.hv.ram();
        for (&id, domain) in &world.domains {
            let table = domain
                .grants
                .frame(0, &mut Held::enter())
                .expect("one frame");
            for gref in 0..u32::try_from(ENTRIES).expect("few") {
                let at = usize::try_from(gref).expect("few") * 8;
                let wanted = self.words.get(&(id, gref)).copied().unwrap_or((0, 0, 0));
                let machine = world.bench.hv.machine();
                let found = (
                    machine.load_u16(Place::new(table, at)),
                    machine.load_u16(Place::new(table, at + 2)),
                    machine.load_u32(table, at + 4),
                );
                assert_eq!(found, wanted, "{place}: entry {gref} of d{id}");
            }
            let recorded = judge::recorded(ram, &**domain);
            let recorded =
                recorded
                    .into_iter()
                    .map(|(gref, (grantee, frame, readers, writers))| {
                        let frame = frame.get();
                        let pins = Pins {
                            grantee,
                            frame,
                            readers,
                            writers,
                        };
                        ((id, gref), pins)
                    });
            let wanted = self.pins.range((id, 0)..(id + 1, 0));
            assert!(
                recorded.eq(wanted.map(|(&a, &b)| (a, b))),
                "{place}: pins of d{id}"
            );
        }
    }

    fn frames(&self, world: &World, id: u16) -> Vec<u64> {
        world.frames.get(&id).cloned().unwrap_or(self.own.to_vec())
    }

    /// A granter writes an entry, whatever the hypervisor thinks of it.
    fn write_entry(&mut self, world: &mut World, granter: u16) -> String {
        let gref = u32::try_from(world.below(ENTRIES)).expect("few");
        let of = [granter, granter, granter, granter, 0, 1];
        let owner = world.pick(&of);
        let mut frames = self.frames(world, owner);
        frames.push(1);
        let frame = u32::try_from(world.pick(&frames)).expect("a small machine");
        let permit = GTF_PERMIT_ACCESS;
        let flags = world.pick(&[permit, permit, permit | GTF_READONLY, 0, 2, permit | 0x100]);
        let domid = u16::try_from(world.below(4)).expect("few");
        let table = world.domains[&granter].grants.frame(0, &mut Held::enter());
        let (table, at) = (
            table.expect("one frame"),
            usize::try_from(gref).expect("few") * 8,
        );
        let machine = world.bench.hv.machine();
        machine.store_u32(table, at + 4, frame);
        machine.store_u32(table, at, u32::from(flags) | u32::from(domid) << 16);
        self.words.insert((granter, gref), (flags, domid, frame));
        format!("d{granter} writes entry {gref}: {flags:#x} d{domid} {frame:#x}")
    }

    /// Takes a pin as the hypervisor should.
    fn pin(
        &mut self,
        world: &World,
        granter: u16,
        gref: u32,
        grantee: u16,
        write: bool,
    ) -> Result<u64, i16> {
        let size = self.sizes.get(&granter).copied().unwrap_or(1);
        if gref >= size * GRANT_ENTRIES_PER_FRAME {
            return Err(GNTST_BAD_GNTREF);
        }
        let mut word = self
            .words
            .get(&(granter, gref))
            .copied()
            .unwrap_or((0, 0, 0));
        let known = self.pins.get(&(granter, gref)).copied();
        if known.is_some_and(|pins| pins.grantee != grantee) {
            return Err(GNTST_GENERAL_ERROR);
        }
        let first_write = write && known.is_none_or(|pins| pins.writers == 0);
        if known.is_none() || first_write {
            let permits = word.0 & 0x103 == GTF_PERMIT_ACCESS && word.1 == grantee;
            if (known.is_none() && !permits) || (write && word.0 & GTF_READONLY != 0) {
                return Err(GNTST_GENERAL_ERROR);
            }
            word.0 |= if write {
                GTF_READING | GTF_WRITING
            } else {
                GTF_READING
            };
        }
        let frame = known.map_or(word.2.into(), |pins| pins.frame);
        let owned = self.frames(world, granter).contains(&frame);
        let (readers, writers) = known.map_or((0, 0), |pins| (pins.readers, pins.writers));
        let pins = Pins {
            grantee,
            frame,
            readers: readers + u16::from(!write),
            writers: writers + u16::from(write),
        };
        self.words.insert((granter, gref), word);
        self.pins.insert((granter, gref), pins);
        if owned && !world.dying.contains(&granter) {
            Ok(frame)
        } else {
            self.release(granter, gref, write);
            Err(GNTST_BAD_PAGE)
        }
    }

    fn release(&mut self, granter: u16, gref: u32, write: bool) {
        let pins = self.pins.get_mut(&(granter, gref)).expect("it is in use");
        let word = self.words.entry((granter, gref)).or_default();
        if write {
            pins.writers -= 1;
        } else {
            pins.readers -= 1;
        }
        if write && pins.writers == 0 {
            word.0 &= !GTF_WRITING;
        }
        if pins.readers == 0 && pins.writers == 0 {
            word.0 &= !GTF_READING;
            self.pins.remove(&(granter, gref));
        }
    }

    fn unpin(&mut self, world: &World, mapping: &Mapping) {
        let granter = world.domains.get(&mapping.granter);
        if granter.is_some_and(|granter| granter.serial() == mapping.serial) {
            self.release(mapping.granter, mapping.gref, mapping.write);
        }
    }

    fn map(&mut self, world: &mut World, caller: u16) -> String {
        let (granter, gref) = self.lent_to(world, caller);
        let gref = if world.below(16) == 0 {
            world.pick(&[512, 1 << 20, u32::MAX])
        } else {
            gref
        };
        let kind = world.pick(&[
            GNTMAP_HOST_MAP,
            GNTMAP_DEVICE_MAP,
            GNTMAP_DEVICE_MAP,
            3,
            3,
            0,
        ]);
        let write = world.below(2) == 0;
        let address = world.pick(&[WINDOWS[0], WINDOWS[1], WINDOWS[0], NOWHERE]);
        let request = MapGrantRef {
            host_addr: address,
            flags: kind | if write { 0 } else { GNTMAP_READONLY },
            gref: RawGrantRef(gref),
            dom: RawDomId(granter),
            ..MapGrantRef::default()
        };
        let operation = GNTTABOP_MAP_GRANT_REF;
        let (result, answer) = world.call(caller, number::GRANT_TABLE_OP, operation, &request);
        assert_eq!(result, Ok(0));
        let (host, device) = (kind & GNTMAP_HOST_MAP != 0, kind & GNTMAP_DEVICE_MAP != 0);
        let wanted = self.try_map(
            world,
            (caller, granter, gref),
            (host, device, write),
            address,
        );
        let what = format!("d{caller} maps {gref} of d{granter}, {kind} {write} {address:#x}");
        assert_eq!(answer.status, wanted.err().unwrap_or(GNTST_OKAY), "{what}");
        if let Ok(frame) = wanted {
            let mapping = Mapping {
                granter,
                serial: world.domains[&granter].serial(),
                gref,
                frame,
                write,
                host,
                device,
                address,
            };
            assert_eq!(answer.dev_bus_addr, frame << 12, "{what}");
            let before = self.mappings.insert((caller, answer.handle), mapping);
            assert!(before.is_none(), "{what}: the handle was in use");
            if host {
                self.windows.insert(address, (frame, write));
            }
        }
        format!("{what}: {wanted:?}")
    }

    fn try_map(
        &mut self,
        world: &World,
        (caller, granter, gref): (u16, u16, u32),
        (host, device, write): (bool, bool, bool),
        address: u64,
    ) -> Result<u64, i16> {
        if !host && !device {
            return Err(GNTST_BAD_GNTREF);
        }
        if !world.domains.contains_key(&granter) {
            return Err(GNTST_BAD_DOMAIN);
        }
        let frame = self.pin(world, granter, gref, caller, write)?;
        if host && device {
            self.pin(world, granter, gref, caller, write)
                .inspect_err(|_| {
                    self.release(granter, gref, write);
                })?;
        }
        // Only the first domain has page tables here.
        if host && (caller != 0 || !WINDOWS.contains(&address)) {
            for _ in 0..1 + u8::from(device) {
                self.release(granter, gref, write);
            }
            return Err(GNTST_GENERAL_ERROR);
        }
        Ok(frame)
    }

    fn unmap(&mut self, world: &mut World, caller: u16) -> String {
        let own = self.mappings.range((caller, 0)..(caller + 1, 0));
        let own: Vec<(u32, Mapping)> = own.map(|(&(_, handle), &m)| (handle, m)).collect();
        let (handle, mapping) = match own.len() {
            0 if world.below(8) > 0 => return self.map(world, caller),
            0 => (7777, None),
            _ => {
                let (handle, mapping) = world.pick(&own);
                (handle, Some(mapping))
            }
        };
        let known = mapping.map_or((WINDOWS[0], 1 << 12), |m| (m.address, m.frame << 12));
        let host_addr = world.pick(&[0, known.0, known.0, known.0, WINDOWS[1], NOWHERE]);
        let dev_bus_addr = world.pick(&[0, known.1, known.1, known.1, known.1 ^ 1 << 12]);
        let request = UnmapGrantRef {
            host_addr,
            dev_bus_addr,
            handle,
            ..UnmapGrantRef::default()
        };
        let operation = GNTTABOP_UNMAP_GRANT_REF;
        let (result, answer) = world.call(caller, number::GRANT_TABLE_OP, operation, &request);
        assert_eq!(result, Ok(0));
        let wanted = self.try_unmap(world, (caller, handle), host_addr, dev_bus_addr);
        let what =
            format!("d{caller} unmaps {handle} {mapping:?} {host_addr:#x} {dev_bus_addr:#x}");
        assert_eq!(answer.status, wanted.err().unwrap_or(GNTST_OKAY), "{what}");
        format!("{what}: {wanted:?}")
    }

    fn try_unmap(
        &mut self,
        world: &World,
        key: (u16, u32),
        host_addr: u64,
        dev_bus_addr: u64,
    ) -> Result<(), i16> {
        let mut mapping = *self.mappings.get(&key).ok_or(GNTST_BAD_HANDLE)?;
        let device = mapping.device && dev_bus_addr != 0;
        if device && dev_bus_addr != mapping.frame << 12 {
            return Err(GNTST_BAD_DEV_ADDR);
        }
        let host = mapping.host && host_addr != 0;
        if host {
            let there = self.windows.get(&host_addr);
            if there != Some(&(mapping.frame, mapping.write)) {
                return Err(GNTST_GENERAL_ERROR);
            }
            self.windows.remove(&host_addr);
            mapping.host = false;
            self.unpin(world, &mapping);
        }
        if device {
            mapping.device = false;
            self.unpin(world, &mapping);
        }
        if mapping.host || mapping.device {
            self.mappings.insert(key, mapping);
        } else {
            self.mappings.remove(&key);
        }
        Ok(())
    }

    /// An entry that lets the caller in, or any other.
    fn lent_to(&self, world: &mut World, caller: u16) -> (u16, u32) {
        let open = |(&place, &(flags, domid, _)): (&(u16, u32), &(u16, u16, u32))| {
            let permits = flags & 0x103 == GTF_PERMIT_ACCESS && domid == caller;
            (permits && world.domains.contains_key(&place.0)).then_some(place)
        };
        let open: Vec<(u16, u32)> = self.words.iter().filter_map(open).collect();
        if open.is_empty() || world.below(4) == 0 {
            let gref = u32::try_from(world.below(ENTRIES)).expect("few");
            return (world.any_domid(), gref);
        }
        world.pick(&open)
    }

    fn copy(&mut self, world: &mut World, caller: u16) -> String {
        let side = |world: &mut World| {
            let by_grant = world.below(3) > 0;
            let (domid, reference) = if by_grant {
                let (granter, gref) = self.lent_to(world, caller);
                (granter, gref.into())
            } else {
                let frames = self.frames(world, caller);
                (0x7ff0, world.pick(&frames))
            };
            let offset = u16::try_from(world.below(4096)).expect("in a frame");
            let side = GrantCopySide {
                reference,
                domid: RawDomId(domid),
                offset,
                pad0: 0,
            };
            (side, by_grant)
        };
        let (source, dest) = (side(world), side(world));
        let len = u16::try_from(world.below(2048)).expect("in a frame");
        let request = GrantCopy {
            source: source.0,
            dest: dest.0,
            len,
            flags: if source.1 { GNTCOPY_SOURCE_GREF } else { 0 }
                | if dest.1 { GNTCOPY_DEST_GREF } else { 0 },
            ..GrantCopy::default()
        };
        let wanted = self.try_copy(world, caller, (source, dest), len);
        let frames = wanted.ok();
        let mut bytes = vec![0; usize::from(len)];
        let place = |number: u64| world.bench.hv.frames().lookup(number).expect("a frame");
        if let Some((from, _)) = frames {
            let machine = world.bench.hv.machine();
            machine.read_frame(place(from), source.0.offset.into(), &mut bytes);
        }
        let operation = GNTTABOP_COPY;
        let (result, answer) = world.call(caller, number::GRANT_TABLE_OP, operation, &request);
        assert_eq!(result, Ok(0));
        let what = format!("d{caller} copies {len} from {source:?} to {dest:?}");
        assert_eq!(answer.status, wanted.err().unwrap_or(GNTST_OKAY), "{what}");
        if let Some((from, to)) = frames.filter(|(from, to)| from != to) {
            let place = |number: u64| world.bench.hv.frames().lookup(number).expect("a frame");
            let mut arrived = vec![0; usize::from(len)];
            let machine = world.bench.hv.machine();
            machine.read_frame(place(to), dest.0.offset.into(), &mut arrived);
            assert!(arrived == bytes, "{what}: {from:#x} to {to:#x}");
        }
        format!("{what}: {wanted:?}")
    }

    fn try_copy(
        &mut self,
        world: &World,
        caller: u16,
        (source, dest): ((GrantCopySide, bool), (GrantCopySide, bool)),
        len: u16,
    ) -> Result<(u64, u64), i16> {
        // Both domains are looked up before either side is.
        for (side, by_grant) in [source, dest] {
            if by_grant && side.domid.0 != 0x7ff0 && !world.domains.contains_key(&side.domid.0) {
                return Err(GNTST_BAD_DOMAIN);
            }
        }
        let from = self.take(world, caller, source, false)?;
        let to = self.take(world, caller, dest, true);
        let within = |side: GrantCopySide| usize::from(side.offset) + usize::from(len) <= 4096;
        let result = to.and_then(|to| {
            self.leave(caller, dest, true);
            if within(source.0) && within(dest.0) {
                Ok((from, to))
            } else {
                Err(GNTST_BAD_COPY_ARG)
            }
        });
        self.leave(caller, source, false);
        result
    }

    fn take(
        &mut self,
        world: &World,
        caller: u16,
        (side, by_grant): (GrantCopySide, bool),
        write: bool,
    ) -> Result<u64, i16> {
        if !by_grant {
            return Ok(side.reference);
        }
        let granter = if side.domid.0 == 0x7ff0 {
            caller
        } else {
            side.domid.0
        };
        let gref = u32::try_from(side.reference).expect("few");
        self.pin(world, granter, gref, caller, write)
    }

    fn leave(&mut self, caller: u16, (side, by_grant): (GrantCopySide, bool), write: bool) {
        if by_grant {
            let granter = if side.domid.0 == 0x7ff0 {
                caller
            } else {
                side.domid.0
            };
            self.release(granter, u32::try_from(side.reference).expect("few"), write);
        }
    }

    fn grow(&mut self, world: &mut World, caller: u16) -> String {
        let nr_frames = world.pick(&[0, 1, 2, 3, 65, u32::MAX]);
        let request = SetupTable {
            dom: RawDomId::SELF,
            nr_frames,
            frame_list: GuestPtr::new(DATA + 0x800),
            ..SetupTable::default()
        };
        let operation = GNTTABOP_SETUP_TABLE;
        let (result, answer) = world.call(caller, number::GRANT_TABLE_OP, operation, &request);
        assert_eq!(result, Ok(0));
        let fits = nr_frames <= MAX_GRANT_FRAMES;
        let wanted = if fits {
            GNTST_OKAY
        } else {
            GNTST_GENERAL_ERROR
        };
        assert_eq!(answer.status, wanted, "d{caller} wants {nr_frames} frames");
        if fits {
            let size = self.sizes.entry(caller).or_insert(1);
            *size = nr_frames.max(*size);
        }
        format!("d{caller} wants {nr_frames} frames of grants")
    }
}
