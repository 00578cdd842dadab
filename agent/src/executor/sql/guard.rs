//! One statement under guard: it ends by itself, or on request, or at its limit; and when the database does not end it,
//! that is known and told.

use std::time::{Duration, Instant};

use super::{
    error::Error,
    session::{Done, Sent, Session},
    table::Tables,
};
use crate::executor::Context;

/// Between two questions to the database to end a statement.
const ASK_AGAIN: Duration = Duration::from_millis(500);
/// How long the end of a session may take to be seen.
const SEEN_AFTER: Duration = Duration::from_secs(1);

/// Who ended a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EndedBy {
    /// Itself.
    Itself,
    /// Somebody's wish, or the task's deadline.
    Cancel,
    /// Its own limit.
    Timeout,
}

/// How a guarded statement ended.
pub(super) struct Guarded {
    /// What the database answered; a statement that came to its own good end in the meantime has done so.
    pub(super) result: Result<Done, Error>,
    pub(super) ended_by: EndedBy,
    /// The database did not say that it ended: it may still run.
    pub(super) is_left: bool,
}

impl Guarded {
    /// It came to this by itself.
    pub(super) const fn itself(result: Result<Done, Error>) -> Self {
        Self {
            result,
            ended_by: EndedBy::Itself,
            is_left: false,
        }
    }

    /// The connection is given up: to go on could do what must not be done.
    pub(super) fn refused(message: &str) -> Self {
        Self::itself(Err(Error::Protocol(message.to_owned())))
    }
}

/// Runs one statement until it ends, is canceled, or is too slow; then the database is asked to end it.
///
/// # Cancel
/// Bounded by the grace and about three seconds: less than the runner waits before it ends everything itself.
pub(super) async fn guarded(
    session: &mut dyn Session,
    tables: &mut Tables,
    sent: Sent<'_>,
    ctx: &Context,
    limit: Option<Duration>,
) -> Guarded {
    let killer = session.killer();
    let mut running = std::pin::pin!(session.execute(sent, tables));
    let too_slow = async {
        match limit {
            Some(limit) => tokio::time::sleep(limit).await,
            None => std::future::pending().await,
        }
    };
    let ended_by = tokio::select! {
        biased;
        result = &mut running => return Guarded::itself(result),
        () = ctx.cancel.cancelled() => EndedBy::Cancel,
        () = too_slow => EndedBy::Timeout,
    };
    let ended = |result| Guarded {
        result,
        ended_by,
        is_left: false,
    };
    // Asking again covers a statement that began in the moment of the first question.
    let deadline = Instant::now() + ctx.grace;
    loop {
        let asking = async {
            let asked = killer.ask().await;
            tokio::time::sleep(ASK_AGAIN).await;
            asked
        };
        tokio::select! {
            biased;
            result = &mut running => return ended(result),
            _asked = asking => {}
        }
        if Instant::now() >= deadline {
            break;
        }
    }
    let ending = killer.end_session();
    let session_ended = tokio::select! {
        biased;
        result = &mut running => return ended(result),
        session_ended = ending => session_ended,
    };
    match tokio::time::timeout(SEEN_AFTER, &mut running).await {
        Ok(result) => ended(result),
        Err(_) => Guarded {
            result: Err(Error::Protocol(match &session_ended {
                Ok(()) => "the database ended the session".to_owned(),
                Err(error) => format!("the database did not end the statement, nor the session ({error})"),
            })),
            ended_by,
            is_left: session_ended.is_err(),
        },
    }
}
