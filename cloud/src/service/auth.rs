//! `AuthService`: logging in and out, who am I, and changing the password.

use std::sync::Arc;

use opslink::{convert, pb, pb::auth_service_server::AuthService, problem::Problem, reason::Reason, time::UnixMicros};
use tonic::{Request, Response, Status, metadata::MetadataValue};

use super::role_to_pb;
use crate::{
    authz::Rpc,
    identity::{Accounts, Caller, Gate, LoggedIn, SESSION_COOKIES, Visitor},
    status::{language, to_status},
    store::record::User,
};

/// The service.
pub struct Service {
    /// Who may.
    pub gate: Gate,
    /// Who is who.
    pub accounts: Arc<Accounts>,
}

impl Service {
    async fn login(
        &self,
        visitor: &Visitor,
        request: pb::LoginRequest,
    ) -> Result<Response<pb::LoginResponse>, Problem> {
        // Also the login: else a foreign page could log a browser in as somebody else.
        if request.use_cookie && !visitor.is_console {
            return Err(Problem::new(Reason::OriginRefused).with("origin", "?"));
        }
        let LoggedIn {
            user,
            secret,
            expires_at,
        } = self
            .accounts
            .login(&request.username, request.password, &visitor.peer)
            .await?;
        visitor.make_known(&user.name);
        let mut response = Response::new(pb::LoginResponse {
            user: Some(user_to_pb(&user)),
            session_token: String::new(),
            expires_at: Some(convert::timestamp(expires_at)),
        });
        if request.use_cookie {
            let seconds = expires_at.since(UnixMicros::now()).as_secs();
            set_cookie(&mut response, &secret, visitor.tls, seconds)?;
        } else {
            response.get_mut().session_token = secret;
        }
        Ok(response)
    }
}

/// Sets the session cookie; an empty `secret` and 0 seconds take it away.
fn set_cookie<T>(response: &mut Response<T>, secret: &str, tls: bool, seconds: u64) -> Result<(), Problem> {
    let [secure_name, plain_name] = SESSION_COOKIES;
    let (name, secure) = if tls {
        (secure_name, "; Secure")
    } else {
        (plain_name, "")
    };
    let cookie = format!("{name}={secret}; Path=/; HttpOnly; SameSite=Strict; Max-Age={seconds}{secure}");
    let value =
        MetadataValue::try_from(cookie).map_err(|error| Problem::new(Reason::Internal).with("detail", error))?;
    response.metadata_mut().append("set-cookie", value);
    Ok(())
}

fn user_to_pb(user: &User) -> pb::CurrentUser {
    pb::CurrentUser {
        username: user.name.clone(),
        role: role_to_pb(user.role).into(),
        must_change_password: user.must_change_password,
        token_name: String::new(),
    }
}

fn caller_to_pb(caller: &Caller) -> pb::CurrentUser {
    match &caller.user {
        Some(user) => user_to_pb(user),
        None => pb::CurrentUser {
            username: caller.actor.clone(),
            role: role_to_pb(caller.role).into(),
            must_change_password: false,
            token_name: caller.token_name.clone().unwrap_or_default(),
        },
    }
}

#[tonic::async_trait]
impl AuthService for Service {
    async fn login(&self, request: Request<pb::LoginRequest>) -> Result<Response<pb::LoginResponse>, Status> {
        let visitor = self.gate.open(&request, Rpc::Login)?;
        let answer = self.login(&visitor, request.into_inner()).await;
        answer.map_err(|problem| to_status(&problem, visitor.language))
    }

    async fn logout(&self, request: Request<pb::LogoutRequest>) -> Result<Response<pb::LogoutResponse>, Status> {
        let caller = self.gate.permit(&request, Rpc::Logout).await?;
        let language = language(request.metadata());
        let mut response = Response::new(pb::LogoutResponse {});
        self.accounts
            .logout(&caller)
            .await
            .map_err(|problem| to_status(&problem, language))?;
        // Both names: the browser may have either.
        for tls in [true, false] {
            set_cookie(&mut response, "", tls, 0).map_err(|problem| to_status(&problem, language))?;
        }
        Ok(response)
    }

    async fn get_current_user(
        &self,
        request: Request<pb::GetCurrentUserRequest>,
    ) -> Result<Response<pb::GetCurrentUserResponse>, Status> {
        let caller = self.gate.permit(&request, Rpc::GetCurrentUser).await?;
        Ok(Response::new(pb::GetCurrentUserResponse {
            user: Some(caller_to_pb(&caller)),
        }))
    }

    async fn change_password(
        &self,
        request: Request<pb::ChangePasswordRequest>,
    ) -> Result<Response<pb::ChangePasswordResponse>, Status> {
        let caller = self.gate.permit(&request, Rpc::ChangePassword).await?;
        let language = language(request.metadata());
        let pb::ChangePasswordRequest {
            current_password,
            new_password,
        } = request.into_inner();
        self.accounts
            .change_password(&caller, current_password, new_password)
            .await
            .map_err(|problem| to_status(&problem, language))?;
        Ok(Response::new(pb::ChangePasswordResponse {}))
    }
}
