//! A login while the password is changed.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{
    pki::Authority,
    store::memory::{Faults, MemoryStore, Point},
};

const PASSWORD: &str = "correct horse battery staple";

/// Changes a password before a write: after so many others, once.
#[derive(Default)]
struct Meanwhile(Mutex<Option<(u32, Store, UserId)>>);

#[async_trait]
impl Faults for Meanwhile {
    async fn at(&self, point: Point) -> store::Result<()> {
        let due = {
            let mut change = self.0.lock().unwrap();
            let is_due = change.as_mut().is_some_and(|(writes, ..)| {
                let is_due = point == Point::BeforeWrite && *writes == 0;
                *writes = writes.saturating_sub(u32::from(point == Point::BeforeWrite));
                is_due
            });
            if is_due { change.take() } else { None }
        };
        if let Some((_, store, user)) = due {
            let audit = Audit::system("auth.change_password", "user/admin".to_owned(), String::new());
            store.user_set_password(user, "another", None, audit).await?;
        }
        Ok(())
    }
}

async fn accounts(store: &Store) -> Accounts {
    let authority = Arc::new(Authority::load(store).await.unwrap());
    let trail = Trail::start(store.clone(), CancellationToken::new());
    let gate = Gate::new(store.clone(), authority, trail.clone(), Arc::new(|_| true));
    Accounts::new(store.clone(), gate, trail, None)
}

#[tokio::test]
async fn a_login_with_a_password_that_is_changed_while_it_is_looked_at_begins_no_session() {
    let meanwhile = Arc::new(Meanwhile::default());
    let store = Store::from(MemoryStore::with_faults(meanwhile.clone()));
    let accounts = accounts(&store).await;
    accounts.first_admin(Some(PASSWORD)).await.unwrap();
    let admin = store.user_by_name(FIRST_ADMIN).await.unwrap().unwrap();
    let login = async || accounts.login(FIRST_ADMIN, PASSWORD.to_owned(), "127.0.0.1:1").await;
    login().await.unwrap();

    // First the try is counted, and then the password is looked at.
    *meanwhile.0.lock().unwrap() = Some((1, store.clone(), admin.id));
    assert_eq!(login().await.unwrap_err().reason, Reason::WrongCredentials);
    let now = store.user_get(admin.id).await.unwrap().unwrap();
    assert_eq!(now.password_hash, "another", "it was changed meanwhile");
    let rows = store.audit_list(None, 100).await.unwrap();
    assert_eq!(rows.iter().filter(|row| row.action == "auth.login").count(), 1);
}
