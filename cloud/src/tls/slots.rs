//! Who is in a handshake, who makes room when everybody wants to be, and how many begin.
//!
//! There is no line that all stand in: the share of a network says who comes in, never how many came before.
//!
//! - **Share**: a network's slots. One counts while it is held; one whose handshake did not complete counts on, until
//!   [`OWN`] has gone by since it was taken, whoever ended it. So no network comes to have no share by losing handshakes or
//!   by ending them, and one address begins no more that end so in each [`OWN`] than it may hold.
//! - **Slots**: while some are free anybody takes one, the last quarter only networks that have no share. When none is
//!   left, the oldest of the network with the largest share makes room for a network that has less; a network that has its
//!   share waits for its own. When more networks than there are slots have one each, the oldest of all makes room: a
//!   handshake then has to be done within a tenth of a second, or come again.
//! - **Pace**: a handshake costs us more than whoever begins it and goes away, so no number of networks may begin as many
//!   as they like. The first of a network within [`OWN`] is paid from one pace, which has a quarter of the slots at once;
//!   all others from another, whose last half only networks without a share have. Whoever shows a certificate or
//!   credentials soon is given back what it paid, and leaves no trace: a thousand agents behind one address are no flood.
//!
//! An IPv6 /48 counts as four of its /64, see [`super::crowd`].

use std::{
    collections::VecDeque,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    crowd::{Crowd, First, Source},
    limits::{Most, Rate},
    pace::Pace,
};

/// Nobody makes room for another network sooner: a handshake takes two round trips.
const LEAST: Duration = Duration::from_millis(100);
/// Nobody makes room for its own network sooner.
const OWN: Duration = Duration::from_millis(500);
/// Between two looks of one that waits, unless its own network gives a slot back.
const LOOK: Duration = Duration::from_millis(50);

/// The slots of one listener.
#[derive(Debug)]
pub(super) struct Slots {
    most: Most,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    next: u64,
    /// The shares.
    held: Crowd<Holder>,
    /// What was taken within [`OWN`], but of those who have shown something.
    begun: Crowd<Begun>,
    /// All that was taken within [`OWN`], in the order in which it was.
    taken: VecDeque<(Instant, Source, u64)>,
    first: Pace,
    again: Pace,
}

#[derive(Debug)]
struct Holder {
    since: Instant,
    leave: CancellationToken,
    given_back: Arc<Notify>,
}

#[derive(Debug)]
struct Begun {
    paid: Paid,
    /// It did not complete, and counts on.
    is_counted: bool,
}

/// Which pace a handshake was paid from.
#[derive(Debug, Clone, Copy)]
enum Paid {
    First,
    Again,
}

/// A handshake's slot; dropping it gives it back, of a handshake that did not complete.
#[derive(Debug)]
pub(super) struct Held {
    slots: Arc<Slots>,
    source: Source,
    number: u64,
    leave: CancellationToken,
}

impl Held {
    /// Waits until this handshake has to make room for another one.
    pub(super) async fn sent_away(&self) {
        self.leave.cancelled().await;
    }

    /// The handshake is complete: it counts no more.
    pub(super) fn complete(self) -> Complete {
        self.slots.lock().complete(self.source, self.number);
        Complete {
            slots: Arc::clone(&self.slots),
            source: self.source,
            number: self.number,
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.slots.lock().give_up(self.source, self.number);
    }
}

/// A handshake that is complete.
#[derive(Debug)]
pub(super) struct Complete {
    slots: Arc<Slots>,
    source: Source,
    number: u64,
}

impl Complete {
    /// Something valid was shown: it is as if this handshake had not been.
    pub(super) fn into_known(self) {
        let mut state = self.slots.lock();
        match state.settle(self.source, self.number) {
            Some(Paid::First) => state.first.give_back(),
            Some(Paid::Again) => state.again.give_back(),
            // Too long ago to matter.
            None => {}
        }
    }
}

impl State {
    fn take(&mut self, source: Source, paid: Paid, given_back: Arc<Notify>, now: Instant) -> (u64, CancellationToken) {
        let number = self.next;
        self.next += 1;
        let leave = CancellationToken::new();
        let holder = Holder {
            since: now,
            leave: leave.clone(),
            given_back,
        };
        self.held.insert(source, number, holder);
        let begun = Begun {
            paid,
            is_counted: false,
        };
        self.begun.insert(source, number, begun);
        self.taken.push_back((now, source, number));
        match paid {
            Paid::First => self.first.take(now),
            Paid::Again => self.again.take(now),
        }
        (number, leave)
    }

