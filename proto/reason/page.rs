//! The page of all reasons, made from the catalogue and its sentences.

use super::Reason;
use crate::locale::{self, Language};

/// Returns the page `docs/errors.md`: every reason with its codes and its English sentences.
pub fn markdown() -> String {
    let sentence = |reason: &Reason, line: &str| {
        // Arguments show as their names.
        let args: Vec<_> = reason
            .args()
            .iter()
            .map(|name| (*name, locale::Arg::from(format!("*{name}*"))))
            .collect();
        locale::errors().text(Language::En, &format!("{}.{line}", reason.code()), &args)
    };
    let mut page = String::from(
        "# Errors\n\nEvery error of OpsLink has one of these stable codes and says three things: what happened, why, and \
         what to do.\nCodes never change their meaning. In the API they are the `reason` of the `google.rpc.ErrorInfo` \
         (domain `opslink`).\n\nMade from `proto/reason.rs` and `proto/locales/en/errors.ftl`; do not edit by hand.\n",
    );
    for reason in Reason::ALL {
        let retry = if reason.retryable() { "yes" } else { "no" };
        page.push_str(&format!(
            "\n## {}\n\n{}\n\n- gRPC `{:?}` · `cloudctl` exits with {} · worth retrying unchanged: {retry}\n- What: \
             {}\n- Why: {}\n- Do this: {}\n",
            reason.code(),
            reason.summary().trim(),
            reason.grpc(),
            reason.exit_code(),
            sentence(reason, "what"),
            sentence(reason, "why"),
            sentence(reason, "fix"),
        ));
    }
    page
}
