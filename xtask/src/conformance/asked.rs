//! Whether the suite asks every row of the hypercall table: with success, and for each error that the row documents.
//!
//! Kernels tell with each check which rows it asked and how they answered; the table's own text says what a row can answer.
//! So a new row, or a new error of an old one, fails the run until a check has seen it.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use hypercall_abi::inventory::CONSTANTS;
use hypercall_abi::table::{HYPERCALLS, HypercallRow, OperationRow, Who};

/// One question of a check, and its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ask {
    call: u64,
    operation: Option<u64>,
    answer: Reply,
}

/// A call's result, or the status of an element of its list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Reply {
    /// 0 stands for all that is no error.
    Result(i64),
    Status(i64),
}

const SUCCESS: Reply = Reply::Result(0);

impl Ask {
    /// Reads one as kernels write it: `CALL[.OPERATION]=RESULT`, a status with `s` in front.
    pub(crate) fn read(text: &str) -> Result<Self> {
        let parts = || {
            let (row, answer) = text.split_once('=')?;
            let (call, operation) = match row.split_once('.') {
                None => (row, None),
                Some((call, operation)) => (call, Some(operation.parse().ok()?)),
            };
            let answer = match answer.strip_prefix('s') {
                None => Reply::Result(answer.parse().ok()?),
                Some(status) => Reply::Status(status.parse().ok()?),
            };
            Some(Self {
                call: call.parse().ok()?,
                operation,
                answer,
            })
        };
        parts().with_context(|| format!("no question to a row: {text}"))
    }
}

/// Answers that the table documents and the suite does not provoke, with the reason.
const OUT_OF_REACH: &[(&str, &str, &str)] = &[
    (
        "event_channel_op.init_control",
        "ENOMEM",
        "memory has to be short at one instant",
    ),
    (
        "paravane_op.audit",
        "ENOMEM",
        "memory has to be short at one instant",
    ),
    (
        "paravane_op.domain_create",
        "ENOSPC",
        "memory ends before the numbers do",
    ),
    (
        "xen_version.build_id",
        "success",
        "this hypervisor's image has no identifier",
    ),
    (
        "paravane_op.audit_breach",
        "success",
        "only a hypervisor built to break itself",
    ),
    (
        "paravane_op.audit_breach",
        "ESRCH",
        "only a hypervisor built to break itself",
    ),
    (
        "paravane_op.audit_breach",
        "ENOMEM",
        "only a hypervisor built to break itself",
    ),
];

/// A row: a hypercall, or one of its operations.
struct Row {
    name: String,
    call: u32,
    operation: Option<u32>,
    /// Answers that it must have been seen to give.
    wanted: Vec<(String, Reply)>,
}

fn rows() -> Vec<Row> {
    let of_call = |call: &'static HypercallRow| {
        let row = Row {
            name: call.name.to_owned(),
            call: call.number,
            operation: None,
            wanted: wanted(call.doc, call.who),
        };
        let of_operation = move |operation: &OperationRow| Row {
            name: format!("{}.{}", call.name, operation.name),
            call: call.number,
            operation: Some(operation.number),
            wanted: wanted(operation.doc, operation.who),
        };
        std::iter::once(row).chain(call.operations.iter().map(of_operation))
    };
    HYPERCALLS.iter().flat_map(of_call).collect()
}

/// What a row's text says that it answers: success, unless it is refused for good, and each error and status by name.
fn wanted(doc: &[&str], who: Who) -> Vec<(String, Reply)> {
    let text = doc.concat();
    let mut wanted = Vec::new();
    if !text.trim_start().starts_with("Refused") {
        wanted.push(("success".to_owned(), SUCCESS));
    }
    if who == Who::Dom0 {
        wanted.push(("EPERM".to_owned(), named("EPERM").unwrap_or(SUCCESS)));
    }
    let errors = text.split_once("Errors").map_or("", |(_, rest)| rest);
    let statuses = text.split_once("Statuses").map_or("", |(_, rest)| rest);
    for name in errors.split('`').chain(statuses.split('`')) {
        if let Some(reply) = named(name) {
            wanted.push((name.to_owned(), reply));
        }
    }
    wanted.sort_by_key(|(_, reply)| *reply);
    wanted.dedup();
    wanted
}

/// The answer of a name: `EINVAL`, or `bad_page` for a status of grants.
fn named(name: &str) -> Option<Reply> {
    let status = format!("GNTST_{name}");
    let constant = CONSTANTS
        .iter()
        .flat_map(|list| list.iter())
        .find(|constant| constant.c_name == status || constant.c_name == format!("XEN_{name}"))?;
    let value = i64::try_from(constant.value).ok()?;
    Some(if constant.c_name == status {
        Reply::Status(value)
    } else {
        Reply::Result(-value)
    })
}

