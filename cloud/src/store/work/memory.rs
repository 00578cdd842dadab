//! The same in maps.

use std::time::Duration;

use opslink::time::UnixMicros;

use crate::store::{
    Result,
    memory::State,
    record::{Claim, NewWork},
};

/// What is kept of a piece of work.
#[derive(Debug, Clone)]
pub(in crate::store) struct WorkRow {
    due_at: UnixMicros,
    lease_until: Option<UnixMicros>,
    tries: u32,
    adds: u64,
    parked_reason: Option<String>,
}

impl WorkRow {
    fn claimable_at(&self) -> UnixMicros {
        self.lease_until.unwrap_or(self.due_at)
    }

    fn release(&mut self) {
        self.lease_until = None;
        self.tries = 0;
    }

    /// Due then, or earlier if it was added again meanwhile.
    fn put_off(&mut self, claim: &Claim, due_at: UnixMicros) {
        self.due_at = if self.adds == claim.adds {
            due_at
        } else {
            self.due_at.min(due_at)
        };
        self.lease_until = None;
    }
}

impl State {
    pub(super) fn work_add(&mut self, work: &[NewWork]) -> Result<()> {
        for NewWork { kind, key, due_at } in work {
            let place = (kind.clone(), key.clone());
            let row = match self.work.get(&place) {
                None => WorkRow {
                    due_at: *due_at,
                    lease_until: None,
                    tries: 0,
                    adds: 1,
                    parked_reason: None,
                },
                Some(before) if before.parked_reason.is_some() => WorkRow {
                    due_at: *due_at,
                    lease_until: None,
                    tries: 0,
                    adds: before.adds + 1,
                    parked_reason: None,
                },
                Some(before) => WorkRow {
                    due_at: before.due_at.min(*due_at),
                    adds: before.adds + 1,
                    ..before.clone()
                },
            };
            self.work.insert(place, row);
        }
        Ok(())
    }

    pub(super) fn work_next(&self, kinds: &[String]) -> Option<UnixMicros> {
        let wanted = self
            .work
            .iter()
            .filter(|((kind, _), row)| kinds.contains(kind) && row.parked_reason.is_none());
        wanted.map(|(_, row)| row.claimable_at()).min()
    }

    pub(super) fn work_claim(
        &mut self,
        kinds: &[String],
        now: &UnixMicros,
        lease: &Duration,
        limit: &u32,
    ) -> Result<Vec<Claim>> {
        let claimable = |row: &WorkRow| row.parked_reason.is_none() && row.claimable_at() <= *now;
        let due = self
            .work
            .iter()
            .filter(|((kind, _), row)| kinds.contains(kind) && claimable(row));
        let mut due: Vec<_> = due.map(|(place, row)| (row.claimable_at(), place.clone())).collect();
        due.sort();
        due.truncate(*limit as usize);
        let lease_until = now.plus(*lease);
        let mut claims = Vec::with_capacity(due.len());
        for (_, place) in due {
            let Some(row) = self.work.get_mut(&place) else { continue };
            let due_at = row.due_at;
            row.tries += 1;
            row.due_at = lease_until;
            row.lease_until = Some(lease_until);
            let (kind, key) = place;
            claims.push(Claim {
                kind,
                key,
                due_at,
                tries: row.tries,
                lease_until,
                adds: row.adds,
            });
        }
        claims.sort_by(|a, b| (a.due_at, &a.kind, &a.key).cmp(&(b.due_at, &b.kind, &b.key)));
        Ok(claims)
    }

    fn claimed(&mut self, claim: &Claim) -> Option<&mut WorkRow> {
        let place = (claim.kind.clone(), claim.key.clone());
        let row = self.work.get_mut(&place)?;
        (row.lease_until == Some(claim.lease_until) && row.tries == claim.tries).then_some(row)
    }

    pub(super) fn work_done(&mut self, claim: &Claim) -> Result<()> {
        match self.claimed(claim) {
            Some(row) if row.adds == claim.adds => {
                self.work.remove(&(claim.kind.clone(), claim.key.clone()));
            }
            Some(row) => row.release(),
            None => {}
        }
        Ok(())
    }

    pub(super) fn work_rest(&mut self, claim: &Claim, due_at: &UnixMicros) -> Result<()> {
        if let Some(row) = self.claimed(claim) {
            row.put_off(claim, *due_at);
            row.tries = 0;
        }
        Ok(())
    }

    pub(super) fn work_again(&mut self, claim: &Claim, due_at: &UnixMicros) -> Result<()> {
        if let Some(row) = self.claimed(claim) {
            row.put_off(claim, *due_at);
        }
        Ok(())
    }

    pub(super) fn work_keep(&mut self, claim: &Claim, lease_until: &UnixMicros) -> Result<()> {
        if let Some(row) = self.claimed(claim) {
            if row.due_at == claim.lease_until {
                row.due_at = *lease_until;
            }
            row.lease_until = Some(*lease_until);
        }
        Ok(())
    }

    pub(super) fn work_let_go(&mut self, kind: &str, now: &UnixMicros) -> Result<()> {
        let claimed = self
            .work
            .iter()
            .filter(|((of_kind, _), row)| of_kind == kind && row.lease_until.is_some());
        let claimed: Vec<_> = claimed.map(|(place, _)| place.clone()).collect();
        for place in claimed {
            if let Some(row) = self.work.get_mut(&place) {
                row.lease_until = None;
                row.due_at = *now;
            }
        }
        Ok(())
    }

    pub(super) fn work_park(&mut self, claim: &Claim, reason: &str) -> Result<()> {
        match self.claimed(claim) {
            Some(row) if row.adds == claim.adds => {
                row.lease_until = None;
                row.parked_reason = Some(reason.to_owned());
            }
            Some(row) => row.release(),
            None => {}
        }
        Ok(())
    }
}
