//! The same in maps.

use opslink::id::UserId;

use crate::store::{
    Error, Result,
    memory::State,
    record::{Audit, User},
};

impl State {
    pub(super) fn user_by_name(&self, name: &str) -> Option<User> {
        self.users.values().find(|user| user.name == name).cloned()
    }

    pub(super) fn user_get(&self, id: UserId) -> Option<User> {
        self.users.get(&id).cloned()
    }

    pub(super) fn user_count(&self) -> u64 {
        self.users.len() as u64
    }

    pub(super) fn user_insert(&mut self, user: &User, audit: &Audit) -> Result<()> {
        if self.users.contains_key(&user.id) || self.user_by_name(&user.name).is_some() {
            return Err(Error::exists("user", &user.name));
        }
        self.users.insert(user.id, user.clone());
        self.audit_insert(audit)
    }

    pub(super) fn user_set_password(
        &mut self,
        id: &UserId,
        password_hash: &str,
        keep: &Option<Vec<u8>>,
        audit: &Audit,
    ) -> Result<()> {
        let user = self.users.get_mut(id).ok_or_else(|| Error::not_found("user", id))?;
        user.password_hash = password_hash.to_owned();
        user.must_change_password = false;
        self.sessions
            .retain(|secret_hash, session| session.user_id != *id || Some(secret_hash) == keep.as_ref());
        self.audit_insert(audit)
    }
}
