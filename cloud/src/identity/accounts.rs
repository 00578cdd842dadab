//! People: logging in and out, changing a password, and the first admin.

use std::{path::PathBuf, time::Duration};

use opslink::{id::UserId, problem::Problem, reason::Reason, time::UnixMicros};
use tokio::time::Instant;

use super::{
    Caller, Gate, Trail,
    attempts::{Attempts, address_key},
    password::{self, MAX_BYTES, MIN_CHARS, Passwords},
    secret, tries,
    turns::Turn,
};
use crate::{
    status::{bad_field, store_problem},
    store::{
        self, Store,
        record::{Audit, Role, Session, User},
    },
};

/// How long a session lives.
const SESSION_LIFETIME: Duration = Duration::from_secs(7 * 24 * 3600);

/// Longest login name that is looked at.
const MAX_NAME_BYTES: usize = 256;

/// Name of the admin of the first start.
const FIRST_ADMIN: &str = "admin";

/// A new session.
#[derive(Clone)]
pub struct LoggedIn {
    /// Who.
    pub user: User,
    /// The session's secret; shown once.
    pub secret: String,
    /// When it ends.
    pub expires_at: UnixMicros,
}

impl std::fmt::Debug for LoggedIn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LoggedIn")
            .field("user", &self.user.name)
            .finish_non_exhaustive()
    }
}

/// The generated password of the first admin; shown once.
#[derive(Clone)]
pub struct FirstPassword {
    /// Login name.
    pub name: &'static str,
    /// Password.
    pub password: String,
}

impl std::fmt::Debug for FirstPassword {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FirstPassword")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// The accounts of this cloud.
pub struct Accounts {
    store: Store,
    gate: Gate,
    passwords: Passwords,
    trail: Trail,
    by_address: Attempts,
    initial_password_file: Option<PathBuf>,
}

impl Accounts {
    /// Makes the accounts over this store. `initial_password_file` is removed once the password is changed.
    pub fn new(store: Store, gate: Gate, trail: Trail, initial_password_file: Option<PathBuf>) -> Self {
        Self {
            trail,
            store,
            gate,
            passwords: Passwords::new(),
            // Before anything is asked of the store. An office behind one address has many people.
            by_address: Attempts::new(30, Duration::from_secs(2)),
            initial_password_file,
        }
    }

    /// Makes the first admin when there is no user yet: with this password, or with a generated one that must be
    /// changed and is returned.
    ///
    /// # Errors
    /// The store's.
    pub async fn first_admin(&self, given: Option<&str>) -> Result<Option<FirstPassword>, Problem> {
        if self.store.user_count().await.map_err(store_problem)? > 0 {
            return Ok(None);
        }
        let password = match given {
            Some(password) => password.to_owned(),
            None => secret::password().map_err(no_random)?,
        };
        let turn = self.passwords.turn("").await.map_err(password_problem)?;
        let password_hash = self.passwords.hash(password.clone(), turn).await;
        let user = User {
            id: UserId::new(),
            name: FIRST_ADMIN.to_owned(),
            password_hash: password_hash.map_err(password_problem)?,
            role: Role::Admin,
            must_change_password: given.is_none(),
        };
        let audit = Audit::system("user.create", format!("user/{FIRST_ADMIN}"), "first start".to_owned());
        match self.store.user_insert(user, audit).await {
            Ok(()) if given.is_none() => Ok(Some(FirstPassword {
                name: FIRST_ADMIN,
                password,
            })),
            Ok(()) => Ok(None),
            // Another replica was faster; it shows its password.
            Err(store::Error::Exists { .. }) => Ok(None),
            Err(error) => Err(store_problem(error)),
        }
    }

    /// Logs in.
    ///
    /// # Errors
    /// `WRONG_CREDENTIALS`, `TOO_MANY_ATTEMPTS`, `OVERLOADED`, the store's.
    pub async fn login(&self, name: &str, password: String, peer: &str) -> Result<LoggedIn, Problem> {
        let address = address_key(peer);
        let turn = self.take_attempt(name, &address).await?;
        // A name that nobody can have is not asked for, and takes as long as one that somebody has.
        let possible = name.len() <= MAX_NAME_BYTES && !name.chars().any(char::is_control);
        let found = match possible {
            true => self.store.user_by_name(name).await.map_err(store_problem)?,
            false => None,
        };
        let stored = found.as_ref().map(|user| user.password_hash.clone());
        let right = self
            .passwords
            .verify(password, stored, turn)
            .await
            .map_err(password_problem)?;
        let (Some(user), true) = (found, right) else {
            self.refused("auth.login_refused", name, None, peer);
            return Err(Reason::WrongCredentials.into());
        };
        self.forget_attempts(name, &address).await?;

        let secret = secret::with_prefix(secret::SESSION_PREFIX).map_err(no_random)?;
        let created_at = UnixMicros::now();
        let expires_at = created_at.plus(SESSION_LIFETIME);
        let session = Session {
            secret_hash: secret::hash(&secret).to_vec(),
            user_id: user.id,
            created_at,
            expires_at,
        };
        let audit = Audit {
            time: created_at,
            actor: user.name.clone(),
            actor_role: Some(user.role),
            action: "auth.login",
            resource: format!("user/{}", user.name),
            detail: String::new(),
            peer: peer.to_owned(),
        };
        let verified = user.password_hash.clone();
        let is_begun = self.store.session_insert(session, verified, audit).await;
        if !is_begun.map_err(store_problem)? {
            // It was changed while it was looked at, which takes a while: it is not the right one any more.
            self.refused("auth.login_refused", name, None, peer);
            return Err(Reason::WrongCredentials.into());
        }
        Ok(LoggedIn {
            user,
            secret,
            expires_at,
        })
    }

