//! What the machine's owner may say of SQL tasks: connections.

use opslink::kind::SqlSpec;

use super::{Denied, FILE_NAME, Permit, Policy, Ruled};
use crate::programs;

impl Ruled for SqlSpec {
    const IS_ALLOWED_AT_FIRST: bool = true;

    const TEMPLATE: &'static str = "\
# Connections (connections.toml) that SQL tasks may use, as globs; each task then has to name one. Leave out to allow all.
# connections = [\"reports\", \"shop-*\"]
";

    /// The default connection may change without this file: with a list, tasks have to name theirs.
    fn permit(&self, policy: &Policy) -> Result<Permit, Denied> {
        let Some(globs) = &policy.connections else {
            return Ok(Permit::default());
        };
        let allows = |glob: &String, name: &str| programs::glob_matches(glob.as_bytes(), name.as_bytes());
        match self.connection.as_deref() {
            Some(name) if globs.iter().any(|glob| allows(glob, name)) => Ok(Permit::default()),
            Some(name) => Err(Denied::new(format!(
                "the policy of this agent does not allow the connection `{name}` ({FILE_NAME}: connections)"
            ))),
            None => Err(Denied::new(format!(
                "the policy of this agent limits connections: name one with --conn ({FILE_NAME}: connections)"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use opslink::kind::{Action, SqlOnError, SqlTransaction};

    use super::*;
    use crate::policy::tests::{policy, task};

    #[test]
    fn connections_are_held_to_their_list() {
        let sql = |connection: Option<&str>| {
            task(Action::Sql(SqlSpec {
                script: "SELECT 1".to_owned(),
                connection: connection.map(str::to_owned),
                transaction: SqlTransaction::PerStatement,
                on_error: SqlOnError::Stop,
                max_rows: None,
                statement_timeout: None,
                read_only: false,
                name: String::new(),
            }))
        };
        let all = policy("allow=['sql']\n");
        assert!(all.permit(&sql(None)).is_ok() && all.permit(&sql(Some("main"))).is_ok());
        let some = policy("allow=['sql']\nconnections=['shop-*']\n");
        assert!(some.permit(&sql(Some("shop-eu"))).is_ok());
        assert!(some.permit(&sql(Some("main"))).is_err());
        assert!(some.permit(&sql(None)).unwrap_err().to_string().contains("--conn"));
    }
}
