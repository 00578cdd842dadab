//! A cloud that can stand still, as a process that is stopped and goes on, or one whose machine is suspended: it is not run,
//! keeps all that it had, and is not started again.
//!
//! Turmoil runs every host that is alive in each step. So such a cloud has a runtime of its own, which whoever steps the
//! simulation runs or does not, and what turmoil knows as the cloud is its network card. That goes on as a kernel does:
//! connections are taken, what comes is kept as far as there is room, and nobody answers.

use std::{convert::Infallible, io, net::SocketAddr, time::Duration};

use opslink::time::UnixMicros;
use opslink_cloud::{store::Store, tls::Listener};
use tokio::{
    io::{DuplexStream, copy_bidirectional, duplex},
    runtime::{Builder, RngSeed, Runtime, UnhandledPanic},
    sync::mpsc,
    task::{JoinHandle, JoinSet, LocalSet},
    time::{advance, sleep},
};

use crate::{
    hosts,
    net::{Door, Meter},
    plan::{LOST_AFTER, Standstill},
    shared::Shared,
};

/// Bytes that are kept each way of a connection: the buffers of a socket.
const BUFFER: usize = 64 << 10;
/// Connections that wait to be accepted, as of a socket that listens.
const BACKLOG: usize = 4_096;
/// Between two looks at the clock by a program that stands still with the cloud.
const BEAT: Duration = Duration::from_secs(1);

/// What the card has taken for the process.
type Taken = (DuplexStream, SocketAddr);

/// Where the process accepts.
struct Backlog(mpsc::Receiver<Taken>);

impl Listener for Backlog {
    type Io = DuplexStream;

    async fn accept(&mut self) -> io::Result<Taken> {
        match self.0.recv().await {
            Some(taken) => Ok(taken),
            // The card is gone with the whole simulation.
            None => std::future::pending().await,
        }
    }
}

/// The network card of the cloud's machine: the host that others reach.
pub(crate) async fn card(meter: Meter, backlog: mpsc::Sender<Taken>) -> turmoil::Result {
    let mut door = Door::open(meter).await?;
    let mut connections = JoinSet::new();
    loop {
        let (mut wire, peer) = door.accept().await?;
        let (mut near, far) = duplex(BUFFER);
        backlog.send((far, peer)).await?;
        // Ends with either end of the connection.
        connections.spawn(async move { copy_bidirectional(&mut wire, &mut near).await.is_ok() });
        while connections.try_join_next().is_some() {}
    }
}

/// See the module.
pub(crate) struct Process {
    runtime: Runtime,
    local: LocalSet,
    main: JoinHandle<turmoil::Result>,
    kind: Standstill,
    stands: bool,
    /// What its clock has to catch up with.
    missed: Duration,
}

impl Process {
    /// Starts the cloud; returns it with the way for its card.
    pub(crate) fn start(seed: u64, kind: Standstill, store: Store, shared: Shared) -> (Self, mpsc::Sender<Taken>) {
        let (card, backlog) = mpsc::channel(BACKLOG);
        // As turmoil makes those of its hosts.
        let runtime = Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .rng_seed(RngSeed::from_bytes(&seed.to_le_bytes()))
            .unhandled_panic(UnhandledPanic::ShutdownRuntime)
            .build()
            .expect("a runtime can be made");
        runtime.block_on(async { sleep(Duration::from_millis(1)).await });
        let mut local = LocalSet::new();
        local.unhandled_panic(UnhandledPanic::ShutdownRuntime);
        // Ends with the process.
        let main = local.spawn_local(async move {
            tokio::select! {
                biased;
                ended = hosts::cloud_behind(Backlog(backlog), store, shared.clone()) => ended,
                never = look_at_the_clock(shared) => match never {},
            }
        });
        let process = Self {
            runtime,
            local,
            main,
            kind,
            stands: false,
            missed: Duration::ZERO,
        };
        (process, card)
    }

    /// Lets it run for a step of the simulated clock, unless it stands still.
    pub(crate) fn step(&mut self, time: Duration) {
        if self.stands {
            self.missed += match self.kind {
                Standstill::Stopped => time,
                Standstill::Suspended => Duration::ZERO,
            };
            return;
        }
        let missed = std::mem::take(&mut self.missed);
        self.runtime.block_on(self.local.run_until(async {
            if !missed.is_zero() {
                advance(missed).await;
            }
            sleep(time).await;
        }));
        assert!(!self.main.is_finished(), "the cloud came to an end");
    }

    /// From the next step on it stands still.
    pub(crate) fn stand_still(&mut self) {
        self.stands = true;
    }

    /// From the next step on it goes on.
    pub(crate) fn go_on(&mut self) {
        self.stands = false;
    }
}

/// Whoever stood still finds that more time went by than it slept: so this process saw it itself.
async fn look_at_the_clock(shared: Shared) -> Infallible {
    let mut last = UnixMicros::now();
    loop {
        sleep(BEAT).await;
        let now = UnixMicros::now();
        if now.since(last) > LOST_AFTER {
            shared.trace("the cloud finds that it stood still");
            shared.tally.count("cloud stood still for long");
        }
        last = now;
    }
}
