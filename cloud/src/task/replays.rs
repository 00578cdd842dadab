//! Requests that were answered a short while ago, so that a repetition gets the first answer even when its targets
//! have gone meanwhile. The store knows all of them and has the last word; this is its memory of the newest.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, PoisonError},
};

use opslink::id::TaskId;

use crate::store::record::Task;

/// Requests that are remembered.
const KEPT: usize = 4_096;

type Key = (String, String);

/// The newest requests by actor and request id.
#[derive(Debug, Default)]
pub(super) struct Replays(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    answers: HashMap<Key, (Vec<u8>, TaskId)>,
    /// Oldest first.
    order: VecDeque<Key>,
}

impl Replays {
    pub(super) fn get(&self, actor: &str, request_id: &str) -> Option<(Vec<u8>, TaskId)> {
        if request_id.is_empty() {
            return None;
        }
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.answers.get(&(actor.to_owned(), request_id.to_owned())).cloned()
    }

    pub(super) fn keep(&self, task: &Task) {
        let Some(request_id) = &task.request_id else { return };
        let key = (task.created_by.clone(), request_id.clone());
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.answers.insert(key.clone(), (task.request_hash.clone(), task.id));
        kept.order.push_back(key);
        if kept.order.len() > KEPT
            && let Some(oldest) = kept.order.pop_front()
        {
            kept.answers.remove(&oldest);
        }
    }
}
