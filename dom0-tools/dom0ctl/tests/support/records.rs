//! Values for answers.

use dom0_protocol::Digest;
use dom0_protocol::DomainName;
use dom0_protocol::domain::{
    CrashRecord, DomainDetail, DomainRecord, DomainState, DriverState, VcpuRecord, VcpuState,
};
use dom0_protocol::ending::OnEnd;
use dom0_protocol::host::{AuditReport, CpuRecord, HostInfo, VersionInfo};
use dom0_protocol::reply::{
    Acted, Ballooned, Created, Outcome, Shown, Stored, Uploaded, VcpusChanged,
};

const SECOND: u64 = 1_000_000_000;

pub(crate) fn name(text: &str) -> DomainName {
    DomainName::new(text).unwrap()
}

pub(crate) fn record(id: u16, text: &str, state: DomainState) -> DomainRecord {
    DomainRecord {
        name: name(text),
        id,
        state,
        vcpus: 2,
        vcpus_online: 1,
        max_vcpus: 4,
        memory_bytes: 64 << 20,
        max_memory_bytes: 256 << 20,
        target_memory_bytes: 64 << 20,
        cpu_time_ns: 1500 * SECOND / 1000,
        uptime_ns: 75 * SECOND,
        wakeups: 42,
    }
}

pub(crate) fn shown() -> Shown {
    Shown {
        record: record(3, "web", DomainState::Crashed),
        detail: DomainDetail {
            uuid: "00000000-0000-4000-8000-000000000003".into(),
            kernel: "vmlinuz".into(),
            kernel_sha256: Some(Digest([7; 32])),
            ramdisk: None,
            cmdline: "console=hvc0".into(),
            weight: 256,
            cap_percent: 50,
            cpus: vec![0, 1],
            minimum_memory_bytes: None,
            balloon_driver: DriverState::Ready,
            vcpu_driver: DriverState::Unknown,
            overhead_bytes: 1 << 20,
            hypercalls: 9,
            faults: 8,
            on_end: Some(OnEnd::default()),
            shutdown_reason: None,
            crash: Some(CrashRecord {
                reason: "no handler for a page fault".into(),
                code: 14,
                rip: 0xffff_ffff_8000_1000,
                cr2: 8,
            }),
            vcpu: vec![VcpuRecord {
                vcpu: 0,
                state: VcpuState::Down,
                cpu: Some(1),
                affinity: vec![0, 1],
                cpu_time_ns: SECOND,
                ready_time_ns: 0,
                blocked_time_ns: SECOND,
                wakeups: 3,
            }],
        },
    }
}

pub(crate) fn host() -> HostInfo {
    HostInfo {
        total_memory_bytes: 2 << 30,
        free_memory_bytes: 1 << 30,
        available_memory_bytes: 1000 << 20,
        hypervisor_memory_bytes: 16 << 20,
        cpus: 1,
        per_cpu: vec![CpuRecord {
            cpu: 0,
            idle_ns: 9 * SECOND,
            busy_ns: SECOND,
            wakeups: 100,
            interrupts: 200,
        }],
        wakeups: 17,
        domains: 1,
        max_domains: 64,
        uptime_ns: 10 * SECOND,
        wallclock_ns: 1_767_225_600 * SECOND,
        sched_slice_ns: SECOND / 200,
        tsc_khz: 1_000_000,
        hypervisor_version: "0.1.0".into(),
    }
}

pub(crate) fn versions() -> VersionInfo {
    VersionInfo {
        hypervisor: "0.1.0".into(),
        dom0: "0.1.0".into(),
        guest_abi: 1,
        control_abi: 1,
        oldest_control_abi: 1,
        protocol: 1,
    }
}

pub(crate) fn audit(first: Option<&str>) -> AuditReport {
    AuditReport {
        breaches: first.map_or(0, |_| 2),
        frames_checked: 1000,
        tables_checked: 20,
        ports_checked: 12,
        grants_checked: 2,
        steps: 30,
        duration_ns: SECOND,
        longest_pause_ns: SECOND / 1000,
        first: first.map(Into::into),
    }
}

pub(crate) fn acted(state: Option<DomainState>) -> Acted {
    Acted {
        name: name("web"),
        id: 3,
        state,
        elapsed_ns: SECOND / 2,
    }
}

pub(crate) fn created(id: Option<u16>) -> Created {
    Created {
        name: name("web"),
        id,
        memory_bytes: 64 << 20,
        overhead_bytes: 1 << 20,
        minimum_memory_bytes: 12 << 20,
        elapsed_ns: SECOND / 4,
    }
}

pub(crate) fn ballooned(outcome: Outcome) -> Ballooned {
    Ballooned {
        name: name("web"),
        id: 3,
        outcome,
        previous_bytes: 64 << 20,
        target_bytes: 192 << 20,
        memory_bytes: 192 << 20,
        elapsed_ns: SECOND / 4,
    }
}

pub(crate) fn vcpus(outcome: Outcome) -> VcpusChanged {
    VcpusChanged {
        name: name("web"),
        id: 3,
        outcome,
        previous: 1,
        vcpus: 4,
        vcpus_online: 4,
        elapsed_ns: SECOND / 4,
    }
}

pub(crate) fn uploaded(sha256: Digest, stored: Stored) -> Uploaded {
    Uploaded { sha256, stored }
}
