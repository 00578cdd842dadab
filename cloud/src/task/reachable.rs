//! Since when agents can come. While this cloud was down, or stood still (a machine that was suspended, a process that was
//! stopped), or the store let nobody in, it was not the agents that were away: nobody is given up for such a time.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use opslink::{id::AgentId, time::UnixMicros};
use tokio::time::Instant;

/// Failures in a row of one agent's greetings that are the store's, although it takes what others say in between. Further
/// ones are about what the store has of that agent, for which nobody else is kept.
const OF_ONE_AGENT: u32 = 3;
/// This cloud looks at the clock every ten seconds, see `presence.rs`: when more has passed since, it stood still. So long
/// an agent's link outlives the silence of its cloud.
const STOOD_STILL: Duration = Duration::from_secs(40);

/// See the module. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub(super) struct Reachable {
    since: Arc<Mutex<Instant>>,
    return_within: Duration,
    /// When this cloud looked at the clock last.
    looked_at: Arc<Mutex<UnixMicros>>,
    doors: Arc<Mutex<Doors>>,
}

/// Whom the store lets in.
#[derive(Debug, Default)]
struct Doors {
    /// Greetings and signs of life that it took so far.
    taken: u64,
    /// Agents that it has not let in since they were greeted last.
    shut_out: HashMap<AgentId, ShutOut>,
}

#[derive(Debug)]
struct ShutOut {
    /// How often, only counting those times before which the store took what others say: while it takes nothing from anybody,
    /// such as on a full disk, it is not about this agent.
    times: u32,
    /// What was taken when it was last.
    taken: u64,
}

impl Reachable {
    /// Of a cloud that begins to listen now. Agents that live have dialed it after `return_within`.
    pub(super) fn new(return_within: Duration) -> Self {
        Self {
            since: Arc::new(Mutex::new(Instant::now())),
            return_within,
            looked_at: Arc::new(Mutex::new(UnixMicros::now())),
            doors: Arc::default(),
        }
    }

    /// Looks at the clock: nobody could come while this cloud stood still. By the clock on the wall, since the other one may
    /// have stood still too.
    pub(super) fn look(&self) {
        let now = UnixMicros::now();
        let mut looked_at = self.looked_at.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = now.since(std::mem::replace(&mut *looked_at, now));
        drop(looked_at);
        if passed > STOOD_STILL {
            tracing::warn!(
                seconds = passed.as_secs(),
                "this cloud stood still; agents have their whole time to come again"
            );
            self.begin_anew();
        }
    }

    fn doors(&self) -> MutexGuard<'_, Doors> {
        self.doors.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The store has not let this agent in.
    pub(super) fn not_let_in(&self, agent: AgentId) {
        let mut doors = self.doors();
        let taken = doors.taken;
        let shut_out = doors.shut_out.entry(agent).or_insert(ShutOut { times: 1, taken });
        if taken > shut_out.taken {
            shut_out.times = shut_out.times.saturating_add(1);
            shut_out.taken = taken;
        }
        let is_of_the_store = shut_out.times <= OF_ONE_AGENT;
        drop(doors);
        if is_of_the_store {
            self.begin_anew();
        }
    }

    /// This agent was greeted, or is none of ours any more.
    pub(super) fn let_in(&self, agent: AgentId) {
        let mut doors = self.doors();
        doors.shut_out.remove(&agent);
        doors.taken += 1;
    }

    /// The store has taken signs of life of those who are here.
    pub(super) fn signs_of_life_taken(&self) {
        self.doors().taken += 1;
    }

    /// The store has not taken a sign of life, or not answered: from now on agents have their whole time again.
    pub(super) fn begin_anew(&self) {
        *self.since.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Says whether every agent that lives has had the time to come.
    pub(super) fn all_could_come(&self) -> bool {
        self.look();
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

    #[tokio::test(start_paused = true)]
    async fn agents_have_their_whole_time_after_this_cloud_stood_still() {
        let second = Duration::from_secs(1);
        let began = UnixMicros::now();
        UnixMicros::fix_clock(Some(began));
        let reachable = Reachable::new(300 * second);
        // What works looks at the clock more often than that.
        for seconds in (0..300).step_by(10) {
            sleep(10 * second).await;
            UnixMicros::fix_clock(Some(began.plus((seconds + 10) * second)));
            reachable.look();
        }
        assert!(reachable.all_could_come());
        // Now it stands still, and so does the clock that is not on the wall.
        UnixMicros::fix_clock(Some(began.plus(1_000 * second)));
        assert!(!reachable.all_could_come());
        UnixMicros::fix_clock(None);
    }

    #[tokio::test(start_paused = true)]
    async fn an_agent_that_is_never_let_in_keeps_nobody_else_in_doubt() {
        let second = Duration::from_secs(1);
        let reachable = Reachable::new(300 * second);
        let (agent, other) = (AgentId::new(), AgentId::new());
        for round in 0..OF_ONE_AGENT {
            sleep(300 * second).await;
            reachable.not_let_in(agent);
            assert!(!reachable.all_could_come());
            match round % 2 {
                0 => reachable.signs_of_life_taken(),
                _ => reachable.let_in(other),
            }
        }
        sleep(300 * second).await;
        reachable.not_let_in(agent);
        assert!(reachable.all_could_come());
        // It was greeted meanwhile: now it is the store again.
        reachable.let_in(agent);
        reachable.not_let_in(agent);
        assert!(!reachable.all_could_come());
    }

    /// A full disk: reads and pings are answered, and nobody is let in.
    #[tokio::test(start_paused = true)]
    async fn a_store_that_lets_nobody_in_is_what_keeps_agents_away_however_often_each_of_them_comes() {
        let second = Duration::from_secs(1);
        let reachable = Reachable::new(300 * second);
        let agents = [AgentId::new(), AgentId::new()];
        for _ in 0..10 * OF_ONE_AGENT {
            sleep(300 * second).await;
            for agent in agents {
                reachable.not_let_in(agent);
                assert!(!reachable.all_could_come());
            }
        }
        // It lets them in again: whoever comes a moment later has not been away.
        reachable.let_in(agents[0]);
        assert!(!reachable.all_could_come());
    }
}
