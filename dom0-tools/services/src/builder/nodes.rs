//! What dom0 writes into the xenstore for a new domain, all at once and before it runs.

use super::Built;
use crate::{
    DomId,
    xenstore::{Access, Operation, Path, Permissions},
};
use alloc::{format, string::String, sync::Arc, vec, vec::Vec};

/// What the nodes tell of a domain.
#[derive(Clone, Copy, Debug)]
pub struct Profile<'a> {
    /// Its number.
    pub domain: DomId,
    /// Its name.
    pub name: &'a str,
    /// Its UUID as text.
    pub uuid: &'a str,
    /// Memory that it has, in KiB.
    pub memory_kib: u64,
    /// Memory that it may have, in KiB.
    pub max_memory_kib: u64,
    /// vCPUs that are to be up.
    pub vcpus: u32,
    /// vCPUs that it has.
    pub max_vcpus: u32,
    /// Its rings.
    pub rings: Built,
}

/// Nodes that the guest owns, empty at first: commands that it acknowledges, news of its drivers.
const OWN: [&str; 11] = [
    "control/shutdown",
    "control/sysrq",
    "control/feature-poweroff",
    "control/feature-reboot",
    "control/feature-suspend",
    "device/suspend/event-channel",
    "data",
    "drivers",
    "feature",
    "attr",
    "error",
];

/// The nodes of a new domain.
#[must_use]
pub fn operations(profile: &Profile<'_>) -> Vec<Operation> {
    let home = Path::home(profile.domain);
    let vm = format!("vm/{}", profile.uuid);
    let read = Permissions::new(DomId::DOM0, Access::None).with(Access::Read, profile.domain);
    let own = Permissions::new(profile.domain, Access::None);
    let vm_home = Path::root().below(&vm);
    let number = |value: u64| format!("{value}");
    // What is below these two is made with their list, and the directories on the way with it.
    let mut operations = vec![
        write(&home, ""),
        permit(&home, &read),
        write(&vm_home, ""),
        permit(&vm_home, &read),
        write(&vm_home.below("uuid"), profile.uuid),
        write(&vm_home.below("name"), profile.name),
    ];
    for (name, value) in [
        ("vm", format!("/{vm}")),
        ("name", String::from(profile.name)),
        ("domid", format!("{}", profile.domain)),
        ("memory/static-max", number(profile.max_memory_kib)),
        ("memory/target", number(profile.memory_kib)),
        ("control/platform-feature-multiprocessor-suspend", number(1)),
        ("control/platform-feature-xs_reset_watches", number(1)),
        ("store/port", format!("{}", profile.rings.store_port)),
        ("store/ring-ref", number(profile.rings.store_frame)),
        ("console/backend-id", number(0)),
        ("console/type", String::from("xenconsoled")),
        ("console/output", String::from("pty")),
        ("console/port", format!("{}", profile.rings.console_port)),
        ("console/ring-ref", number(profile.rings.console_frame)),
    ] {
        operations.push(write(&home.below(name), &value));
    }
    for vcpu in 0..profile.max_vcpus {
        let node = home.below(&format!("cpu/{vcpu}/availability"));
        operations.push(write(&node, availability(vcpu, profile.vcpus)));
    }
    for name in OWN {
        let node = home.below(name);
        operations.extend([write(&node, ""), permit(&node, &own)]);
    }
    operations
}

/// Takes the nodes of a domain out again.
#[must_use]
pub fn removal(domain: DomId, uuid: &str) -> Vec<Operation> {
    let vm = Path::root().below("vm").below(uuid);
    vec![
        Operation::Remove {
            path: Path::home(domain),
        },
        Operation::Remove { path: vm },
    ]
}

/// What a vCPU's node says when the first `wanted` are to be up.
pub(crate) const fn availability(vcpu: u32, wanted: u32) -> &'static str {
    if vcpu < wanted { "online" } else { "offline" }
}

fn write(path: &Path, value: &str) -> Operation {
    Operation::Write {
        path: path.clone(),
        value: Arc::from(value.as_bytes()),
    }
}

fn permit(path: &Path, list: &Permissions) -> Operation {
    Operation::SetPermissions {
        path: path.clone(),
        list: list.clone(),
    }
}
