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

/// Who may do what at a node.
#[derive(Clone, Copy)]
enum Rights {
    /// dom0 owns it, the guest reads.
    Read,
    /// The guest owns it.
    Own,
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
    let vm = format!("/vm/{}", profile.uuid);
    let mut nodes = Nodes {
        domain: profile.domain,
        operations: Vec::new(),
    };
    let number = |value: u64| format!("{value}");
    nodes.add(&home, "", Rights::Read);
    for (name, value) in [
        ("vm", vm.clone()),
        ("name", String::from(profile.name)),
        ("domid", format!("{}", profile.domain)),
        ("memory", String::new()),
        ("memory/static-max", number(profile.max_memory_kib)),
        ("memory/target", number(profile.memory_kib)),
        ("cpu", String::new()),
        ("control", String::new()),
        ("control/platform-feature-multiprocessor-suspend", number(1)),
        ("control/platform-feature-xs_reset_watches", number(1)),
        ("device", String::new()),
        ("device/suspend", String::new()),
        ("store", String::new()),
        ("store/port", format!("{}", profile.rings.store_port)),
        ("store/ring-ref", number(profile.rings.store_frame)),
        ("console", String::new()),
        ("console/backend-id", number(0)),
        ("console/type", String::from("xenconsoled")),
        ("console/output", String::from("pty")),
        ("console/port", format!("{}", profile.rings.console_port)),
        ("console/ring-ref", number(profile.rings.console_frame)),
    ] {
        nodes.add(&home.below(name), &value, Rights::Read);
    }
    for vcpu in 0..profile.max_vcpus {
        let directory = home.below(&format!("cpu/{vcpu}"));
        nodes.add(&directory, "", Rights::Read);
        nodes.add(
            &directory.below("availability"),
            availability(vcpu, profile.vcpus),
            Rights::Read,
        );
    }
    for name in OWN {
        nodes.add(&home.below(name), "", Rights::Own);
    }
    let vm = Path::root().below(vm.trim_start_matches('/'));
    nodes.add(&vm, "", Rights::Read);
    nodes.add(&vm.below("uuid"), profile.uuid, Rights::Read);
    nodes.add(&vm.below("name"), profile.name, Rights::Read);
    nodes.operations
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

struct Nodes {
    domain: DomId,
    operations: Vec<Operation>,
}

impl Nodes {
    fn add(&mut self, path: &Path, value: &str, rights: Rights) {
        let list = match rights {
            Rights::Read => {
                Permissions::new(DomId::DOM0, Access::None).with(Access::Read, self.domain)
            }
            Rights::Own => Permissions::new(self.domain, Access::None),
        };
        self.operations.push(Operation::Write {
            path: path.clone(),
            value: Arc::from(value.as_bytes()),
        });
        self.operations.push(Operation::SetPermissions {
            path: path.clone(),
            list,
        });
    }
}
