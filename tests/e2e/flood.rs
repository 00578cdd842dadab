//! Connections of strangers, as many as somebody likes to make: that say nothing, begin a handshake, or ask for nothing.

use std::{
    io::{Read as _, Write as _},
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    runtime::Runtime,
    time::{MissedTickBehavior, interval},
};

/// Silent connections of the flood. The machine allows 20,000 open files to a process.
const SILENT: usize = 5_000;
/// Handshakes that are begun and go no further, from each address, and the addresses: more than the 2,048 that may wait for a
/// slot.
const BEGUN: usize = 40;
const SOURCES: u8 = 100;
/// One of them is begun again no sooner: those that are refused at the door would be begun all the time, by a client that has
/// one of the two cores.
const AGAIN: Duration = Duration::from_secs(2);
/// Slots, and how many handshakes the cloud may begin in a second beside that: each slot counts for half a second.
const SLOTS: usize = 256;
const ANSWERED_PER_SEC: f64 = 600.0;

/// Connections that bring nothing.
pub(crate) struct Flood {
    runtime: Runtime,
    open: Vec<TcpStream>,
    began: Instant,
    answered: Arc<AtomicUsize>,
}

async fn silent(from: [u8; 4], to: SocketAddr) -> Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((from, 0).into())?;
    Ok(socket.connect(to).await?)
}

/// Of a client without a certificate.
pub(crate) fn config(roots: RootCertStore) -> Result<Arc<ClientConfig>> {
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let config = builder
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// The first words of a client, as they stand on the wire.
fn hello() -> Result<Vec<u8>> {
    let mut client = ClientConnection::new(config(RootCertStore::empty())?, "localhost".try_into()?)?;
    let mut hello = Vec::new();
    while client.wants_write() {
        client.write_tls(&mut hello)?;
    }
    Ok(hello)
}

async fn begun(from: [u8; 4], to: SocketAddr, hello: &[u8]) -> Result<TcpStream> {
    let mut stream = silent(from, to).await?;
    stream.write_all(hello).await?;
    Ok(stream)
}

/// Takes whatever the cloud says, and begins again when it has ended the connection. Counts those to which it said anything:
/// its handshake was begun.
async fn begin_again(
    mut stream: TcpStream,
    from: [u8; 4],
    to: SocketAddr,
    hello: Arc<[u8]>,
    answered: Arc<AtomicUsize>,
) -> Result<()> {
    let mut again = interval(AGAIN);
    again.set_missed_tick_behavior(MissedTickBehavior::Delay);
    again.tick().await;
    loop {
        let mut answer = Vec::new();
        // It may also be reset.
        let _ = stream.read_to_end(&mut answer).await;
        answered.fetch_add(usize::from(!answer.is_empty()), Ordering::Relaxed);
        again.tick().await;
        stream = begun(from, to, &hello).await?;
    }
}

/// A connection after its handshake.
pub(crate) struct Encrypted {
    stream: TcpStream,
    client: ClientConnection,
    /// What the cloud has said.
    pub(crate) said: Vec<u8>,
}

impl Encrypted {
    pub(crate) async fn open(from: [u8; 4], to: SocketAddr, config: &Arc<ClientConfig>) -> Result<Self> {
        let mut opened = Self {
            stream: silent(from, to).await?,
            client: ClientConnection::new(Arc::clone(config), "localhost".try_into()?)?,
            said: Vec::new(),
        };
        loop {
            opened.send().await?;
            if !opened.client.is_handshaking() {
                return Ok(opened);
            }
            ensure!(opened.take().await?, "ended in its handshake");
        }
    }

    async fn send(&mut self) -> Result<()> {
        let mut bytes = Vec::new();
        while self.client.wants_write() {
            self.client.write_tls(&mut bytes)?;
        }
        self.stream.write_all(&bytes).await?;
        Ok(())
    }

    pub(crate) async fn say(&mut self, text: &str) -> Result<()> {
        self.client.writer().write_all(text.as_bytes())?;
        self.send().await
    }

    /// Takes some of what comes; false at the end.
    pub(crate) async fn take(&mut self) -> Result<bool> {
        let mut bytes = Vec::with_capacity(4 << 10);
        if self.stream.read_buf(&mut bytes).await? == 0 {
            return Ok(false);
        }
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            self.client.read_tls(&mut rest)?;
            self.client.process_new_packets()?;
        }
        // What there is; it ends with an error when there may be more.
        let _ = self.client.reader().read_to_end(&mut self.said);
        Ok(true)
    }
}

