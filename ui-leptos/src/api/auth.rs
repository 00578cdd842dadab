//! Logging in and out, and API tokens.

use opslink::pb::{self, CurrentUser, Role};

use super::{Answer, call::call};
use crate::logic::methods;

/// Logs in; the session becomes a cookie.
pub(crate) async fn login(username: String, password: String) -> Answer<Option<CurrentUser>> {
    let message = pb::LoginRequest {
        username,
        password,
        use_cookie: true,
    };
    Ok(call(methods::LOGIN, message).await?.user)
}

/// Ends the session.
pub(crate) async fn logout() -> Answer<()> {
    call(methods::LOGOUT, pb::LogoutRequest {}).await.map(drop)
}

/// Who is calling.
pub(crate) async fn current_user() -> Answer<Option<CurrentUser>> {
    let message = pb::GetCurrentUserRequest {};
    Ok(call(methods::GET_CURRENT_USER, message).await?.user)
}

/// Changes the password.
pub(crate) async fn change_password(current_password: String, new_password: String) -> Answer<()> {
    let message = pb::ChangePasswordRequest {
        current_password,
        new_password,
    };
    call(methods::CHANGE_PASSWORD, message).await.map(drop)
}

/// All API tokens, newest first.
pub(crate) async fn list_tokens() -> Answer<Vec<pb::Token>> {
    let message = pb::ListTokensRequest {
        page_size: 1_000,
        page_token: String::new(),
    };
    Ok(call(methods::LIST_TOKENS, message).await?.tokens)
}

/// Makes an API token.
pub(crate) async fn create_token(name: String, role: Role, ttl_secs: u32) -> Answer<pb::CreateTokenResponse> {
    let message = pb::CreateTokenRequest {
        name,
        role: role.into(),
        ttl_secs,
    };
    call(methods::CREATE_TOKEN, message).await
}

/// Makes an API token unusable.
pub(crate) async fn revoke_token(id: String) -> Answer<()> {
    call(methods::REVOKE_TOKEN, pb::RevokeTokenRequest { id })
        .await
        .map(drop)
}
