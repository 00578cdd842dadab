//! What the store has of attempts that are not at work, as far as known here. What cannot be read is told and stops no other.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use opslink::id::AttemptId;

use crate::store::{self, Store, record::Execution};

/// What the store has of attempts.
#[derive(Debug, Default)]
pub(in crate::task) struct Stored {
    pub(in crate::task) executions: BTreeMap<AttemptId, Execution>,
    /// Those whose executions cannot be read: whose they are, and what became of them, is not known.
    pub(in crate::task) unreadable: BTreeSet<AttemptId>,
}

/// The executions of attempts that are not at work as far as known here, by one query: a flood of made-up attempts
/// costs no more. One that cannot be read is told and stops no other.
///
/// # Errors
/// Only those that may pass.
pub(in crate::task) async fn stored(store: &Store, attempts: Vec<AttemptId>) -> store::Result<Stored> {
    let mut stored = Stored::default();
    let mut parts = vec![attempts];
    while let Some(mut part) = parts.pop() {
        if part.is_empty() {
            continue;
        }
        match store.execution_by_attempts(&part).await {
            Ok(executions) => stored.executions.extend(executions),
            Err(error) if error.may_pass() => return Err(error),
            Err(_) if part.len() > 1 => {
                parts.push(part.split_off(part.len() / 2));
                parts.push(part);
            }
            Err(error) => {
                tracing::error!(attempts = ?part, %error, "what an agent says is left out: its attempt cannot be read");
                stored.unreadable.extend(part);
            }
        }
    }
    Ok(stored)
}

/// Where the stored output of attempts ends.
#[derive(Debug, Default)]
pub(in crate::task) struct NextSeqs {
    /// First event that is not stored; 0 for those without output.
    pub(in crate::task) known: HashMap<AttemptId, u64>,
    /// Those whose stored output cannot be read.
    pub(in crate::task) unreadable: BTreeSet<AttemptId>,
}

/// Where the stored output of these attempts ends. One that cannot be read is told and stops no other.
///
/// # Errors
/// Only those that may pass.
pub(in crate::task) async fn next_seqs(store: &Store, attempts: Vec<AttemptId>) -> store::Result<NextSeqs> {
    let mut found = NextSeqs::default();
    let mut parts = vec![attempts];
    while let Some(mut part) = parts.pop() {
        if part.is_empty() {
            continue;
        }
        match store.chunk_next_seq(&part).await {
            Ok(next_seqs) => found.known.extend(part.into_iter().zip(next_seqs)),
            Err(error) if error.may_pass() => return Err(error),
            Err(_) if part.len() > 1 => {
                parts.push(part.split_off(part.len() / 2));
                parts.push(part);
            }
            Err(error) => {
                tracing::error!(attempts = ?part, %error, "output is left alone: what is stored of it cannot be read");
                found.unreadable.extend(part);
            }
        }
    }
    Ok(found)
}
