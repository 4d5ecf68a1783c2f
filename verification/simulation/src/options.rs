//! What one seed makes of a world.

use std::fmt;
use std::time::Duration;

use crate::rng::Rng;

/// All that a run depends on, drawn from its seed.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) seed: u64,
    /// Processes, each with a client and a network of its own.
    pub(crate) processes: u32,
    /// Callers in each process.
    pub(crate) callers: u32,
    /// Keys of executions, and of leases.
    pub(crate) keys: u64,
    pub(crate) leases: u64,
    pub(crate) operators: u32,
    pub(crate) ttl: Duration,
    pub(crate) hard_ttl: Duration,
    pub(crate) retention: Option<Duration>,
    /// How long a request whose reply was lost is sent again.
    pub(crate) retry_timeout: Duration,
    /// How long faults go on.
    pub(crate) span: Duration,
    pub(crate) faults: Faults,
}

/// How often something goes wrong, of a hundred requests, or, in the second half, of a hundred steps of the nemesis.
#[derive(Debug, Clone)]
pub(crate) struct Faults {
    pub(crate) request_lost: u64,
    pub(crate) reply_lost: u64,
    pub(crate) request_swallowed: u64,
    pub(crate) reply_swallowed: u64,
    pub(crate) late: u64,
    pub(crate) repeated: u64,
    pub(crate) refused: u64,
    pub(crate) starved: u64,
    pub(crate) crash: u64,
    pub(crate) pause: u64,
    pub(crate) clock_jump: u64,
    /// Callers that do not wait for their answer, of a hundred.
    pub(crate) caller_gone: u64,
}

impl Options {
    /// What a seed draws.
    pub(crate) fn of(seed: u64) -> Self {
        let rng = Rng::new(seed);
        let ms = |least, most| Duration::from_millis(rng.within(least, most));
        let ttl = ms(20, 400);
        Self {
            seed,
            processes: rng.within(1, 4) as u32,
            callers: rng.within(1, 3) as u32,
            keys: rng.within(1, 3),
            leases: rng.within(0, 1),
            operators: rng.within(1, 2) as u32,
            ttl,
            hard_ttl: ttl * rng.within(1, 6) as u32,
            retention: rng.percent(30).then(|| ms(1, 2_000)),
            retry_timeout: ms(50, 3_000),
            span: ms(200, 3_000),
            faults: Faults::of(&rng),
        }
    }
}

impl Faults {
    /// Each kind is missing in half of the worlds: what shows only alone is found, too.
    fn of(rng: &Rng) -> Self {
        let often = |most| if rng.percent(50) { rng.within(1, most) } else { 0 };
        Self {
            request_lost: often(20),
            reply_lost: often(25),
            request_swallowed: often(8),
            reply_swallowed: often(8),
            late: often(15),
            repeated: often(15),
            refused: often(15),
            starved: often(10),
            crash: often(40),
            pause: often(40),
            clock_jump: often(30),
            caller_gone: often(30),
        }
    }
}

impl fmt::Display for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}
