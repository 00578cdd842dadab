//! Ctrl-C while a password is typed: the terminal gets its echo back before the program ends.

use std::{
    fs::File,
    io::{self, Write},
    sync::{Once, mpsc},
};

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use tokio::signal::unix::{SignalKind, signal};

use crate::exit::Exit;

static WATCHED: Once = Once::new();

/// From now on Ctrl-C ends the program after it has put the terminal back as it is now. Call it before the echo is
/// turned off.
pub(crate) fn restore_terminal() {
    WATCHED.call_once(|| {
        let Ok(terminal) = File::open("/dev/tty") else { return };
        let Ok(before) = tcgetattr(&terminal) else { return };
        let (ready, is_ready) = mpsc::channel();
        // A thread of its own, for as long as the process lives: the prompt blocks the one that called.
        std::thread::spawn(move || wait(&terminal, &before, &ready));
        // An error is the end of that thread: Ctrl-C is then as it was.
        let _ = is_ready.recv();
    });
}

#[expect(
    clippy::disallowed_methods,
    reason = "the thread that would return from main waits for a line that nobody will type"
)]
fn wait(terminal: &File, before: &Termios, ready: &mpsc::Sender<()>) {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_io().build() else {
        return;
    };
    let interrupted = runtime.block_on(async {
        let mut interrupts = signal(SignalKind::interrupt()).ok()?;
        ready.send(()).ok()?;
        interrupts.recv().await
    });
    if interrupted.is_some() {
        let _ = tcsetattr(terminal, OptionalActions::Now, before);
        let _ = io::stderr().write_all(b"\n");
        std::process::exit(Exit::Interrupted.code().into());
    }
}
