//! Logging in and out, and API tokens.

use opslink::pb::{
    self, CurrentUser, Role, auth_service_client::AuthServiceClient, token_service_client::TokenServiceClient,
};

use super::{Answer, answer, channel, request};

/// Logs in; the session becomes a cookie.
pub(crate) async fn login(username: String, password: String) -> Answer<Option<CurrentUser>> {
    let message = pb::LoginRequest {
        username,
        password,
        use_cookie: true,
    };
    let response = answer(AuthServiceClient::new(channel()).login(request(message)).await)?;
    Ok(response.user)
}

/// Ends the session.
pub(crate) async fn logout() -> Answer<()> {
    answer(
        AuthServiceClient::new(channel())
            .logout(request(pb::LogoutRequest {}))
            .await,
    )
    .map(drop)
}

/// Who is calling.
pub(crate) async fn current_user() -> Answer<Option<CurrentUser>> {
    let message = request(pb::GetCurrentUserRequest {});
    Ok(answer(AuthServiceClient::new(channel()).get_current_user(message).await)?.user)
}

/// Changes the password.
pub(crate) async fn change_password(current_password: String, new_password: String) -> Answer<()> {
    let message = pb::ChangePasswordRequest {
        current_password,
        new_password,
    };
    answer(
        AuthServiceClient::new(channel())
            .change_password(request(message))
            .await,
    )
    .map(drop)
}

/// All API tokens, newest first.
pub(crate) async fn list_tokens() -> Answer<Vec<pb::Token>> {
    let message = pb::ListTokensRequest {
        page_size: 1_000,
        page_token: String::new(),
    };
    Ok(answer(TokenServiceClient::new(channel()).list_tokens(request(message)).await)?.tokens)
}

/// Makes an API token.
pub(crate) async fn create_token(name: String, role: Role, ttl_secs: u32) -> Answer<pb::CreateTokenResponse> {
    let message = pb::CreateTokenRequest {
        name,
        role: role.into(),
        ttl_secs,
    };
    answer(TokenServiceClient::new(channel()).create_token(request(message)).await)
}

/// Makes an API token unusable.
pub(crate) async fn revoke_token(id: String) -> Answer<()> {
    let message = request(pb::RevokeTokenRequest { id });
    answer(TokenServiceClient::new(channel()).revoke_token(message).await).map(drop)
}
