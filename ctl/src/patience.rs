//! Tries that come to nothing for now: what is said of them, how long the pause is, and when it is enough. A connection
//! that broke and a cloud that answered no are two things, and each is told as what it is.

use std::{
    error::Error as _,
    time::{Duration, Instant},
};

use opslink::reason::Reason;
use tonic::{Code, Response, Status};
use tonic_types::StatusExt;

use crate::{failure::Failure, terminal, text::text};

/// How long a lost cloud is waited for, and one that says to come back. The task goes on without us anyway.
const PATIENCE: Duration = Duration::from_secs(300);
/// How long a place among one's own watches and logs is waited for: one is free when any of those tasks is over, and a task
/// may take an hour unless told otherwise (`--timeout`).
const PATIENCE_FOR_A_PLACE: Duration = Duration::from_secs(3_600);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Why a try came to nothing, although the next one may not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Setback {
    /// The connection is gone; another may do.
    Lost(Failure),
    /// The cloud answered that it does not do it now.
    Refused(Failure),
}

impl Setback {
    /// Reads what came instead of an answer.
    ///
    /// # Errors
    /// Trying again cannot help.
    pub(crate) fn of(status: &Status) -> Result<Self, Failure> {
        let failure = Failure::from_status(status);
        match (is_transient(status), status.get_details_error_info()) {
            (true, None) => Ok(Self::Lost(failure)),
            (true, Some(_)) => Ok(Self::Refused(failure)),
            (false, _) => Err(failure),
        }
    }

    const fn failure(&self) -> &Failure {
        match self {
            Self::Lost(failure) | Self::Refused(failure) => failure,
        }
    }

    fn is_for_a_place(&self) -> bool {
        self.failure().reason == Reason::TooManyStreams.code()
    }

    /// The cloud has no room for what was asked, and may have none the next time either.
    fn is_for_room(&self) -> bool {
        self.is_for_a_place() || self.failure().reason == Reason::Overloaded.code()
    }

    fn patience(&self) -> Duration {
        match self.is_for_a_place() {
            true => PATIENCE_FOR_A_PLACE,
            false => PATIENCE,
        }
    }

    /// What a person is told about it.
    fn words(&self) -> String {
        match self {
            Self::Lost(failure) => {
                let detail = match failure.why.as_str() {
                    "" => failure.what.as_str(),
                    why => why,
                };
                text("run-reconnecting", &[("detail", detail)])
            }
            Self::Refused(failure) if self.is_for_a_place() => text("run-waiting", &[("what", &failure.what)]),
            Self::Refused(failure) => text("run-refused", &[("what", &failure.what)]),
        }
    }
}

/// What is left of it, from one thing that worked to the next.
#[derive(Debug, Default)]
pub(crate) struct Patience(Option<Trouble>);

/// Nothing has worked since then. Each kind has its own patience.
#[derive(Debug)]
struct Trouble {
    /// The first refusal for want of a place.
    no_place_since: Option<Instant>,
    /// The first of what is wrong with the cloud, or the way to it, with no such refusal after it: a cloud that counts our
    /// streams is back.
    away_since: Option<Instant>,
    pause: Duration,
    /// Reasons that a person was told.
    told: Vec<String>,
}

/// Before the next try.
#[derive(Debug, PartialEq, Eq)]
struct Step {
    /// What is to be said.
    words: Option<String>,
    pause: Duration,
}

impl Patience {
    /// Something worked: whatever goes wrong next is new. If it is a refusal for want of room, only the time begins anew:
    /// a stream may come as far each time, and each try costs the cloud as much as the first.
    pub(crate) fn heard(&mut self, then: Option<&Setback>) {
        match (&mut self.0, then) {
            (Some(trouble), Some(setback)) if setback.is_for_room() => {
                trouble.no_place_since = None;
                trouble.away_since = None;
            }
            (trouble, _) => *trouble = None,
        }
    }

    /// Says what is the matter, once, and waits until the next try is due.
    ///
    /// # Errors
    /// It went on for too long.
    pub(crate) async fn pause(&mut self, setback: Setback) -> Result<(), Failure> {
        let Some(Step { words, pause }) = self.next(&setback, Instant::now()) else {
            let (Setback::Lost(failure) | Setback::Refused(failure)) = setback;
            return Err(failure);
        };
        if let Some(words) = words {
            terminal::warn(&words);
        }
        tokio::time::sleep(pause).await;
        Ok(())
    }

    /// The next step; `None` when it is enough.
    fn next(&mut self, setback: &Setback, now: Instant) -> Option<Step> {
        let trouble = self.0.get_or_insert_with(|| Trouble {
            no_place_since: None,
            away_since: None,
            pause: FIRST_PAUSE,
            told: Vec::new(),
        });
        let since = match setback.is_for_a_place() {
            true => {
                trouble.away_since = None;
                &mut trouble.no_place_since
            }
            false => &mut trouble.away_since,
        };
        if now.duration_since(*since.get_or_insert(now)) > setback.patience() {
            return None;
        }
        let reason = &setback.failure().reason;
        let words = (!trouble.told.contains(reason)).then(|| setback.words());
        if words.is_some() {
            trouble.told.push(reason.clone());
        }
        let pause = trouble.pause;
        trouble.pause = (pause * 2).min(LONGEST_PAUSE);
        Some(Step { words, pause })
    }
}

/// Opens a stream, or reads one whole, and waits for it for as long as the cloud says to come back. A connection that breaks
/// ends it.
///
/// # Errors
/// It cannot be opened, or the cloud refused it for too long.
pub(crate) async fn opened<T>(open: impl AsyncFn() -> Result<Response<T>, Status>) -> Result<T, Failure> {
    let mut patience = Patience::default();
    loop {
        let status = match open().await {
            Ok(answer) => return Ok(answer.into_inner()),
            Err(status) => status,
        };
        match Setback::of(&status)? {
            Setback::Lost(failure) => return Err(failure),
            refused @ Setback::Refused(_) => patience.pause(refused).await?,
        }
    }
}

/// Says whether another try may do better: the transport failed, or the cloud said so.
pub(crate) fn is_transient(status: &Status) -> bool {
    if let Some(info) = status.get_details_error_info() {
        return Reason::from_code(&info.reason).is_some_and(Reason::retryable);
    }
    status.code() == Code::Unavailable || status.source().is_some()
}

#[cfg(test)]
#[path = "patience_tests.rs"]
mod tests;
