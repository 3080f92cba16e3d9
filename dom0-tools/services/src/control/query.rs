//! Questions. Every figure is the hypervisor's count of this moment; only what is named a target or a configuration is
//! dom0's own word.

use super::{
    domain::{Domain, state_of, uuid_text},
    host::Host,
    manager::{Manager, Subject},
    words,
};
use crate::{DomId, resources::bytes_of, xenstore::Path};
use alloc::{boxed::Box, string::String, vec::Vec};
use dom0_protocol::{
    DomainName, DomainSelector, ErrorCode, ErrorReply, Reply, StreamId, VERSION,
    domain::{
        Counter, CrashRecord, DomainDetail, DomainRecord, DomainState, DriverState, VcpuRecord,
        VcpuState,
    },
    host::{AuditReport, CpuRecord, HostInfo, VersionInfo},
    reply::Shown,
};
use hypercall_abi::{
    control::{
        audit::Audit,
        counters::counter_name,
        domain::{CrashInfo, DomainRecord as HostRecord},
        vcpu::{
            VCPU_ON_NO_CPU, VCPU_STATE_BLOCKED, VCPU_STATE_PAUSED, VCPU_STATE_RUNNABLE,
            VCPU_STATE_RUNNING, VcpuRecord as HostVcpu,
        },
    },
    sched,
};

/// What dom0 is called.
pub(super) const DOM0_NAME: &str = "dom0";

impl<H: Host> Manager<H> {
    pub(super) fn version(&self, id: StreamId) -> Result<Reply, ErrorReply> {
        let host = self.host.host_info().map_err(words::host)?;
        let interfaces = self.host.interfaces().map_err(words::host)?;
        let protocol = self.connections.get(&id.connection()).copied();
        Ok(Reply::Version(VersionInfo {
            hypervisor: text(&host.version),
            dom0: String::from(self.version),
            guest_abi: interfaces.guest_abi,
            control_abi: interfaces.control_abi,
            oldest_control_abi: interfaces.oldest_control_abi,
            protocol: protocol.unwrap_or(VERSION),
        }))
    }

    pub(super) fn host_info(&self) -> Result<Reply, ErrorReply> {
        let host = self.host.host_info().map_err(words::host)?;
        let ledger = self.ledger().map_err(words::host)?;
        let mut per_cpu = Vec::new();
        for cpu in 0..host.cpus {
            let info = self.host.cpu_info(cpu).map_err(words::host)?;
            per_cpu.push(CpuRecord {
                cpu,
                idle_ns: info.idle_ns,
                busy_ns: info.busy_ns,
                wakeups: info.wakeups,
                interrupts: info.interrupts,
            });
        }
        let dom0 = self.record(DomId::DOM0).map_err(words::host)?;
        Ok(Reply::Host(HostInfo {
            total_memory_bytes: bytes_of(host.total_frames),
            free_memory_bytes: bytes_of(host.free_frames),
            available_memory_bytes: bytes_of(ledger.available()),
            hypervisor_memory_bytes: bytes_of(host.hypervisor_frames),
            cpus: host.cpus,
            per_cpu,
            wakeups: dom0.map_or(0, |record| record.wakeups),
            domains: ledger.domains,
            max_domains: host.max_domains,
            uptime_ns: host.uptime_ns,
            wallclock_ns: host.wallclock_ns,
            sched_slice_ns: host.sched_slice_ns,
            tsc_khz: host.tsc_khz,
            hypervisor_version: text(&host.version),
        }))
    }

    pub(super) fn list(&self) -> Result<Reply, ErrorReply> {
        let uptime = self.host.host_info().map_err(words::host)?.uptime_ns;
        let mut records = Vec::with_capacity(self.domains.len() + 1);
        if let Some(record) = self.record(DomId::DOM0).map_err(words::host)? {
            records.push(dom0_line(&record, uptime)?);
        }
        for (_, domain) in self.domains.iter() {
            records.push(self.line(domain, uptime)?);
        }
        records.sort_by_key(|record| record.id);
        Ok(Reply::Domains(records))
    }

