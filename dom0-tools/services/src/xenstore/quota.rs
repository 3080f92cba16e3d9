//! How much of the server one unprivileged domain may take.

/// Limits of one domain. dom0 has none.
#[derive(Clone, Copy, Debug)]
pub struct Quota {
    /// Nodes owned.
    pub nodes: u32,
    /// Bytes of the nodes owned: values, names of children, permission entries.
    pub bytes: usize,
    /// Bytes of one node.
    pub node_bytes: usize,
    /// Entries of one permission list.
    pub permission_entries: usize,
    /// Bytes of a path, without a leading `/local/domain/<n>/`.
    pub path_bytes: usize,
    /// Watches.
    pub watches: usize,
    /// Names in the paths of all watches together: each has a place in the tree of watches, a path of one connection once.
    pub watch_names: usize,
    /// Transactions open at once.
    pub transactions: usize,
    /// Nodes touched by one transaction.
    pub touched: usize,
    /// Bytes written in all open transactions together.
    pub transaction_bytes: usize,
    /// Bytes of replies not yet taken at which the domain's requests are no longer read.
    pub queued_soft: usize,
    /// Bytes of replies and events not yet taken at which the connection is given up.
    pub queued_hard: usize,
}

impl Quota {
    /// The limits of every ordinary domain. Counts are those that Xen's tools give, since guests are written against
    /// them; the byte limits keep the worst that one domain can do to dom0's memory near 2 MiB.
    pub const ORDINARY: Self = Self {
        nodes: 1000,
        bytes: 1 << 20,
        node_bytes: 2048,
        permission_entries: 5,
        path_bytes: 2048,
        watches: 128,
        watch_names: 2048,
        transactions: 10,
        touched: 1024,
        transaction_bytes: 256 << 10,
        queued_soft: 16 << 10,
        queued_hard: 256 << 10,
    };
}

/// What a domain's nodes take now.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Usage {
    pub(super) nodes: u32,
    pub(super) bytes: usize,
    /// Nodes of others that name it in their lists.
    pub(super) named: u32,
}
