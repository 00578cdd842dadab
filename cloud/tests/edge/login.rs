//! Logging in: limits, the first password, sessions that end.

use opslink::pb;
use opslink_cloud::store::memory::MemoryStore;
use pb::{agent_service_client::AgentServiceClient, auth_service_client::AuthServiceClient};
use tonic_types::StatusExt;

use crate::harness::{Edge, PASSWORD, reason, with_bearer};

fn login(username: &str, password: &str) -> pb::LoginRequest {
    pb::LoginRequest {
        username: username.to_owned(),
        password: password.to_owned(),
        use_cookie: false,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn guessing_ends_soon_even_for_the_right_password_and_others_are_not_harmed() {
    let edge = Edge::memory().await;
    let mut auth = AuthServiceClient::new(edge.plain().await);
    let mut wrong = 0;
    let refused = loop {
        let status = auth.login(login("admin", "wrong")).await.unwrap_err();
        match reason(&status).as_str() {
            "WRONG_CREDENTIALS" => wrong += 1,
            _ => break status,
        }
        assert!(wrong < 50, "no limit");
    };
    assert_eq!(reason(&refused), "TOO_MANY_ATTEMPTS");
    assert_eq!(wrong, 10);
    assert!(
        refused
            .get_error_details()
            .retry_info()
            .unwrap()
            .retry_delay
            .unwrap()
            .as_secs()
            > 0
    );
    // Else a guesser would learn from the limit whether the last guess was right.
    let right = auth.login(login("admin", PASSWORD)).await.unwrap_err();
    assert_eq!(reason(&right), "TOO_MANY_ATTEMPTS");
    // Another account is not locked by this one, and an unknown one is answered alike.
    let unknown = auth.login(login("nobody", "wrong")).await.unwrap_err();
    assert_eq!(reason(&unknown), "WRONG_CREDENTIALS");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_password_must_be_changed_before_anything_else() {
    let edge = Edge::over(opslink_cloud::store::Store::from(MemoryStore::new())).await;
    let first = edge
        .cloud
        .accounts
        .first_admin(None)
        .await
        .unwrap()
        .expect("a generated password");
    assert!(
        edge.cloud.accounts.first_admin(None).await.unwrap().is_none(),
        "only once"
    );

    let mut auth = AuthServiceClient::new(edge.plain().await);
    let mut agents = AgentServiceClient::new(edge.plain().await);
    let session = auth
        .login(login(first.name, &first.password))
        .await
        .unwrap()
        .into_inner();
    assert!(session.user.unwrap().must_change_password);
    let other = auth
        .login(login(first.name, &first.password))
        .await
        .unwrap()
        .into_inner()
        .session_token;
    let session = session.session_token;
    let list = || pb::ListAgentsRequest::default();
    let refused = agents.list_agents(with_bearer(list(), &session)).await.unwrap_err();
    assert_eq!(reason(&refused), "PASSWORD_CHANGE_REQUIRED");

    let change = |current: &str, new: &str| pb::ChangePasswordRequest {
        current_password: current.to_owned(),
        new_password: new.to_owned(),
    };
    for (current, new, expected) in [
        (first.password.as_str(), "short", "PASSWORD_TOO_WEAK"),
        (&first.password, &first.password, "PASSWORD_TOO_WEAK"),
        (&first.password, "my-admin-password", "PASSWORD_TOO_WEAK"),
        ("wrong", "a-much-longer-one", "WRONG_CREDENTIALS"),
    ] {
        let refused = auth
            .change_password(with_bearer(change(current, new), &session))
            .await
            .unwrap_err();
        assert_eq!(reason(&refused), expected, "{new}");
    }
    auth.change_password(with_bearer(change(&first.password, "a-much-longer-one"), &session))
        .await
        .unwrap();
    agents.list_agents(with_bearer(list(), &session)).await.unwrap();
    let ended = agents.list_agents(with_bearer(list(), &other)).await.unwrap_err();
    assert_eq!(reason(&ended), "UNAUTHENTICATED", "every other session has ended");
    assert_eq!(
        reason(&auth.login(login(first.name, &first.password)).await.unwrap_err()),
        "WRONG_CREDENTIALS"
    );
    auth.login(login(first.name, "a-much-longer-one")).await.unwrap();

    auth.logout(with_bearer(pb::LogoutRequest {}, &session)).await.unwrap();
    let ended = agents.list_agents(with_bearer(list(), &session)).await.unwrap_err();
    assert_eq!(reason(&ended), "UNAUTHENTICATED");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_tells_who_is_calling() {
    let edge = Edge::memory().await;
    let mut auth = AuthServiceClient::new(edge.plain().await);
    let session = auth
        .login(login("admin", PASSWORD))
        .await
        .unwrap()
        .into_inner()
        .session_token;
    assert!(session.starts_with("ols_"));
    let request = with_bearer(pb::GetCurrentUserRequest {}, &session);
    let user = auth.get_current_user(request).await.unwrap().into_inner().user.unwrap();
    assert_eq!(
        (user.username.as_str(), user.role(), user.token_name.as_str()),
        ("admin", pb::Role::Admin, "")
    );
}