/// Encrypts fifty connections a second and asks for nothing; counts them.
pub(crate) async fn ask_for_nothing(from: [u8; 4], to: SocketAddr, config: Arc<ClientConfig>, made: Arc<AtomicUsize>) {
    let mut each = interval(Duration::from_millis(20));
    let mut open = Vec::new();
    loop {
        each.tick().await;
        // One that is refused is no stranger.
        if let Ok(opened) = Encrypted::open(from, to, &config).await {
            open.push(opened.stream);
            made.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// One for a flood, so that nobody else waits for it.
pub(crate) fn runtime() -> Result<Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    Ok(builder.worker_threads(1).enable_all().build()?)
}

impl Flood {
    /// Handshakes from many addresses that are begun and go no further; what the cloud ends is begun again.
    pub(crate) fn of_hellos(to: SocketAddr) -> Result<Self> {
        let hello: Arc<[u8]> = hello()?.into();
        let (began, answered) = (Instant::now(), Arc::<AtomicUsize>::default());
        let runtime = runtime()?;
        runtime.block_on(async {
            for _ in 0..BEGUN {
                for last in 1..=SOURCES {
                    let from = [127, 0, 1, last];
                    let first = begun(from, to, &hello).await?;
                    // Ends with the runtime.
                    tokio::spawn(begin_again(first, from, to, Arc::clone(&hello), Arc::clone(&answered)));
                }
            }
            anyhow::Ok(())
        })?;
        Ok(Self {
            runtime,
            open: Vec::new(),
            began,
            answered,
        })
    }

    /// Greetings that never end: as long as they may be, or as long as TLS has them.
    pub(crate) fn of_half_greetings(to: SocketAddr) -> Result<Self> {
        let (began, runtime) = (Instant::now(), runtime()?);
        let mut greeting = vec![1, 0, 0xea, 0x60, 3, 3];
        greeting.resize(60_000, 0);
        let records = greeting.chunks(1_000).map(|part| [&[22, 3, 1, 3, 0xe8], part].concat());
        let bytes: Vec<u8> = records.flatten().collect();
        let open = runtime.block_on(async {
            let mut open = Vec::new();
            for number in 0..BEGUN {
                for last in 1..=SOURCES {
                    let mut stream = silent([127, 0, 1, last], to).await?;
                    let length = if number % 2 == 0 { bytes.len() } else { 4_000 };
                    // It may be cut on the way.
                    let _ = stream.write_all(bytes.get(..length).unwrap_or_default()).await;
                    open.push(stream);
                }
            }
            anyhow::Ok(open)
        })?;
        Ok(Self {
            runtime,
            open,
            began,
            answered: Arc::default(),
        })
    }

    /// Connections from this address on which nothing is said.
    pub(crate) fn of_silence(from: [u8; 4], to: SocketAddr) -> Result<Self> {
        let (began, runtime) = (Instant::now(), runtime()?);
        let open = runtime.block_on(async {
            let mut open = Vec::with_capacity(SILENT);
            for _ in 0..SILENT {
                open.push(silent(from, to).await?);
            }
            anyhow::Ok(open)
        })?;
        ensure!(open.len() == SILENT, "the flood is there");
        Ok(Self {
            runtime,
            open,
            began,
            answered: Arc::default(),
        })
    }

    /// Ends it. However many there are of it, the cloud has begun no more handshakes than its slots allow.
    pub(crate) fn stop(self) -> Result<()> {
        let (answered, elapsed) = (self.answered.load(Ordering::Relaxed), self.began.elapsed());
        drop(self.open);
        self.runtime.shutdown_background();
        let rest = u32::try_from(answered.saturating_sub(SLOTS))?;
        ensure!(
            f64::from(rest) <= ANSWERED_PER_SEC * elapsed.as_secs_f64(),
            "{answered} handshakes in {elapsed:?}"
        );
        Ok(())
    }
}
