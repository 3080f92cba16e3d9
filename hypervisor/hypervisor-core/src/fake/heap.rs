//! A heap that finds no memory to order. A test runs in one thread, so its requests are this thread's.

use std::cell::Cell;

std::thread_local! {
    static REQUESTS: Cell<u64> = const { Cell::new(0) };
    static FAILS: Cell<Option<u64>> = const { Cell::new(None) };
}

/// Counts a request, and says whether it finds nothing.
pub(crate) fn refused() -> bool {
    let number = REQUESTS.replace(REQUESTS.get() + 1);
    FAILS.get() == Some(number)
}

/// Requests so far.
#[must_use]
pub fn heap_requests() -> u64 {
    REQUESTS.get()
}

/// Which request finds nothing, counted as [`heap_requests`] does.
pub fn fail_heap(request: Option<u64>) {
    FAILS.set(request);
}
