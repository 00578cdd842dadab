//! `cloudctl api METHOD [JSON]`: any unary or server-streaming method of the API, with JSON in and out.
//!
//! Messages are made at run time from the descriptor set that the protocol crate carries, by `prost-reflect`: the same
//! author and release train as `protox`, which builds our protos, so it is in the lock file anyway; it speaks
//! protobuf's own JSON, and saves a table of every method that would have to be kept by hand.

mod call;
mod codec;
mod list;

use clap::Args;
use clap_complete::ArgValueCompleter;
use opslink::pb::DESCRIPTOR_SET;
use prost_reflect::{DescriptorPool, MethodDescriptor};

use crate::{app::App, commands::completion, exit::Exit, failure::Failure};

/// Arguments of `api`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cloudctl api list
  cloudctl api ListAgents
  cloudctl api CreateToken '{\"name\": \"ci\", \"role\": \"ROLE_OPERATOR\"}'
  cloudctl api opslink.v1.TaskService/WatchTask @request.json")]
pub(crate) struct ApiArgs {
    /// `list`, or a method: ListAgents, AgentService/ListAgents, opslink.v1.AgentService/ListAgents
    #[arg(add = ArgValueCompleter::new(completion::methods))]
    method: String,
    /// The request as JSON; @FILE reads a file, - reads stdin
    #[arg(default_value = "{}", hide_default_value = true, add = ArgValueCompleter::new(completion::at_files))]
    request: String,
}

/// Runs `api`.
pub(crate) async fn run(args: ApiArgs, app: &App) -> Result<Exit, Failure> {
    let pool = DescriptorPool::decode(DESCRIPTOR_SET).map_err(|error| Failure::unexpected(&error.to_string()))?;
    if args.method == "list" {
        return list::run(&pool, app);
    }
    call::run(find(&pool, &args.method)?, &args.request, app).await
}

/// Every method, in the order of services.
pub(crate) fn methods(pool: &DescriptorPool) -> Vec<MethodDescriptor> {
    let mut methods: Vec<MethodDescriptor> = pool
        .services()
        .flat_map(|service| service.methods().collect::<Vec<_>>())
        .collect();
    methods.sort_by(|a, b| a.full_name().cmp(b.full_name()));
    methods
}

fn find(pool: &DescriptorPool, wanted: &str) -> Result<MethodDescriptor, Failure> {
    let dotted = wanted.trim_start_matches('/').replace('/', ".");
    let all = methods(pool);
    let fits = |method: &&MethodDescriptor| {
        let full = method.full_name();
        full == dotted
            || full
                .strip_suffix(dotted.as_str())
                .is_some_and(|before| before.ends_with('.'))
    };
    match all.iter().find(fits) {
        Some(method) => Ok(method.clone()),
        None => {
            let lower = dotted.to_ascii_lowercase();
            let near = all.iter().find(|method| {
                let name = method.name().to_ascii_lowercase();
                lower
                    .rsplit('.')
                    .next()
                    .is_some_and(|last| name.contains(last) || last.contains(&name))
            });
            let near = near.map_or("cloudctl api list", |method| method.name());
            Err(Failure::local(
                Exit::NotFound,
                "API_METHOD_UNKNOWN",
                &[("method", wanted), ("near", near)],
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool() -> DescriptorPool {
        DescriptorPool::decode(DESCRIPTOR_SET).unwrap()
    }

    #[test]
    fn a_method_is_found_by_any_of_its_names() {
        for name in [
            "ListAgents",
            "AgentService/ListAgents",
            "AgentService.ListAgents",
            "/opslink.v1.AgentService/ListAgents",
        ] {
            assert_eq!(
                find(&pool(), name).unwrap().full_name(),
                "opslink.v1.AgentService.ListAgents",
                "{name}"
            );
        }
    }

    #[test]
    fn a_misspelt_method_gets_a_suggestion() {
        let failure = find(&pool(), "listagent").unwrap_err();
        assert_eq!(failure.reason, "API_METHOD_UNKNOWN");
        assert!(failure.fix.contains("ListAgents"), "{}", failure.fix);
        assert!(find(&pool(), "Agents").is_err(), "a part of a name is no name");
    }
}
