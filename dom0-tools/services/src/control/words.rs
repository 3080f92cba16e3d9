//! Refusals and failures as errors for people and programs: what was wrong, with what value, what to do next.

use super::{
    host::HostError,
    size::{Size, whole_mib},
};
use crate::resources::{MAX_VCPUS, Refusal, bytes_of};
use alloc::{format, string::String};
use dom0_protocol::{DomainSelector, ErrorCode, ErrorReply, domain::DomainState, progress::Unit};
use hypercall_abi::Errno;

pub(super) fn no_such_domain(selector: &DomainSelector) -> ErrorReply {
    ErrorReply::new(
        ErrorCode::NoSuchDomain,
        format!("there is no domain `{selector}`"),
    )
    .hint("`dom0ctl list` shows all domains")
}

pub(super) fn protected() -> ErrorReply {
    ErrorReply::new(ErrorCode::Protected, "dom0 itself may not be treated so")
        .hint("`dom0ctl poweroff` ends the whole machine")
}

pub(super) fn wrong_state(
    name: &impl core::fmt::Display,
    state: DomainState,
    wanted: &str,
) -> ErrorReply {
    ErrorReply::new(
        ErrorCode::WrongState,
        format!(
            "domain `{name}` is {}: it cannot be {wanted} now",
            state.as_str()
        ),
    )
    .hint(match state {
        DomainState::Paused => format!("`dom0ctl unpause {name}` lets it go on"),
        DomainState::Shutdown | DomainState::Crashed => {
            format!("`dom0ctl destroy {name}` takes it away")
        }
        DomainState::Starting
        | DomainState::Dying
        | DomainState::Running
        | DomainState::Blocked => format!("`dom0ctl show {name}` tells when that has changed"),
    })
}

pub(super) fn guest_gone(name: &impl core::fmt::Display) -> ErrorReply {
    ErrorReply::new(
        ErrorCode::GuestGone,
        format!("domain `{name}` ended before it was done"),
    )
    .hint("`dom0ctl list` shows what there is now")
}

/// A failure of the hypervisor, or of dom0 in what it asked of it.
pub(super) fn host(error: HostError) -> ErrorReply {
    let code = if error.errno == Errno::ENOMEM {
        ErrorCode::InsufficientMemory
    } else {
        ErrorCode::Internal
    };
    ErrorReply::new(code, format!("{error}")).hint("`dom0ctl dmesg` may say why")
}

/// A request that admission refused.
pub(super) fn refusal(refusal: &Refusal) -> ErrorReply {
    match *refusal {
        Refusal::Nonsense => ErrorReply::new(
            ErrorCode::InvalidArgument,
            "memory of 0, or more than any machine has",
        )
        .hint("give an amount such as 64MiB"),
        Refusal::OverMaximum { wanted, maximum } => {
            let (wanted, maximum) = (bytes_of(wanted), bytes_of(maximum));
            let text = format!(
                "{} is more than the maximum of {}",
                Size(wanted),
                Size(maximum)
            );
            ErrorReply::new(ErrorCode::OverMaximum, text)
                .hint("`dom0ctl max-memory` raises the maximum, for kernels that can take it")
                .amounts(Unit::Bytes, wanted, maximum)
        }
        Refusal::BelowMinimum { wanted, minimum } => {
            let (wanted, minimum) = (bytes_of(wanted), bytes_of(minimum));
            let text = format!(
                "{} is below the {} that this guest needs",
                Size(wanted),
                Size(whole_mib(minimum))
            );
            ErrorReply::new(ErrorCode::BelowMinimum, text)
                .hint(format!("give {} or more", Size(whole_mib(minimum))))
                .amounts(Unit::Bytes, minimum, wanted)
        }
        Refusal::Memory { needed, available } => {
            let (needed, available) = (bytes_of(needed), bytes_of(available));
            let text = format!(
                "{} are needed and {} are available",
                Size(needed),
                Size(available)
            );
            ErrorReply::new(ErrorCode::InsufficientMemory, text)
                .hint("ask for less, balloon other domains down or destroy one")
                .amounts(Unit::Bytes, needed, available)
        }
        Refusal::Vcpus { wanted: 0, .. } => ErrorReply::new(
            ErrorCode::InvalidArgument,
            "a domain needs at least one vCPU",
        )
        .hint("give 1 or more"),
        Refusal::Vcpus { wanted, maximum } => ErrorReply::new(
            ErrorCode::OverMaximum,
            format!("{wanted} vCPUs are more than the maximum of {maximum}"),
        )
        .hint(if maximum == MAX_VCPUS {
            "no domain can have more"
        } else {
            "the maximum is set when a domain is created, by --max-vcpus"
        })
        .amounts(Unit::Vcpus, u64::from(wanted), u64::from(maximum)),
        Refusal::NoCpu { affinity, cpus } => {
            let text = format!(
                "none of the CPUs in the mask {affinity:#x} is there: the machine has {cpus}"
            );
            ErrorReply::new(ErrorCode::InsufficientCpu, text).hint(cpu_hint(cpus))
        }
        Refusal::Domains { domains, maximum } => ErrorReply::new(
            ErrorCode::TooManyDomains,
            format!("there are {domains} domains, and no more fit"),
        )
        .hint("destroy one first")
        .amounts(Unit::Domains, u64::from(domains) + 1, u64::from(maximum)),
    }
}

fn cpu_hint(cpus: u32) -> String {
    format!("CPUs are numbered from 0 to {}", cpus.saturating_sub(1))
}
