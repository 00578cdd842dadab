//! Since when agents can come. While this cloud was down, or the store let nobody in, it was not the agents that were
//! away: nobody is given up for such a time.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// See the module. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub(super) struct Reachable {
    since: Arc<Mutex<Instant>>,
    return_within: Duration,
}

impl Reachable {
    /// Of a cloud that begins to listen now. Agents that live have dialed it after `return_within`.
    pub(super) fn new(return_within: Duration) -> Self {
        Self {
            since: Arc::new(Mutex::new(Instant::now())),
            return_within,
        }
    }

    /// The store has not let an agent in, or not taken a sign of life, or not answered: from now on agents have their
    /// whole time again.
    pub(super) fn begin_anew(&self) {
        *self.since.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Says whether every agent that lives has had the time to come.
    pub(super) fn all_could_come(&self) -> bool {
        self.since.lock().unwrap_or_else(PoisonError::into_inner).elapsed() >= self.return_within
    }

    /// Lets all the time that agents need have passed.
    #[cfg(test)]
    pub(super) fn backdate(&self) {
        let mut since = self.since.lock().unwrap();
        *since = since.checked_sub(self.return_within).unwrap();
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn agents_have_their_whole_time_after_the_start_and_after_the_last_failure_of_the_store() {
        let second = Duration::from_secs(1);
        let reachable = Reachable::new(300 * second);
        sleep(299 * second).await;
        assert!(!reachable.all_could_come());
        sleep(second).await;
        assert!(reachable.all_could_come());
        reachable.clone().begin_anew();
        sleep(200 * second).await;
        assert!(!reachable.all_could_come());
        reachable.begin_anew();
        sleep(299 * second).await;
        assert!(!reachable.all_could_come());
        sleep(second).await;
        assert!(reachable.all_could_come());
    }
}
