//! What connections may take: how many, and for how long.

use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit};

use super::{
    known::KnownMost,
    lobby::{Most, Places},
};

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
            strangers,
        } = usual.places;
        Self {
            // For a second there may be twice as many of the first two.
            places: Places {
                silent: most(silent, files / 16),
                greeting: most(greeting, files / 16),
                slots,
                strangers: most(strangers, files / 32),
            },
            known: KnownMost {
                clients: usual.known.clients.min(files / 16 * 3),
                ..usual.known
            },
            ..usual
        }
    }

    /// The limits of this process.
    pub fn of_this_process() -> Self {
        let files = getrlimit(Resource::RLIMIT_NOFILE).map_or(u64::MAX, |(soft, _)| soft);
        Self::for_open_files(usize::try_from(files).unwrap_or(usize::MAX))
    }

    /// Returns how long a connection can last at most.
    pub fn longest_life(&self) -> Duration {
        self.max_age.mul_f64(1.1) + self.age_grace
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
                // A console has six over HTTP/1.1 and one over HTTP/2, each call of `cloudctl` one.
                of_client: 64,
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
                strangers,
                ..
            } = limits.places;
            let others = 2 * silent.in_all + 2 * greeting.in_all + 2 * strangers.in_all + 2 * limits.known.clients;
            assert!(others + files / 16 + files / 4 <= files, "{others} of {files}");
        }
        let usual = Limits::for_open_files(65_536);
        assert_eq!(usual.known.clients, Limits::default().known.clients);
        assert_eq!(usual.places.silent.in_all, Places::default().silent.in_all);
    }
}