    /// What was taken longer than [`OWN`] ago counts only while it is held.
    fn forget(&mut self, now: Instant) {
        while let Some(&(since, source, number)) = self.taken.front()
            && since + OWN <= now
        {
            self.taken.pop_front();
            self.settle(source, number);
        }
    }

    /// Leaves no trace of what was taken, aside from the slot if it is held.
    fn settle(&mut self, source: Source, number: u64) -> Option<Paid> {
        let begun = self.begun.remove(source, number)?;
        if begun.is_counted {
            self.held.forget_gone(source);
        }
        Some(begun.paid)
    }

    /// Gives a slot back; false when it made room already.
    fn give_back(&mut self, source: Source, number: u64) -> bool {
        let Some(holder) = self.held.remove(source, number) else {
            return false;
        };
        holder.leave.cancel();
        holder.given_back.notify_one();
        true
    }

    /// Gives back the slot of a handshake that did not complete, if it still has it.
    fn give_up(&mut self, source: Source, number: u64) {
        if self.give_back(source, number)
            && let Some(begun) = self.begun.get_mut(source, number)
        {
            begun.is_counted = true;
            self.held.count_gone(source);
        }
    }

    fn complete(&mut self, source: Source, number: u64) {
        self.give_back(source, number);
        // It may have been sent away in the very moment.
        if let Some(begun) = self.begun.get_mut(source, number)
            && mem::take(&mut begun.is_counted)
        {
            self.held.forget_gone(source);
        }
    }

    /// What a handshake of this source would be paid from now; nothing while it has to wait. Half of the second pace is
    /// for networks without a share.
    fn pays(&self, source: Source, share: usize, half: usize, now: Instant) -> Option<Paid> {
        let is_first = self.begun.weight(source) == 0;
        if is_first && self.first.has_one_beside(0, now) {
            return Some(Paid::First);
        }
        let kept = if share == 0 { 0 } else { half };
        self.again.has_one_beside(kept, now).then_some(Paid::Again)
    }

    /// Makes one slot free for this source if its share allows it.
    fn make_room(&mut self, source: Source, share: usize, now: Instant) -> bool {
        // To change places with one that holds only one more would go on for ever.
        let least = if share == 0 { 0 } else { share + 1 };
        let other = self.held.heaviest().next().filter(|_| self.held.most() > least);
        let own = (share > 0).then(|| self.held.heaviest_beside(source));
        let ripe = |network: Option<Source>, age: Duration| {
            let network = network?;
            let (number, holder) = self.held.of(network).next()?;
            (holder.since + age <= now).then_some((network, number))
        };
        let Some((network, number)) = ripe(other, LEAST).or_else(|| ripe(own, OWN)) else {
            return false;
        };
        self.give_up(network, number);
        true
    }
}

impl Slots {
    pub(super) fn new(most: Most, rate: Rate) -> Arc<Self> {
        Arc::new(Self {
            most,
            state: Mutex::new(State {
                next: 0,
                held: Crowd::new(First::Oldest),
                begun: Crowd::new(First::Oldest),
                taken: VecDeque::new(),
                first: Pace::new(rate.first_per_sec, (most.in_all / 4).max(1)),
                again: Pace::new(rate.again_per_sec, 2 * most.in_all),
            }),
        })
    }

    /// Waits for a slot. `given_back` is told when one of the source is free again; only one of a source waits here.
    pub(super) async fn take(self: &Arc<Self>, source: Source, given_back: &Arc<Notify>) -> Held {
        loop {
            if let Some(held) = self.try_take(source, given_back) {
                return held;
            }
            // Whichever it was, it is looked at again.
            let _ = timeout(LOOK, given_back.notified()).await;
        }
    }

    fn try_take(self: &Arc<Self>, source: Source, given_back: &Arc<Notify>) -> Option<Held> {
        let now = Instant::now();
        let Most { per_source, in_all } = self.most;
        let mut state = self.lock();
        state.forget(now);
        if state.held.count(source) >= per_source {
            return None;
        }
        let share = state.held.weight(source);
        let paid = state.pays(source, share, in_all, now)?;
        let kept = if share == 0 { 0 } else { in_all / 4 };
        if state.held.here() >= in_all - kept && !state.make_room(source, share, now) {
            return None;
        }
        let (number, leave) = state.take(source, paid, Arc::clone(given_back), now);
        drop(state);
        Some(Held {
            slots: Arc::clone(self),
            source,
            number,
            leave,
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
