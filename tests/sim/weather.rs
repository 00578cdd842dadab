//! The store as a database is: it takes its time, refuses, does something and cannot say so, and the process that asked
//! dies while it waits. A seed decides at each point of each call. It may be away altogether, and one of its rows damaged.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use fastrand::Rng;
use opslink::{
    id::{AgentId, TaskId},
    reason::Reason,
    time::UnixMicros,
};
use opslink_cloud::store::{
    self,
    memory::{Faults, Point},
};

use crate::{net::CLOUD, plan::Mood, tally::Tally, victims::Victims};

/// See the module. Quiet until [`Weather::begin`] and after [`Weather::end`].
pub(crate) struct Weather {
    state: Mutex<State>,
    tally: Tally,
    victims: Victims,
}

struct State {
    mood: Mood,
    rng: Rng,
    bad: bool,
    /// Absent: it is here.
    away: Option<Away>,
    kills: u32,
    damaged: Option<(TaskId, AgentId)>,
}

/// What was seen of a time in which the store was away.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Away {
    /// The first and the last call that was refused for that reason.
    refused: Option<(UnixMicros, UnixMicros)>,
}

impl Away {
    fn refuse(&mut self, now: UnixMicros) {
        let first = self.refused.map_or(now, |(first, _)| first);
        self.refused = Some((first, now));
    }

    /// Says whether anybody noticed it.
    pub(crate) fn was_noticed(&self) -> bool {
        self.refused.is_some()
    }

    /// From the first refusal to the last.
    pub(crate) fn lasted(&self) -> Duration {
        self.refused.map_or(Duration::ZERO, |(first, last)| last.since(first))
    }
}

enum Turn {
    Nothing,
    Yield(u32),
    Wait(Duration),
    Away,
    Refuse,
    Lose,
    Die,
}

impl Weather {
    /// Makes the weather of a run.
    pub(crate) fn new(mood: Mood, seed: u64, tally: Tally, victims: Victims) -> Arc<Self> {
        let state = State {
            mood,
            rng: Rng::with_seed(seed ^ 0x5357_4f52_4d00),
            bad: false,
            away: None,
            kills: 0,
            damaged: None,
        };
        Arc::new(Self {
            state: Mutex::new(state),
            tally,
            victims,
        })
    }

    /// From here on it may be bad.
    pub(crate) fn begin(&self) {
        self.state.lock().unwrap().bad = true;
    }

    /// From here on it is good.
    pub(crate) fn end(&self) {
        let mut state = self.state.lock().unwrap();
        (state.bad, state.away) = (false, None);
    }

    /// The database goes away altogether.
    pub(crate) fn go_away(&self) {
        self.state.lock().unwrap().away = Some(Away::default());
    }

    /// It is back. Returns what was seen of the time in between.
    pub(crate) fn come_back(&self) -> Away {
        self.state.lock().unwrap().away.take().unwrap_or_default()
    }

    /// From here on the row of this execution cannot be read, whatever else the weather is; or all can.
    pub(crate) fn set_damaged(&self, row: Option<(TaskId, AgentId)>) {
        self.state.lock().unwrap().damaged = row;
    }

    fn turn(&self, point: Point) -> Turn {
        let mut guard = self.state.lock().unwrap();
        let state = &mut *guard;
        if !state.bad {
            return Turn::Nothing;
        }
        if let Some(away) = state.away.as_mut().filter(|_| point != Point::AfterCommit) {
            away.refuse(UnixMicros::now());
            return Turn::Away;
        }
        let Mood {
            yields,
            slow,
            slow_max_ms,
            refuses,
            loses,
            kills,
            kills_max,
        } = state.mood;
        let mut hits = |of_thousand: u32| of_thousand > 0 && state.rng.u32(0..1_000) < of_thousand;
        if kills > 0 && hits(kills) && state.kills < kills_max {
            state.kills += 1;
            return Turn::Die;
        }
        match point {
            Point::Read | Point::BeforeWrite if hits(refuses) => return Turn::Refuse,
            Point::AfterCommit if hits(loses) => return Turn::Lose,
            Point::Read | Point::BeforeWrite | Point::AfterCommit => {}
        }
        if hits(slow) {
            return Turn::Wait(Duration::from_millis(state.rng.u64(1..=slow_max_ms)));
        }
        if hits(yields) {
            return Turn::Yield(state.rng.u32(1..4));
        }
        Turn::Nothing
    }
}

#[async_trait]
impl Faults for Weather {
    async fn at(&self, point: Point) -> store::Result<()> {
        match self.turn(point) {
            Turn::Nothing => {}
            Turn::Yield(times) => {
                for _ in 0..times {
                    tokio::task::yield_now().await;
                }
            }
            Turn::Wait(time) => {
                self.tally.count("store was slow");
                tokio::time::sleep(time).await;
            }
            Turn::Away => return Err(unavailable("the simulated database is away", false)),
            Turn::Refuse => {
                self.tally.count("store refused");
                return Err(unavailable("the simulated database refuses", false));
            }
            Turn::Lose => {
                self.tally.count("store lost an answer");
                return Err(unavailable(
                    "the simulated database did not say what became of it",
                    true,
                ));
            }
            Turn::Die => {
                self.victims.kill(CLOUD, "cloud died at the store");
                // Until the end of this step of the clock others go on, as they might have done before.
                std::future::pending::<()>().await;
            }
        }
        Ok(())
    }

    fn damaged(&self) -> Option<(TaskId, AgentId)> {
        self.state.lock().unwrap().damaged
    }

    fn refused_damaged(&self) {
        self.tally.count("row was not readable");
    }
}

fn unavailable(message: &str, maybe_done: bool) -> store::Error {
    store::Error::Unavailable {
        message: message.to_owned(),
        reason: Reason::DatabaseUnavailable.code(),
        maybe_done,
    }
}
