//! The heartbeat: on every online vCPU a tick every 10 ms, with an echo from user mode; and the longest gap between two.
//!
//! It is on while anyone holds it: the command `gap start`, or a stress. Off, its tasks sleep without a timer.

use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use guest_kernel::println;
use guest_kernel::smp::{self, MAX_VCPUS, VcpuId};
use guest_kernel::sync::{Lock, PerVcpu};
use guest_kernel::task::{self, Signal};
use guest_kernel::timer::{self, MILLISECOND};
use guest_kernel::user::{Echo, Program, UserError, echo_program};

/// Time between two beats.
const PERIOD: u64 = 10 * MILLISECOND;

/// What one vCPU's heart has done in this window.
struct Heart {
    /// Its task was started.
    covered: AtomicBool,
    go: Signal,
    /// System time of the last beat; 0 while it does not beat.
    last: AtomicU64,
    longest: AtomicU64,
    beats: AtomicU64,
    echoes: AtomicU64,
}

static HEARTS: PerVcpu<Heart> = PerVcpu::new(
    [const {
        Heart {
            covered: AtomicBool::new(false),
            go: Signal::new(),
            last: AtomicU64::new(0),
            longest: AtomicU64::new(0),
            beats: AtomicU64::new(0),
            echoes: AtomicU64::new(0),
        }
    }; MAX_VCPUS],
);

/// How many want the heartbeat.
static HOLDERS: AtomicU32 = AtomicU32::new(0);
/// Whether the console is one of them.
static BY_HAND: AtomicBool = AtomicBool::new(false);

static PROGRAM: Lock<Option<Program>> = Lock::new(None);

/// Keeps the heartbeat on while it lives.
pub(crate) struct Hold(());

impl Hold {
    pub(crate) fn new() -> Self {
        if HOLDERS.fetch_add(1, Ordering::SeqCst) == 0 {
            reset();
        }
        cover_vcpus();
        Self(())
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        HOLDERS.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Gives every online vCPU its heart, once, and lets it look whether it is to beat.
pub(crate) fn cover_vcpus() {
    for vcpu in smp::online() {
        let heart = HEARTS.of(vcpu);
        heart.go.set();
        if !heart.covered.swap(true, Ordering::Relaxed) {
            task::spawn_on(vcpu, beat_for_ever(vcpu));
        }
    }
}

/// `gap start`.
pub(crate) fn start_by_hand() {
    if BY_HAND.swap(true, Ordering::Relaxed) {
        println!("gap: on already");
    } else {
        core::mem::forget(Hold::new());
        println!("gap: started");
    }
}

/// `gap stop`.
pub(crate) fn stop_by_hand() {
    if BY_HAND.swap(false, Ordering::Relaxed) {
        drop(Hold(()));
        println!("gap: stopped");
    } else {
        println!("gap: not on");
    }
}

/// `gap show`: tells the window and begins a new one.
pub(crate) fn show() {
    let now = timer::now();
    let (mut longest, mut beats, mut echoes) = (0, 0, 0);
    for vcpu in smp::online() {
        let heart = HEARTS.of(vcpu);
        let last = heart.last.load(Ordering::Relaxed);
        // A beat that is late counts before it comes.
        let open = if last == 0 {
            0
        } else {
            now.saturating_sub(last)
        };
        longest = open.max(heart.longest.load(Ordering::Relaxed)).max(longest);
        beats += heart.beats.load(Ordering::Relaxed);
        echoes += heart.echoes.load(Ordering::Relaxed);
    }
    println!(
        "gap: longest {}.{:03} ms over {beats} beats on {} vcpus, user echoes {echoes}",
        longest / MILLISECOND,
        longest % MILLISECOND / 1000,
        smp::online().count(),
    );
    reset();
}

fn reset() {
    for heart in (0..MAX_VCPUS)
        .filter_map(VcpuId::new)
        .map(|vcpu| HEARTS.of(vcpu))
    {
        heart.longest.store(0, Ordering::Relaxed);
        heart.beats.store(0, Ordering::Relaxed);
        heart.echoes.store(0, Ordering::Relaxed);
    }
}

fn new_echo() -> Result<Echo, UserError> {
    let mut program = PROGRAM.lock();
    let program = match &mut *program {
        Some(program) => program,
        none => none.insert(echo_program()?),
    };
    Echo::new(program)
}

/// One vCPU's heart.
async fn beat_for_ever(vcpu: VcpuId) {
    let heart = HEARTS.of(vcpu);
    let mut echo = match new_echo() {
        Ok(echo) => echo,
        Err(error) => {
            println!(
                "heartbeat: cpu {} has no user program: {error}",
                vcpu.number()
            );
            return;
        }
    };
    loop {
        heart.go.wait().await;
        let result = beat_while_held(vcpu, heart, &mut echo).await;
        heart.last.store(0, Ordering::Relaxed);
        if let Err(error) = result {
            println!("heartbeat: cpu {}: {error}", vcpu.number());
            return;
        }
    }
}

async fn beat_while_held(vcpu: VcpuId, heart: &Heart, echo: &mut Echo) -> Result<(), UserError> {
    let mut starts = smp::starts(vcpu);
    let mut last = timer::now();
    let mut next = last + PERIOD;
    heart.last.store(last, Ordering::Relaxed);
    while HOLDERS.load(Ordering::SeqCst) != 0 {
        timer::sleep_until(next).await;
        echo.beat().await?;
        heart.echoes.fetch_add(1, Ordering::Relaxed);
        let now = timer::now();
        // A vCPU that was down meanwhile has missed nothing.
        if core::mem::replace(&mut starts, smp::starts(vcpu)) == starts {
            heart.longest.fetch_max(now - last, Ordering::Relaxed);
            heart.beats.fetch_add(1, Ordering::Relaxed);
        }
        last = now;
        heart.last.store(last, Ordering::Relaxed);
        next = (next + PERIOD).max(now);
    }
    Ok(())
}
