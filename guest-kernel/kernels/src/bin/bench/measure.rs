//! Measuring: the same operation over and over, each round by the time-stamp counter, and the round in the middle.
//!
//! Where the machine counts instructions as time, a round is a number of instructions, and rounds are equal unless an
//! interrupt fell into one. The middle of the sorted rounds is then the cost, to the instruction.

use guest_kernel::hypercall::time_stamp;
use guest_kernel::println;

/// Rounds of each operation.
pub(crate) const ROUNDS: usize = 33;

/// Prints one row: instructions of the middle round, operations in a round, how many rounds were equal to it.
pub(crate) fn row(name: &str, mut rounds: [u64; ROUNDS], overhead: u64, operations: u64) {
    rounds.sort_unstable();
    let middle = rounds[ROUNDS / 2];
    let equal = rounds.iter().filter(|&&round| round == middle).count();
    let cost = middle.saturating_sub(overhead);
    println!("row {cost} {operations} {equal}/{ROUNDS} {name}");
}

/// What a round costs without an operation.
#[derive(Clone, Copy)]
pub(crate) struct Meter {
    overhead: u64,
}

impl Meter {
    /// Measures the empty round.
    pub(crate) fn new() -> Self {
        let mut rounds = rounds(|| {}, || {});
        rounds.sort_unstable();
        Self {
            overhead: rounds[ROUNDS / 2],
        }
    }

    /// Measures and prints: `operation` carries out `operations` of what `name` says.
    pub(crate) fn measure(self, name: &str, operations: u64, operation: impl FnMut()) {
        self.measure_from(name, operations, || {}, operation);
    }

    /// As [`Self::measure`]; `prepare` runs before each round and is not counted.
    pub(crate) fn measure_from(
        self,
        name: &str,
        operations: u64,
        prepare: impl FnMut(),
        operation: impl FnMut(),
    ) {
        row(name, rounds(prepare, operation), self.overhead, operations);
    }
}

fn rounds(mut prepare: impl FnMut(), mut operation: impl FnMut()) -> [u64; ROUNDS] {
    let mut rounds = [0; ROUNDS];
    // The first round finds caches of the hypervisor empty; it is one of many.
    for round in &mut rounds {
        prepare();
        let start = time_stamp();
        operation();
        *round = time_stamp() - start;
    }
    rounds
}
