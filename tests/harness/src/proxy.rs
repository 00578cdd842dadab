//! A TCP proxy on loopback that breaks connections on purpose, and counts how often it did.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::Result;

/// A running proxy. Its connections are cut when this is dropped.
pub struct Proxy {
    state: Arc<State>,
    address: SocketAddr,
}

struct State {
    target: String,
    /// Bytes that may still pass (both directions together) before the cut; negative means no limit.
    budget: AtomicI64,
    /// Nothing passes while set; nothing is lost.
    stalled: AtomicBool,
    /// New connections are refused and old ones cut while set.
    down: AtomicBool,
    /// Goes up to cut everything that is open.
    generation: AtomicU64,
    cuts: AtomicU64,
    stopped: AtomicBool,
}

impl Proxy {
    /// Starts a proxy to `target` (`host:port`) on a free port.
    ///
    /// # Errors
    /// No port could be opened.
    pub fn start(target: &str) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let state = Arc::new(State {
            target: target.to_owned(),
            budget: AtomicI64::new(-1),
            stalled: AtomicBool::new(false),
            down: AtomicBool::new(false),
            generation: AtomicU64::new(0),
            cuts: AtomicU64::new(0),
            stopped: AtomicBool::new(false),
        });
        let shared = Arc::clone(&state);
        // Ends with the first connection after `stopped`; Drop makes one.
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if shared.stopped.load(Ordering::SeqCst) {
                    return;
                }
                if !shared.down.load(Ordering::SeqCst)
                    && let Ok(server) = TcpStream::connect(&shared.target)
                {
                    join(&shared, client, server);
                }
            }
        });
        Ok(Self { state, address })
    }

    /// Returns `https://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// Cuts every connection after so many more bytes, once.
    pub fn cut_after(&self, bytes: u64) {
        self.state
            .budget
            .store(i64::try_from(bytes).unwrap_or(i64::MAX), Ordering::SeqCst);
    }

    /// Cuts every connection now.
    pub fn cut(&self) {
        self.state.generation.fetch_add(1, Ordering::SeqCst);
        self.state.cuts.fetch_add(1, Ordering::SeqCst);
    }

    /// Holds all bytes back, or lets them go on.
    pub fn stall(&self, on: bool) {
        self.state.stalled.store(on, Ordering::SeqCst);
    }

    /// Refuses new connections and cuts the open ones, or accepts again.
    pub fn set_down(&self, on: bool) {
        self.state.down.store(on, Ordering::SeqCst);
        if on {
            self.cut();
        }
    }

    /// Returns how many cuts have really happened.
    pub fn cuts(&self) -> u64 {
        self.state.cuts.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.state.stopped.store(true, Ordering::SeqCst);
        self.state.generation.fetch_add(1, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
    }
}

fn join(state: &Arc<State>, client: TcpStream, server: TcpStream) {
    let generation = state.generation.load(Ordering::SeqCst);
    let (Ok(client_read), Ok(server_read)) = (client.try_clone(), server.try_clone()) else {
        return;
    };
    for (from, to) in [(client_read, server), (server_read, client)] {
        let state = Arc::clone(state);
        // Ends when either side closes, or with the cut.
        thread::spawn(move || pump(&state, generation, from, to));
    }
}

fn pump(state: &State, generation: u64, mut from: TcpStream, mut to: TcpStream) {
    let _ = from.set_read_timeout(Some(Duration::from_millis(20)));
    let mut buffer = [0; 16 * 1024];
    loop {
        if state.generation.load(Ordering::SeqCst) != generation {
            break;
        }
        if state.stalled.load(Ordering::SeqCst) {
            thread::sleep(Duration::from_millis(5));
            continue;
        }
        let read = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error)
                if matches!(
                    error.kind(),
                    std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                ) =>
            {
                continue;
            }
            Err(_) => break,
        };
        let budget = state.budget.load(Ordering::SeqCst);
        let pass = if budget < 0 {
            read
        } else {
            read.min(usize::try_from(budget).unwrap_or(usize::MAX))
        };
        if to.write_all(buffer.get(..pass).unwrap_or_default()).is_err() {
            break;
        }
        if budget >= 0
            && state
                .budget
                .fetch_sub(i64::try_from(read).unwrap_or(0), Ordering::SeqCst)
                <= read as i64
        {
            state.budget.store(-1, Ordering::SeqCst);
            state.generation.fetch_add(1, Ordering::SeqCst);
            state.cuts.fetch_add(1, Ordering::SeqCst);
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
