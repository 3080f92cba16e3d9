//! `xen_version`: what the hypervisor is and can do (pv-abi 8.3, 1.6).

use hypercall_abi::Errno;
use hypercall_abi::assist::VMASST_TYPE_PAE_EXTENDED_CR3;
use hypercall_abi::table::prelude::*;
use hypercall_abi::version::{
    CAPABILITIES, GUEST_ABI_VERSION, XENFEAT_DIRECT_MAPPED, XENFEAT_DOM0,
    XENFEAT_GNTTAB_MAP_AVAIL_BITS, XENFEAT_HIGHMEM_ASSIST, XENFEAT_MEMORY_OP_VNODE_SUPPORTED,
    XENFEAT_MMU_PT_UPDATE_PRESERVE_AD, XENFEAT_PAE_PGDIR_ABOVE_4GB,
};

use crate::caller::Caller;
use crate::machine::Machine;
use crate::operations::operations;
use crate::sync::Ordering;

hypercall_abi::for_each_version_operation!(operations);

/// Text in a field of fixed size, the rest zero: nothing of ours leaks behind it.
fn padded<const N: usize>(text: &[u8]) -> [u8; N] {
    let mut field = [0; N];
    for (byte, letter) in field.iter_mut().zip(text) {
        *byte = *letter;
    }
    field
}

fn version<M: Machine>(_: &mut Caller<'_, M>) -> Result<u64, Errno> {
    Ok(GUEST_ABI_VERSION.into())
}

fn extraversion<M: Machine>(
    caller: &mut Caller<'_, M>,
    to: Out<ExtraVersion>,
) -> Result<u64, Errno> {
    caller.copy_out(to.0, &padded(b".0-paravane")).map(|()| 0)
}

fn compile_info<M: Machine>(
    caller: &mut Caller<'_, M>,
    to: Out<CompileInfo>,
) -> Result<u64, Errno> {
    let info = CompileInfo {
        compiler: padded(b"rustc"),
        compile_by: padded(b"paravane"),
        compile_domain: padded(b""),
        compile_date: padded(b""),
    };
    caller.copy_out(to.0, &info).map(|()| 0)
}

fn capabilities<M: Machine>(
    caller: &mut Caller<'_, M>,
    to: Out<CapabilitiesInfo>,
) -> Result<u64, Errno> {
    caller.copy_out(to.0, &padded(CAPABILITIES)).map(|()| 0)
}

fn changeset<M: Machine>(caller: &mut Caller<'_, M>, to: Out<ChangesetInfo>) -> Result<u64, Errno> {
    let text = concat!("paravane ", env!("CARGO_PKG_VERSION"));
    caller.copy_out(to.0, &padded(text.as_bytes())).map(|()| 0)
}

fn platform_parameters<M: Machine>(
    caller: &mut Caller<'_, M>,
    to: Out<PlatformParameters>,
) -> Result<u64, Errno> {
    let parameters = PlatformParameters {
        virt_start: 0xffff_8000_0000_0000,
    };
    caller.copy_out(to.0, &parameters).map(|()| 0)
}

fn get_features<M: Machine>(
    caller: &mut Caller<'_, M>,
    at: InOut<FeatureInfo>,
) -> Result<u64, Errno> {
    let asked = caller.copy_in(at.0)?;
    if asked.submap_idx != 0 {
        return Err(Errno::EINVAL);
    }
    let bit = |feature: u32| 1_u32.checked_shl(feature).unwrap_or(0);
    let mut submap = bit(XENFEAT_MMU_PT_UPDATE_PRESERVE_AD)
        | bit(XENFEAT_HIGHMEM_ASSIST)
        | bit(XENFEAT_GNTTAB_MAP_AVAIL_BITS)
        | bit(XENFEAT_MEMORY_OP_VNODE_SUPPORTED)
        | bit(XENFEAT_DIRECT_MAPPED);
    if caller.domain.is_first() {
        submap |= bit(XENFEAT_DOM0);
    }
    let assists = caller.domain.assist_word().load(Ordering::Relaxed);
    if assists & u64::from(bit(VMASST_TYPE_PAE_EXTENDED_CR3)) != 0 {
        submap |= bit(XENFEAT_PAE_PGDIR_ABOVE_4GB);
    }
    caller
        .copy_out(at.0, &FeatureInfo { submap, ..asked })
        .map(|()| 0)
}

fn pagesize<M: Machine>(_: &mut Caller<'_, M>, argument: u64) -> Result<u64, Errno> {
    if argument == 0 {
        Ok(4096)
    } else {
        Err(Errno::EINVAL)
    }
}

fn guest_handle<M: Machine>(
    caller: &mut Caller<'_, M>,
    to: Out<DomainHandle>,
) -> Result<u64, Errno> {
    caller.copy_out(to.0, caller.domain.uuid()).map(|()| 0)
}

fn commandline<M: Machine>(caller: &mut Caller<'_, M>, to: Out<Commandline>) -> Result<u64, Errno> {
    let text: &[u8] = if caller.domain.is_first() {
        b""
    } else {
        b"<denied>"
    };
    caller.copy_out(to.0, &padded(text)).map(|()| 0)
}

fn build_id<M: Machine>(caller: &mut Caller<'_, M>, _: InOut<BuildIdHeader>) -> Result<u64, Errno> {
    caller.control_right()?;
    Err(Errno::ENODATA)
}
