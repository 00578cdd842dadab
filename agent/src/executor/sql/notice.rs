//! PostgreSQL's notices. sqlx tells them to `tracing` only, so they are listened for there.

use std::{
    fmt::Write as _,
    sync::{Arc, Mutex, PoisonError},
};

use opslink::event::{Level, Note};
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{Layer, layer::Context, prelude::*};

/// Where sqlx puts them.
const TARGET: &str = "sqlx::postgres::notice";
/// More than so many waiting notices are dropped: a statement can raise one per row. The last note says so.
const CAPACITY: usize = 1000;

/// Collects notices while a statement runs.
#[derive(Clone, Default)]
pub(super) struct Notices(Arc<Mutex<Waiting>>);

#[derive(Default)]
struct Waiting {
    notes: Vec<Note>,
    dropped: u64,
}

impl Notices {
    /// Returns what a future has to run under to be listened to.
    pub(super) fn dispatch(&self) -> tracing::Dispatch {
        tracing_subscriber::registry().with(Listener(self.clone())).into()
    }

    /// Returns what was said since the last call.
    pub(super) fn take(&self) -> Vec<Note> {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut notes = std::mem::take(&mut waiting.notes);
        let dropped = std::mem::take(&mut waiting.dropped);
        if dropped > 0 {
            let message = format!("{dropped} more notices were left out");
            notes.push(Note {
                level: Level::Warning,
                reason: String::new(),
                message,
            });
        }
        notes
    }
}

struct Listener(Notices);

impl<S: Subscriber> Layer<S> for Listener {
    fn enabled(&self, metadata: &tracing::Metadata<'_>, _: Context<'_, S>) -> bool {
        metadata.target() == TARGET
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let level = match *event.metadata().level() {
            tracing::Level::ERROR | tracing::Level::WARN => Level::Warning,
            _ => Level::Info,
        };
        let mut text = Text(String::new());
        event.record(&mut text);
        let mut waiting = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.notes.len() < CAPACITY {
            waiting.notes.push(Note {
                level,
                reason: String::new(),
                message: text.0,
            });
        } else {
            waiting.dropped += 1;
        }
    }
}

struct Text(String);

impl Visit for Text {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.0.push_str(value);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "message" {
            let _ = write!(self.0, "{value:?}");
        }
    }
}
