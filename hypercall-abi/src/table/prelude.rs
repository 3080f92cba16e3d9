//! The types that the table's rows name: visitors that use argument types import all of this.

pub use crate::control::audit::{Audit, AuditBreach};
pub use crate::control::counters::DomainCounters;
pub use crate::control::device::{MsixBind, PciRead, PciWrite};
pub use crate::control::domain::{
    DomainCreate, DomainDestroy, DomainInfo, DomainPause, DomainResume, DomainSetLimit,
    DomainSetMax, DomainUnpause,
};
pub use crate::control::grant::GrantSeed;
pub use crate::control::host::{CpuInfo, HostInfo, HostPromises, LogRead, SetWallclock};
pub use crate::control::memory::{MemoryRead, MemoryWrite};
pub use crate::control::sched::{SchedGet, SchedSet};
pub use crate::control::vcpu::{VcpuRecord, VcpuSetContext};
pub use crate::control::version::Query;
pub use crate::event::{
    EvtchnAllocUnbound, EvtchnBindInterdomain, EvtchnBindIpi, EvtchnBindPirq, EvtchnBindVcpu,
    EvtchnBindVirq, EvtchnClose, EvtchnExpandArray, EvtchnInitControl, EvtchnReset, EvtchnSend,
    EvtchnSetPriority, EvtchnStatus, EvtchnUnmask,
};
pub use crate::grant::{
    CacheFlush, GetStatusFrames, GetVersion, GrantCopy, GrantTransfer, MapGrantRef, QuerySize,
    SetVersion, SetupTable, SwapGrantRef, UnmapAndReplace, UnmapGrantRef,
};
pub use crate::guest_ptr::{GuestPtr, In, InOut, Out};
pub use crate::ids::{RawDomId, RawMfn};
pub use crate::memory::{
    AcquireResource, AddToPhysmap, AddToPhysmapBatch, ForeignMemoryMap, MachphysMapping,
    MachphysMfnList, MemoryDomain, MemoryExchange, MemoryMap, MemoryReservation, RemoveFromPhysmap,
    VnumaTopologyInfo,
};
pub use crate::mmu::{MmuUpdate, MmuextOp, RawEntry};
pub use crate::multicall::MulticallEntry;
pub use crate::physdev::{PhysdevSetIobitmap, PhysdevSetIopl};
pub use crate::register::RegisterArgument;
pub use crate::sched::{SchedPoll, SchedRemoteShutdown, SchedShutdown, SchedWatchdog};
pub use crate::time::VcpuRunstateInfo;
pub use crate::trap::{CallbackRegister, CallbackUnregister, NmiCallback, TrapInfo};
pub use crate::vcpu::{
    GetPhysid, RegisterRunstateMemoryArea, RegisterTimeMemoryArea, RegisterVcpuInfo,
    SetPeriodicTimer, SetSingleshotTimer, VcpuGuestContext,
};
pub use crate::version::{
    BuildIdHeader, CapabilitiesInfo, ChangesetInfo, Commandline, CompileInfo, DomainHandle,
    ExtraVersion, FeatureInfo, PlatformParameters,
};
