//! What connections may take: how many, and for how long.

use std::{num::NonZeroUsize, thread::available_parallelism, time::Duration};

use nix::sys::resource::{Resource, getrlimit};

use super::known::KnownMost;
use crate::identity::STREAMS_OF_ONE;

/// Connections of one person or token: a console has six over HTTP/1.1 and one over HTTP/2, each call of `cloudctl` one.
/// More than it may have streams: whoever follows too many tasks is told so by the refusal of one, and not by the end of its
/// connection. Each keeps 128 KiB at most of what comes in and is not read: 16 MiB of one.
const OF_CLIENT: usize = 128;
const _: () = assert!(OF_CLIENT > STREAMS_OF_ONE);

/// Connections of one stage: per source, and in all.
#[derive(Debug, Clone, Copy)]
pub struct Most {
    /// Of one source.
    pub per_source: usize,
    /// Of all together.
    pub in_all: usize,
}

/// How many may wait.
#[derive(Debug, Clone, Copy)]
pub struct Places {
    /// Without a byte, or with half a greeting.
    pub silent: Most,
    /// With a whole greeting, in line for a slot.
    pub greeting: Most,
    /// Handshakes at the same time.
    pub slots: Most,
    /// Handshakes that may begin.
    pub handshakes: Rate,
    /// With TLS, and nothing shown.
    pub strangers: Most,
}

/// Handshakes that may begin in a second, beside those of whoever shows something valid.
#[derive(Debug, Clone, Copy)]
pub struct Rate {
    /// Of networks that have begun none just now: the first one of each.
    pub first_per_sec: u32,
    /// All others.
    pub again_per_sec: u32,
}

impl Rate {
    /// What is begun on so many cores: 350 for each. Unoptimised a handshake takes 1.5 ms with what comes before it (measured:
    /// 373 a second took 0.55 of a core), optimised a third of that or less. So it is half of the cores, or a sixth.
    fn of_cores(cores: usize) -> Self {
        let cores = u32::try_from(cores).unwrap_or(u32::MAX);
        Self {
            first_per_sec: cores.saturating_mul(200),
            // More than the 128 that one address may begin, whose 64 slots count for half a second.
            again_per_sec: cores.saturating_mul(150),
        }
    }
}

/// What a connection may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Longest TLS handshake, longest wait for the first request after it (so also for an HTTP/2 preface), and for the
    /// head of an HTTP/1 request.
    pub handshake: Duration,
    /// Connections that may wait before they have shown anything.
    pub places: Places,
    /// Longest time without an open call, on a connection that has shown nothing valid.
    pub stranger_idle: Duration,
    /// Age of an open call at which a connection is asked to end that has shown nothing valid: none that anybody may make
    /// takes so long, unless nobody takes its answer.
    pub stranger_call: Duration,
    /// Longest time in which nothing more is taken of an answer that is here as a whole; afterwards its connection is
    /// asked to end.
    pub untaken: Duration,
    /// Connections that have shown something.
    pub known: KnownMost,
    /// Longest time without an open call.
    pub idle: Duration,
    /// Age at which a connection is asked to end, ± 10 %. Shorter than a certificate lives, so that no link outlives
    /// the certificate that opened it for long.
    pub max_age: Duration,
    /// Time between being asked to end by age and being cut.
    pub age_grace: Duration,
    /// Time between the stop of the server, or having been idle for too long, and being cut.
    pub drain: Duration,
}

