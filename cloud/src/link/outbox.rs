//! What waits to be sent to one agent: bounded, control before tasks, acknowledgements merged.
//!
//! It is the response stream of the link, so nothing is taken out before HTTP/2 has room for it. Nothing leaves
//! before the Welcome. A queue that runs over closes the link: the agent comes back and everything that matters is
//! sent again from the store, which is simpler than any partial loss.

use std::{
    collections::{HashMap, VecDeque},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use futures::Stream;
use opslink::{id::AttemptId, pb, pb::attach_response::Frame, problem::Problem, reason::Reason};

/// Control frames that may wait (cancel, ping, drain). Ten times what a full agent can need.
const CONTROL_MAX: usize = 1_024;

/// Makes a task's frame at the moment it leaves, so that waiting tasks cost no envelope and no signature.
pub type Order = Box<dyn FnOnce() -> pb::TaskRequest + Send>;

/// Both ends of the queue of one link.
pub(super) struct Outbox {
    tasks_max: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    welcome: Option<pb::Welcome>,
    welcomed: bool,
    control: VecDeque<Frame>,
    /// Attempts in the order of their first unsent acknowledgement; the newest content wins.
    ack_order: VecDeque<AttemptId>,
    acks: HashMap<AttemptId, pb::Ack>,
    tasks: VecDeque<Order>,
    closed: Option<Option<Problem>>,
    waker: Option<Waker>,
}

impl Outbox {
    pub(super) fn new(tasks_max: usize) -> Arc<Self> {
        Arc::new(Self {
            tasks_max,
            state: Mutex::default(),
        })
    }

    /// Lets the stream begin.
    pub(super) fn welcome(&self, welcome: pb::Welcome) {
        self.change(|state| state.welcome = Some(welcome));
    }

    pub(super) fn control(&self, frame: Frame) {
        self.change(|state| {
            if state.control.len() < CONTROL_MAX {
                state.control.push_back(frame);
            } else {
                state.close(Some(overrun("control frames")));
            }
        });
    }

    pub(super) fn ack(&self, attempt: AttemptId, next_seq: u64, archived: bool) {
        self.change(|state| {
            let State { acks, ack_order, .. } = state;
            let ack = acks.entry(attempt).or_insert_with(|| {
                ack_order.push_back(attempt);
                pb::Ack {
                    attempt_id: attempt.to_string(),
                    next_seq,
                    archived,
                }
            });
            ack.next_seq = next_seq;
            ack.archived |= archived;
        });
    }

    pub(super) fn task(&self, order: Order) {
        self.change(|state| {
            if state.tasks.len() < self.tasks_max {
                state.tasks.push_back(order);
            } else {
                state.close(Some(overrun("tasks")));
            }
        });
    }

    /// Ends the stream once what was queued before has left; the first word counts.
    pub(super) fn close(&self, why: Option<Problem>) {
        self.change(|state| state.close(why));
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let waker = {
            let mut state = self.lock();
            if state.closed.is_some() {
                return;
            }
            change(&mut state);
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn close(&mut self, why: Option<Problem>) {
        self.closed = Some(why);
        // What would make the agent begin something is not sent to a link that is given up.
        self.tasks.clear();
    }

    fn next(&mut self) -> Option<Next> {
        if let Some(welcome) = self.welcome.take() {
            self.welcomed = true;
            return Some(Next::Frame(Frame::Welcome(welcome)));
        }
        if self.welcomed {
            if let Some(frame) = self.control.pop_front() {
                return Some(Next::Frame(frame));
            }
            if let Some(ack) = self
                .ack_order
                .pop_front()
                .and_then(|attempt| self.acks.remove(&attempt))
            {
                return Some(Next::Frame(Frame::Ack(ack)));
            }
            if let Some(order) = self.tasks.pop_front() {
                return Some(Next::Order(order));
            }
        }
        self.closed.as_mut().map(|why| Next::End(why.take()))
    }
}

enum Next {
    Frame(Frame),
    Order(Order),
    End(Option<Problem>),
}

fn overrun(what: &str) -> Problem {
    Problem::plain(
        Reason::Overloaded,
        format!("the agent does not take its {what} fast enough"),
    )
}

/// The frames to one agent. Dropping it (the agent is gone) runs `ended`.
pub(super) struct Frames<F: FnOnce()> {
    pub(super) outbox: Arc<Outbox>,
    pub(super) ended: Option<F>,
}

impl<F: FnOnce() + Unpin> Stream for Frames<F> {
    type Item = Result<pb::AttachResponse, Problem>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = {
            let mut state = self.outbox.lock();
            let next = state.next();
            if next.is_none() {
                state.waker = Some(cx.waker().clone());
            }
            next
        };
        // An order signs: that is done outside the lock.
        let frame = match next {
            None => return Poll::Pending,
            Some(Next::End(None)) => return Poll::Ready(None),
            Some(Next::End(Some(problem))) => return Poll::Ready(Some(Err(problem))),
            Some(Next::Frame(frame)) => frame,
            Some(Next::Order(order)) => Frame::Task(order()),
        };
        Poll::Ready(Some(Ok(pb::AttachResponse { frame: Some(frame) })))
    }
}

impl<F: FnOnce()> Drop for Frames<F> {
    fn drop(&mut self) {
        if let Some(ended) = self.ended.take() {
            ended();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt, StreamExt};

    use super::*;

    fn frames(outbox: &Arc<Outbox>) -> Frames<fn()> {
        Frames {
            outbox: outbox.clone(),
            ended: None,
        }
    }

    fn next(frames: &mut Frames<fn()>) -> Option<Frame> {
        frames
            .next()
            .now_or_never()
            .map(|item| item.unwrap().unwrap().frame.unwrap())
    }

    #[test]
    fn nothing_leaves_before_the_welcome_and_control_passes_tasks() {
        let outbox = Outbox::new(8);
        let mut frames = frames(&outbox);
        let attempt = AttemptId::new();
        outbox.task(Box::new(pb::TaskRequest::default));
        outbox.ack(attempt, 1, false);
        outbox.control(Frame::Ping(pb::Ping { nonce: 1 }));
        assert!(next(&mut frames).is_none());
        outbox.welcome(pb::Welcome::default());
        assert!(matches!(next(&mut frames), Some(Frame::Welcome(_))));
        assert!(matches!(next(&mut frames), Some(Frame::Ping(_))));
        assert!(matches!(next(&mut frames), Some(Frame::Ack(_))));
        assert!(matches!(next(&mut frames), Some(Frame::Task(_))));
        assert!(next(&mut frames).is_none());
    }

    #[test]
    fn acknowledgements_of_an_attempt_merge_into_the_newest() {
        let outbox = Outbox::new(8);
        let mut frames = frames(&outbox);
        outbox.welcome(pb::Welcome::default());
        next(&mut frames);
        let attempt = AttemptId::new();
        outbox.ack(attempt, 5, true);
        outbox.ack(attempt, 9, false);
        let Some(Frame::Ack(ack)) = next(&mut frames) else {
            panic!("no acknowledgement")
        };
        assert_eq!((ack.next_seq, ack.archived), (9, true));
        assert!(next(&mut frames).is_none());
    }

    #[test]
    fn too_many_tasks_close_the_link_and_none_of_them_leaves() {
        let outbox = Outbox::new(2);
        let mut frames = frames(&outbox);
        outbox.welcome(pb::Welcome::default());
        next(&mut frames);
        for _ in 0..3 {
            outbox.task(Box::new(pb::TaskRequest::default));
        }
        let end = frames.next().now_or_never().unwrap().unwrap();
        assert_eq!(end.unwrap_err().reason, Reason::Overloaded);
        assert!(frames.next().now_or_never().unwrap().is_none());
    }
}
