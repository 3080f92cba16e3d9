//! The start page and the first vCPU's registers.

use hypercall_abi::ids::{RawMfn, RawPfn, RawPort};
use hypercall_abi::mmu::PAGE_SHIFT;
use hypercall_abi::start::{
    MAX_GUEST_CMDLINE, SIF_INITDOMAIN, SIF_MOD_START_PFN, SIF_PRIVILEGED, SIF_VIRT_P2M_4TOOLS,
    START_MAGIC, StartInfo,
};
use hypercall_abi::trap::{FLAT_KERNEL_CS, FLAT_KERNEL_SS};
use hypercall_abi::vcpu::{VGCF_IN_KERNEL, VGCF_ONLINE, VcpuGuestContext};
use zerocopy::FromZeros;

use crate::layout::Layout;
use crate::plan::LoadPlan;

/// RFLAGS at entry: interrupts on, as a guest always sees them, and the bit that is always set.
const FIRST_RFLAGS: u64 = 0x202;

/// An ordinary domain's ports to its servers; the pages of the rings are in the layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rings {
    /// Port to the xenstore.
    pub xenstore_port: RawPort,
    /// Port to the console.
    pub console_port: RawPort,
}

/// The start page. `rings` is given for an ordinary domain, `None` for the first one; a command line that is too long is cut.
#[must_use]
pub fn start_info(
    layout: &Layout,
    shared_info: RawMfn,
    rings: Option<Rings>,
    command_line: &[u8],
    frame_of: impl Fn(u64) -> u64,
) -> StartInfo {
    let mut info = StartInfo::new_zeroed();
    for (to, from) in info.magic.iter_mut().zip(START_MAGIC) {
        *to = *from;
    }
    info.nr_pages = layout.nr_pages;
    info.shared_info = shared_info.0 << PAGE_SHIFT;
    info.flags = if rings.is_some() {
        SIF_VIRT_P2M_4TOOLS
    } else {
        SIF_PRIVILEGED | SIF_INITDOMAIN
    };
    if let (Some(rings), Some(xenstore), Some(console)) = (rings, layout.xenstore, layout.console) {
        info.store_mfn = RawMfn(frame_of(xenstore.pfn));
        info.store_evtchn = rings.xenstore_port;
        info.console_mfn = RawMfn(frame_of(console.pfn));
        info.console_evtchn = rings.console_port;
    }
    info.pt_base = layout.root.address;
    info.nr_pt_frames = layout.table_pages();
    info.mfn_list = layout.p2m.address;
    if let Some(ramdisk) = layout.ramdisk {
        info.mod_len = ramdisk.len;
        info.mod_start = ramdisk.address.unwrap_or(ramdisk.pfn);
        if ramdisk.address.is_none() {
            info.flags |= SIF_MOD_START_PFN;
        }
    }
    for (to, from) in info
        .cmd_line
        .iter_mut()
        .take(MAX_GUEST_CMDLINE - 1)
        .zip(command_line)
    {
        *to = *from;
    }
    if let Some(tables) = layout.p2m.tables {
        info.first_p2m_pfn = RawPfn(layout.p2m.pfn);
        info.nr_p2m_frames = layout.p2m.list_pages + tables.total();
    }
    info
}

/// Fills in the state that vCPU 0 starts with; `root` is the frame of the L4.
pub fn first_context(
    context: &mut VcpuGuestContext,
    plan: &LoadPlan,
    layout: &Layout,
    root: RawMfn,
) {
    *context = VcpuGuestContext::new_zeroed();
    context.flags = VGCF_IN_KERNEL | VGCF_ONLINE;
    context.user_regs.rip = plan.entry;
    context.user_regs.rsi = layout.start_info.address;
    context.user_regs.rsp = layout.stack_top();
    context.user_regs.rflags = FIRST_RFLAGS;
    context.user_regs.cs = FLAT_KERNEL_CS;
    context.user_regs.ss = FLAT_KERNEL_SS;
    context.kernel_ss = u64::from(FLAT_KERNEL_SS);
    context.kernel_sp = layout.stack_top();
    if let Some(kernel_root) = context.ctrlreg.get_mut(3) {
        *kernel_root = root.0 << PAGE_SHIFT;
    }
}