impl Limits {
    /// The limits of a process that may have so many open files. Two listeners of strangers and of whoever is no agent
    /// have eleven sixteenths of them at most, the database and what else there is has one, and agents have the rest.
    pub fn for_open_files(files: usize) -> Self {
        let most = |most: Most, files: usize| Most {
            per_source: most.per_source.min(files),
            in_all: most.in_all.min(files),
        };
        let usual = Self::default();
        let Places {
            silent,
            greeting,
            slots,
            handshakes,
            strangers,
        } = usual.places;
        let in_all = slots.in_all.min(files / 16);
        let slots = Most {
            per_source: slots.per_source.min(in_all / 4).max(1),
            in_all,
        };
        Self {
            places: Places {
                // For a second there may be twice as many.
                silent: most(silent, files / 16),
                // Who is in a slot waits no more.
                greeting: most(greeting, files / 8 - in_all),
                slots,
                handshakes,
                strangers: most(strangers, files / 32),
            },
            known: KnownMost {
                clients: usual.known.clients.min(files / 16 * 3),
                ..usual.known
            },
            ..usual
        }
    }

    /// The limits of this process, on this machine.
    pub fn of_this_process() -> Self {
        let files = getrlimit(Resource::RLIMIT_NOFILE).map_or(u64::MAX, |(soft, _)| soft);
        let mut limits = Self::for_open_files(usize::try_from(files).unwrap_or(usize::MAX));
        limits.places.handshakes = Rate::of_cores(available_parallelism().map_or(1, NonZeroUsize::get));
        let (greeting, usual) = (limits.places.greeting.in_all, Places::default().greeting.in_all);
        if greeting < usual {
            tracing::info!(
                files,
                greeting,
                usual,
                "few files may be open: fewer handshakes than usual may wait"
            );
        }
        limits
    }

    /// Returns how long a connection can last at most.
    pub fn longest_life(&self) -> Duration {
        self.max_age.mul_f64(1.1) + self.age_grace
    }
}

impl Default for Places {
    fn default() -> Self {
        Self {
            // A file descriptor, about 8 KiB, and up to 4 KiB of a greeting each: 30 MiB in all. 1,000 agents behind one
            // address come back at once.
            silent: Most {
                per_source: 1_280,
                in_all: 2_560,
            },
            // About 12 KiB and their greeting of up to 4 KiB each: 32 MiB in all.
            greeting: Most {
                per_source: 1_024,
                in_all: 2_048,
            },
            // One address takes a quarter of the slots at most: the rest is what is kept for agents elsewhere.
            slots: Most {
                per_source: 64,
                in_all: 256,
            },
            // A process looks how many cores it has.
            handshakes: Rate::of_cores(2),
            // Each about 60 KiB, 128 KiB of window that it may fill, and four bodies of 16 KiB: 32 MiB in all. A hundred
            // calls of each may be on their way to a refusal, with 8 KiB of headers; those that wait are counted apart, see
            // `Standing`.
            strangers: Most {
                per_source: 64,
                in_all: 128,
            },
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            places: Places::default(),
            stranger_idle: Duration::from_secs(60),
            // A conversation of reflection has 60 s. The console comes over the slowest of lines.
            stranger_call: Duration::from_secs(120),
            untaken: Duration::from_secs(120),
            known: KnownMost {
                of_client: OF_CLIENT,
                // A link, the one that replaces it, and a renewal beside each.
                of_agent: 4,
                clients: 12_288,
            },
            idle: Duration::from_secs(600),
            max_age: Duration::from_secs(11 * 3600),
            age_grace: Duration::from_secs(600),
            drain: Duration::from_secs(3),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarter_of_the_files_is_left_to_agents() {
        for files in [256, 1_024, 65_536, 1 << 20] {
            let limits = Limits::for_open_files(files);
            let Places {
                silent,
                greeting,
                slots,
                strangers,
                ..
            } = limits.places;
            let handshakes = greeting.in_all + slots.in_all;
            let others = 2 * silent.in_all + handshakes + 2 * strangers.in_all + 2 * limits.known.clients;
            assert!(others + files / 16 + files / 4 <= files, "{others} of {files}");
            assert!(greeting.in_all > 0 && slots.per_source > 0 && slots.per_source * 4 <= slots.in_all);
        }
        let usual = Limits::for_open_files(65_536);
        assert_eq!(usual.known.clients, Limits::default().known.clients);
        assert_eq!(usual.places.silent.in_all, Places::default().silent.in_all);
    }
}
