//! How long dom0 may be silent on a call before the client gives up.
//!
//! A request that waits for a guest says itself how long that may take; dom0 answers when the time is over. What is waited for here
//! is dom0: a machine that is frozen never answers, and a person or a script should hear so.

use dom0_protocol::Request;
use dom0_protocol::request::ConsoleMode;
use dom0_protocol::wait::Wait;
use std::time::Duration;

/// What is usual for an answer that waits for nobody.
pub const USUAL: Duration = Duration::from_secs(30);

/// What dom0 may take at most to turn a move back.
const TURN_BACK: Duration = Duration::from_secs(20);

/// The longest silence on a call, if an answer that waits for nobody takes `usual` at most; none where silence is right.
#[must_use]
pub fn longest_silence(request: &Request, usual: Duration) -> Option<Duration> {
    let waited = |wait: &Wait| match *wait {
        Wait::No => Duration::ZERO,
        Wait::UntilReached { timeout_ms, .. } => millis(timeout_ms),
    };
    let besides = match request {
        Request::Dmesg(reading) if reading.follow => return None,
        Request::Console(console) if console.mode == ConsoleMode::Attach => return None,
        Request::Wait(wish) => millis(wish.timeout_ms?),
        Request::Balloon(wish) => waited(&wish.wait),
        Request::Vcpus(wish) => waited(&wish.wait),
        Request::Shutdown(wish) | Request::Reboot(wish) => waited(&wish.wait),
        Request::Sysrq(wish) => millis(wish.timeout_ms),
        Request::Move(wish) => millis(wish.timeout_ms) * 2 + TURN_BACK,
        // Work on all frames of the machine, or of a domain.
        Request::Audit | Request::Destroy(_) | Request::Create(_) | Request::Upload(_) => usual * 3,
        Request::Version
        | Request::HostInfo
        | Request::Dmesg(_)
        | Request::List
        | Request::Show(_)
        | Request::Pause(_)
        | Request::Unpause(_)
        | Request::Console(_)
        | Request::Poweroff
        | Request::Sched(_)
        | Request::MaxMemory(_)
        | Request::Rename(_)
        | Request::Counters(_) => Duration::ZERO,
    };
    Some(usual + besides)
}

fn millis(count: u32) -> Duration {
    Duration::from_millis(count.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use dom0_protocol::DomainSelector;
    use dom0_protocol::ending::Awaited;
    use dom0_protocol::request::{Await, Vcpus};
    use dom0_protocol::wait::Otherwise;

    #[test]
    fn who_waits_for_a_guest_is_given_that_time_too() {
        let domain = DomainSelector::Id(1);
        let wait = Wait::UntilReached {
            timeout_ms: 5000,
            otherwise: Otherwise::Keep,
        };
        let vcpus = Request::Vcpus(Vcpus {
            domain: domain.clone(),
            target: 1,
            wait,
        });
        let second = Duration::from_secs(1);
        assert_eq!(longest_silence(&vcpus, second), Some(second * 6));
        assert_eq!(longest_silence(&Request::List, second), Some(second));
        let forever = Request::Wait(Await {
            domain,
            state: Awaited::Gone,
            timeout_ms: None,
        });
        assert_eq!(longest_silence(&forever, second), None);
    }
}
