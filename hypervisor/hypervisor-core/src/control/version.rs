//! Operation 0: what this hypervisor speaks. Open to every domain.

use hypercall_abi::Errno;
use hypercall_abi::control::version::{
    PARAVANE_FEATURE_CONSOLE_WRITE, PARAVANE_FEATURE_PRIVATE_M2P, QUERY_HYPERCALLS,
    QUERY_NO_SUB_OPERATION, QUERY_OPERATIONS, QUERY_VERSIONS, QUERY_WHO_ANY, QUERY_WHO_DOM0, Query,
};
use hypercall_abi::table::{self, HYPERCALLS, Who};
use hypercall_abi::version::{CONTROL_ABI_VERSION, GUEST_ABI_VERSION, OLDEST_CONTROL_ABI_VERSION};

use super::{Answer, Anyone, End, require};
use crate::caller::Caller;
use crate::machine::Machine;

const FEATURES: u64 = PARAVANE_FEATURE_PRIVATE_M2P | PARAVANE_FEATURE_CONSOLE_WRITE;

pub(super) fn paravane_query<M: Machine>(
    _: &mut Caller<'_, M>,
    _: Anyone,
    query: &mut Query,
) -> Answer {
    query.values = answer(query.topic, query.index)?;
    Ok(End::Done)
}

fn answer(topic: u32, index: u32) -> Result<[u64; 4], Errno> {
    match topic {
        QUERY_VERSIONS => {
            require(index == 0)?;
            let oldest = OLDEST_CONTROL_ABI_VERSION.into();
            Ok([
                GUEST_ABI_VERSION.into(),
                CONTROL_ABI_VERSION.into(),
                oldest,
                FEATURES,
            ])
        }
        QUERY_HYPERCALLS => {
            require(index == 0)?;
            let bitmap = HYPERCALLS.iter().fold(0, |bitmap, call| {
                bitmap | 1_u64.checked_shl(call.number).unwrap_or(0)
            });
            Ok([bitmap, 0, 0, 0])
        }
        QUERY_OPERATIONS => {
            let index = usize::try_from(index).map_err(|_| Errno::ENOENT)?;
            let (call, operation) = table::operations().nth(index).ok_or(Errno::ENOENT)?;
            let number = operation.map_or(QUERY_NO_SUB_OPERATION, |row| row.number.into());
            let (since, who) = operation.map_or((call.since, call.who), |row| (row.since, row.who));
            Ok([call.number.into(), number, since.into(), who_number(who)])
        }
        _ => Err(Errno::EINVAL),
    }
}

fn who_number(who: Who) -> u64 {
    match who {
        Who::Any => QUERY_WHO_ANY,
        Who::Dom0 => QUERY_WHO_DOM0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_calls_and_operations_are_told() {
        assert_eq!(answer(QUERY_VERSIONS, 0), Ok([0x40011, 2, 1, 3]));
        let [bitmap, ..] = answer(QUERY_HYPERCALLS, 0).unwrap();
        assert_eq!(
            bitmap & 0b1111 << 10,
            0b1101 << 10,
            "10, 12 and 13 exist, 11 does not"
        );
        assert_eq!(
            answer(QUERY_OPERATIONS, 0),
            Ok([0, QUERY_NO_SUB_OPERATION, 1, QUERY_WHO_ANY])
        );
        let rows = (0..).map_while(|index| answer(QUERY_OPERATIONS, index).ok());
        assert!(
            rows.into_iter()
                .any(|row| row == [56, 0x200, 1, QUERY_WHO_DOM0])
        );
        assert_eq!(answer(QUERY_OPERATIONS, 100_000), Err(Errno::ENOENT));
        assert_eq!(answer(3, 0), Err(Errno::EINVAL));
        assert_eq!(answer(QUERY_VERSIONS, 1), Err(Errno::EINVAL));
    }
}
