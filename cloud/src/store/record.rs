//! What the store keeps, as domain types, of all resources.

pub use super::{
    agent::record::*, audit::record::*, execution::record::*, join_token::record::*, login_limit::record::*,
    output::record::*, presence::record::*, quarantine::record::*, session::record::*, task::record::*,
    token::record::*, user::record::*, work::record::*,
};