    pub(super) fn show(&self, selector: &DomainSelector) -> Result<Reply, ErrorReply> {
        let host_info = self.host.host_info().map_err(words::host)?;
        let uptime = host_info.uptime_ns;
        let (record, mut detail) = match self.find(selector)? {
            Subject::Dom0 => {
                let host = self.record(DomId::DOM0).map_err(words::host)?;
                let host = host.ok_or_else(|| words::no_such_domain(selector))?;
                (dom0_line(&host, uptime)?, detail_of(&host))
            }
            Subject::Made(key) => {
                let domain = self
                    .domains
                    .get(&key)
                    .ok_or_else(|| words::no_such_domain(selector))?;
                let host = self.record(domain.id).map_err(words::host)?;
                let mut detail = host.as_ref().map(detail_of).unwrap_or_else(empty_detail);
                self.describe(domain, &mut detail);
                (self.line(domain, uptime)?, detail)
            }
        };
        if (0..host_info.cpus).all(|cpu| detail.cpus.contains(&cpu)) {
            // All of them: there is nothing to say.
            detail.cpus.clear();
        }
        if let Some(id) = DomId::new(record.id) {
            for vcpu in 0..record.max_vcpus {
                if let Ok(info) = self.host.vcpu_info(id, vcpu) {
                    detail.vcpu.push(vcpu_line(&info, &detail.cpus));
                }
            }
        }
        Ok(Reply::Domain(Box::new(Shown { record, detail })))
    }

    pub(super) fn counters(&self, selector: &DomainSelector) -> Result<Reply, ErrorReply> {
        let id = match self.find(selector)? {
            Subject::Dom0 => DomId::DOM0,
            Subject::Made(key) => {
                let domain = self.domains.get(&key);
                domain.ok_or_else(|| words::no_such_domain(selector))?.id
            }
        };
        let counts = self.host.counters(id).map_err(words::host)?;
        let named = counts.into_iter().enumerate().filter_map(|(kind, count)| {
            let (group, name) = counter_name(kind).filter(|_| count > 0)?;
            Some(Counter {
                kind: alloc::format!("{group}:{name}"),
                count,
            })
        });
        let mut counters: Vec<Counter> = named.collect();
        counters.sort_by_key(|counter| core::cmp::Reverse(counter.count));
        Ok(Reply::Counters(counters))
    }

    /// One line of the list.
    pub(super) fn line(
        &self,
        domain: &Domain<H::Page>,
        uptime: u64,
    ) -> Result<DomainRecord, ErrorReply> {
        let record = self.record(domain.id).map_err(words::host)?;
        let figure = |of: fn(&HostRecord) -> u64| record.as_ref().map_or(0, of);
        Ok(DomainRecord {
            name: domain.name.clone(),
            id: domain.id.get(),
            state: domain.state(record.as_ref()),
            vcpus: u32::try_from(domain.vcpus.wanted).unwrap_or(u32::MAX),
            vcpus_online: record.as_ref().map_or(0, |record| record.vcpus_online),
            max_vcpus: record
                .as_ref()
                .map_or(domain.config.max_vcpus, |record| record.vcpus_max),
            memory_bytes: bytes_of(figure(|record| record.frames)),
            max_memory_bytes: bytes_of(
                record
                    .as_ref()
                    .map_or(domain.config.max_frames, |record| record.max_frames),
            ),
            target_memory_bytes: bytes_of(domain.memory.wanted),
            cpu_time_ns: figure(|record| record.cpu_time_ns),
            uptime_ns: record
                .as_ref()
                .map_or(0, |record| uptime.saturating_sub(record.created_ns)),
            wakeups: figure(|record| record.wakeups),
        })
    }

    /// Adds what dom0 knows itself.
    fn describe(&self, domain: &Domain<H::Page>, detail: &mut DomainDetail) {
        let driver = |watched: &str| {
            let node = Path::home(domain.id).below(watched);
            if self.store.is_watching(domain.id, &node) {
                DriverState::Ready
            } else {
                DriverState::Unknown
            }
        };
        detail.uuid = uuid_text(&domain.uuid);
        detail.kernel.clone_from(&domain.config.kernel_label);
        detail.kernel_sha256 = Some(domain.config.kernel_digest);
        detail.ramdisk.clone_from(&domain.config.ramdisk_label);
        detail.cmdline = String::from(domain.config.recipe.cmdline());
        detail.minimum_memory_bytes = self.guest_minimum(domain).map(bytes_of);
        detail.on_end = Some(domain.config.on_end);
        detail.balloon_driver = driver(super::change::MEMORY_TARGET);
        detail.vcpu_driver = driver(super::change::CPU_DIRECTORY);
    }
}

fn dom0_line(record: &HostRecord, uptime: u64) -> Result<DomainRecord, ErrorReply> {
    let name = DomainName::new(DOM0_NAME)
        .map_err(|error| ErrorReply::new(ErrorCode::Internal, alloc::format!("{error}")))?;
    Ok(DomainRecord {
        name,
        id: 0,
        state: running_at_least(state_of(record)),
        vcpus: record.vcpus_online,
        vcpus_online: record.vcpus_online,
        max_vcpus: record.vcpus_max,
        memory_bytes: bytes_of(record.frames),
        max_memory_bytes: bytes_of(record.max_frames),
        target_memory_bytes: bytes_of(record.frames),
        cpu_time_ns: record.cpu_time_ns,
        uptime_ns: uptime.saturating_sub(record.created_ns),
        wakeups: record.wakeups,
    })
}