    /// Ends the caller's session. A token has none; revoking it is another call.
    ///
    /// # Errors
    /// The store's.
    pub async fn logout(&self, caller: &Caller) -> Result<(), Problem> {
        if let Some(hash) = &caller.session_hash {
            let audit = caller.audit("auth.logout", format!("user/{}", caller.actor), String::new());
            self.store.session_remove(hash, audit).await.map_err(store_problem)?;
        }
        self.gate.forget();
        Ok(())
    }

    /// Changes the caller's password and ends all of its other sessions.
    ///
    /// # Errors
    /// `WRONG_CREDENTIALS`, `PASSWORD_TOO_WEAK`, `TOO_MANY_ATTEMPTS`, the store's.
    pub async fn change_password(&self, caller: &Caller, current: String, new: String) -> Result<(), Problem> {
        let Some(user) = &caller.user else {
            return Err(bad_field(
                "authorization",
                "must be a session: an API token has no password",
            ));
        };
        let too_weak = |detail: &str| Problem::new(Reason::PasswordTooWeak).with("detail", detail);
        if new.chars().count() < MIN_CHARS {
            return Err(too_weak("it has fewer than 12 characters"));
        }
        if new.len() > MAX_BYTES {
            return Err(too_weak("it has more than 1,024 bytes"));
        }
        if new == current {
            return Err(too_weak("it is the old one"));
        }
        if new.to_lowercase().contains(&user.name.to_lowercase()) {
            return Err(too_weak("it contains the user name"));
        }
        let address = address_key(&caller.peer);
        let turn = self.take_attempt(&user.name, &address).await?;
        // Not from the caller: that may be some seconds old.
        let stored = self
            .store
            .user_get(user.id)
            .await
            .map_err(store_problem)?
            .map(|user| user.password_hash);
        let right = self.passwords.verify(current, stored, turn).await;
        if !right.map_err(password_problem)? {
            self.refused("auth.password_refused", &user.name, Some(caller.role), &caller.peer);
            return Err(Reason::WrongCredentials.into());
        }
        self.forget_attempts(&user.name, &address).await?;
        let turn = self.passwords.turn(&address).await.map_err(password_problem)?;
        let hash = self.passwords.hash(new, turn).await.map_err(password_problem)?;
        let audit = caller.audit("auth.change_password", format!("user/{}", user.name), String::new());
        self.store
            .user_set_password(user.id, &hash, caller.session_hash.as_deref(), audit)
            .await
            .map_err(store_problem)?;
        self.gate.forget();
        self.remove_initial_password(&user.name).await;
        Ok(())
    }

    /// Counts a try once it is its turn: who cannot be answered has not tried.
    async fn take_attempt(&self, name: &str, address: &str) -> Result<Turn, Problem> {
        self.by_address.take(address, Instant::now()).map_err(too_many)?;
        let taken = async {
            let turn = self.passwords.turn(address).await.map_err(password_problem)?;
            tries::take(&self.store, &tries::key(name, address), UnixMicros::now()).await?;
            Ok::<_, Problem>(turn)
        };
        taken.await.inspect_err(|problem| {
            // One that the row refuses is a try of this address all the same.
            if problem.reason != Reason::TooManyAttempts {
                self.by_address.give_back(address);
            }
        })
    }

    async fn forget_attempts(&self, name: &str, address: &str) -> Result<(), Problem> {
        self.by_address.give_back(address);
        let forgotten = self.store.login_limit_remove(tries::key(name, address)).await;
        forgotten.map_err(store_problem)
    }

    /// Notes a wrong password. Repetitions are counted, so that a flood of them is no flood of rows.
    fn refused(&self, action: &'static str, name: &str, role: Option<Role>, peer: &str) {
        self.trail.note(Audit {
            time: UnixMicros::now(),
            actor: shown(name),
            actor_role: role,
            action,
            resource: format!("user/{}", shown(name)),
            detail: String::new(),
            peer: peer.to_owned(),
        });
    }

    async fn remove_initial_password(&self, name: &str) {
        let Some(path) = &self.initial_password_file else {
            return;
        };
        if name != FIRST_ADMIN {
            return;
        }
        match tokio::fs::remove_file(path).await {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => tracing::warn!(%error, path = %path.display(), "the initial password's file stays"),
        }
    }
}

fn too_many(wait: Duration) -> Problem {
    Problem::new(Reason::TooManyAttempts).with("seconds", wait.as_secs().max(1))
}

fn no_random(error: secret::NoRandom) -> Problem {
    Problem::new(Reason::Internal).with("detail", error)
}

fn password_problem(error: password::Error) -> Problem {
    match error {
        password::Error::Busy => Reason::Overloaded.into(),
        password::Error::Hash(_) => {
            tracing::error!(%error, "password hashing failed");
            Problem::new(Reason::Internal).with("detail", "password hashing failed")
        }
    }
}

/// Returns a stranger's text as it may stand in the audit log.
fn shown(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(64).collect()
}

#[cfg(test)]
mod tests;