/// What is wrong with these questions: answers of the table that were not seen.
pub(crate) fn missing(asked: &BTreeSet<Ask>) -> Vec<String> {
    let seen = |row: &Row, answer: Reply| {
        asked.iter().any(|ask| {
            let same = |operation: u32| ask.operation == Some(u64::from(operation));
            ask.answer == answer
                && ask.call == u64::from(row.call)
                && row.operation.is_none_or(same)
        })
    };
    let mut complaints = Vec::new();
    for row in rows() {
        for (name, answer) in &row.wanted {
            let excused = OUT_OF_REACH
                .iter()
                .any(|(excused, answer, _)| *excused == row.name && answer == name);
            if seen(&row, *answer) == excused {
                complaints.push(if excused {
                    format!(
                        "{} answered {name}, which is listed as out of reach",
                        row.name
                    )
                } else {
                    format!("no check was answered {name} by {}", row.name)
                });
            }
        }
    }
    for (excused, answer, reason) in OUT_OF_REACH {
        let known = rows()
            .iter()
            .any(|row| row.name == *excused && row.wanted.iter().any(|(name, _)| name == answer));
        if !known {
            complaints.push(format!("the table has no {answer} of {excused} ({reason})"));
        }
    }
    complaints
}

impl Row {
    /// Whether a question was to this very row.
    fn is_of(&self, ask: &Ask) -> bool {
        u64::from(self.call) == ask.call && self.operation.map(u64::from) == ask.operation
    }
}

/// The rows that these questions were to, by name.
pub(crate) fn rows_of(asks: &[Ask]) -> BTreeSet<String> {
    rows()
        .into_iter()
        .filter(|row| asks.iter().any(|ask| row.is_of(ask)))
        .map(|row| row.name)
        .collect()
}

/// Rows without an answer that the dispatcher could give wrongly, with the reason.
pub(crate) const NEVER_WRONG: &[(&str, &str)] = &[
    ("iret", "it has no result"),
    (
        "xen_version.version",
        "it is answered before the dispatcher",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(texts: &[&str]) -> BTreeSet<Ask> {
        texts.iter().map(|text| Ask::read(text).unwrap()).collect()
    }

    fn missing_of(name: &str, texts: &[&str]) -> Vec<String> {
        let mut found = missing(&asked(texts));
        found.retain(|line| line.ends_with(&format!("by {name}")));
        found
    }

    #[test]
    fn success_and_each_documented_error_are_wanted() {
        assert_eq!(missing_of("vcpu_op.up", &[]).len(), 2);
        assert_eq!(missing_of("vcpu_op.up", &["24.1=0"]).len(), 1);
        assert_eq!(missing_of("vcpu_op.up", &["24.1=0", "24.1=-22"]).len(), 0);
        // Another operation's answers are not this one's, but they are the call's.
        assert_eq!(missing_of("vcpu_op.up", &["24.2=0"]).len(), 2);
        assert_eq!(missing_of("vcpu_op", &["24.2=0", "24.2=-2"]).len(), 0);
    }

    #[test]
    fn statuses_are_no_results() {
        let unmap = "grant_table_op.unmap_grant_ref";
        let all = ["20.1=0", "20.1=s-4", "20.1=s-6", "20.1=s-1"];
        assert_eq!(missing_of(unmap, &all).len(), 0);
        assert_eq!(missing_of(unmap, &["20.1=0", "20.1=-4"]).len(), 3);
    }

    #[test]
    fn rows_of_dom0_are_refused_to_others() {
        assert_eq!(missing_of("paravane_op.host_info", &["56.256=0"]).len(), 1);
        assert_eq!(missing_of("platform_op", &["7=-1"]).len(), 0);
    }

    #[test]
    fn questions_to_no_row_count_for_none() {
        let asks: Vec<Ask> = asked(&["24.1=0", "24.1=-22", "24.77=0", "23=0"])
            .into_iter()
            .collect();
        let names: Vec<String> = rows_of(&asks).into_iter().collect();
        assert_eq!(names, ["iret", "vcpu_op.up"]);
    }

    #[test]
    fn nonsense_is_no_question() {
        for text in ["", "12", "12.x=0", "12=s", "x=0"] {
            assert!(Ask::read(text).is_err(), "{text}");
        }
    }
}