/// Who answers runs, whatever the time it was first counted.
const fn running_at_least(state: DomainState) -> DomainState {
    if matches!(state, DomainState::Starting) {
        DomainState::Running
    } else {
        state
    }
}

fn detail_of(record: &HostRecord) -> DomainDetail {
    DomainDetail {
        uuid: uuid_text(&record.uuid),
        weight: record.weight,
        cap_percent: record.cap_percent,
        cpus: cpus_of(record.affinity, 64),
        overhead_bytes: bytes_of(record.overhead_frames.saturating_add(record.shared_frames)),
        hypercalls: record.hypercalls,
        faults: record.faults,
        shutdown_reason: shutdown_word(record),
        crash: crash_of(record),
        ..empty_detail()
    }
}

/// The CPUs of a mask, of the first `cpus`.
pub(super) fn cpus_of(mask: u64, cpus: u32) -> Vec<u32> {
    (0..cpus.min(64))
        .filter(|cpu| mask >> cpu & 1 != 0)
        .collect()
}

fn empty_detail() -> DomainDetail {
    DomainDetail {
        uuid: String::new(),
        kernel: String::new(),
        kernel_sha256: None,
        ramdisk: None,
        cmdline: String::new(),
        weight: 0,
        cap_percent: 0,
        cpus: Vec::new(),
        minimum_memory_bytes: None,
        balloon_driver: DriverState::Unknown,
        vcpu_driver: DriverState::Unknown,
        overhead_bytes: 0,
        hypercalls: 0,
        faults: 0,
        on_end: None,
        shutdown_reason: None,
        crash: None,
        vcpu: Vec::new(),
    }
}

fn shutdown_word(record: &HostRecord) -> Option<String> {
    let ended = matches!(
        state_of(record),
        DomainState::Shutdown | DomainState::Crashed
    );
    let word = match record.shutdown_reason {
        sched::SHUTDOWN_POWEROFF => "poweroff",
        sched::SHUTDOWN_REBOOT => "reboot",
        sched::SHUTDOWN_SUSPEND => "suspend",
        sched::SHUTDOWN_CRASH => "crash",
        sched::SHUTDOWN_WATCHDOG => "watchdog",
        _ => "unknown",
    };
    ended.then(|| String::from(word))
}

fn crash_of(record: &HostRecord) -> Option<CrashRecord> {
    let CrashInfo {
        reason: vector,
        rip,
        cr2,
        text: words,
        ..
    } = record.crash;
    let reason = text(&words);
    // Without a word it was stopped from outside, nowhere in particular.
    (state_of(record) == DomainState::Crashed && !reason.is_empty()).then_some(CrashRecord {
        reason,
        code: vector,
        rip,
        cr2,
    })
}

fn vcpu_line(info: &HostVcpu, affinity: &[u32]) -> VcpuRecord {
    let [_, runnable, blocked, _] = info.runstate_ns;
    VcpuRecord {
        vcpu: info.vcpu,
        state: match info.state {
            VCPU_STATE_RUNNING => VcpuState::Running,
            VCPU_STATE_RUNNABLE => VcpuState::Runnable,
            VCPU_STATE_BLOCKED => VcpuState::Blocked,
            VCPU_STATE_PAUSED => VcpuState::Paused,
            _ => VcpuState::Down,
        },
        cpu: (info.pcpu != VCPU_ON_NO_CPU).then_some(info.pcpu),
        affinity: affinity.to_vec(),
        cpu_time_ns: info.cpu_time_ns,
        ready_time_ns: runnable,
        blocked_time_ns: blocked,
        wakeups: info.wakeups,
    }
}

pub(super) fn audit_report(audit: &Audit) -> AuditReport {
    AuditReport {
        breaches: audit.breaches,
        frames_checked: audit.frames_checked,
        tables_checked: audit.tables_checked,
        ports_checked: audit.ports_checked,
        grants_checked: audit.grants_checked,
        steps: audit.steps,
        duration_ns: audit.duration_ns,
        longest_pause_ns: audit.longest_ns,
        first: (audit.breaches > 0).then(|| text(&audit.first)),
    }
}

/// A field of text that is padded with zeros.
fn text(field: &[u8]) -> String {
    let end = field
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(field.len());
    String::from_utf8_lossy(field.get(..end).unwrap_or(field)).into_owned()
}
