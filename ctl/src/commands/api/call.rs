//! One call: JSON in, JSON out; a stream gives one JSON object per line.

use std::io::Read;

use prost_reflect::{DynamicMessage, MethodDescriptor, SerializeOptions};
use tonic::{Request, client::Grpc, codegen::http::uri::PathAndQuery};

use crate::{
    app::App,
    commands::api::codec::DynamicCodec,
    exit::Exit,
    failure::Failure,
    output::{self, Format},
};

/// Calls a method.
pub(super) async fn run(method: MethodDescriptor, request: &str, app: &App) -> Result<Exit, Failure> {
    if method.is_client_streaming() {
        return Err(Failure::usage("API_METHOD_STREAMS_IN", &[("method", method.name())]));
    }
    let request = message(&method, &text(request)?)?;
    let client = app.client().await?;
    let mut grpc = Grpc::new(client.transport()).max_decoding_message_size(crate::connect::MAX_MESSAGE_BYTES);
    grpc.ready()
        .await
        .map_err(|error| Failure::unexpected(&error.to_string()))?;
    let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
    let path: PathAndQuery = path.parse().map_err(|_| Failure::unexpected(&path))?;
    let codec = DynamicCodec {
        output: method.output(),
    };

    if !method.is_server_streaming() {
        let answer = grpc.unary(Request::new(request), path, codec).await?.into_inner();
        let pretty = app.globals.output != Some(Format::Jsonl);
        output::print(&json(&answer, pretty)?)?;
        return Ok(Exit::Done);
    }
    let mut stream = grpc
        .server_streaming(Request::new(request), path, codec)
        .await?
        .into_inner();
    loop {
        let answer = tokio::select! {
            answer = stream.message() => answer?,
            _ = tokio::signal::ctrl_c() => return Ok(Exit::Interrupted),
        };
        let Some(answer) = answer else { return Ok(Exit::Done) };
        output::print(&json(&answer, false)?)?;
    }
}

/// Takes the request as given, from a file, or from stdin.
fn text(request: &str) -> Result<String, Failure> {
    let unreadable = |path: &str, error: &std::io::Error| {
        Failure::usage("SCRIPT_NOT_FOUND", &[("name", path), ("detail", &error.to_string())])
    };
    if request == "-" {
        let mut text = String::new();
        std::io::stdin()
            .lock()
            .read_to_string(&mut text)
            .map_err(|error| unreadable("-", &error))?;
        return Ok(text);
    }
    match request.strip_prefix('@') {
        Some(path) => std::fs::read_to_string(path).map_err(|error| unreadable(path, &error)),
        None => Ok(request.to_owned()),
    }
}

fn message(method: &MethodDescriptor, text: &str) -> Result<DynamicMessage, Failure> {
    let name = method.input().name().to_owned();
    let invalid = |detail: String| Failure::usage("API_REQUEST_INVALID", &[("message", &name), ("detail", &detail)]);
    let mut json = serde_json::Deserializer::from_str(text);
    let message = DynamicMessage::deserialize(method.input(), &mut json).map_err(|error| invalid(error.to_string()))?;
    json.end().map_err(|error| invalid(error.to_string()))?;
    Ok(message)
}

fn json(message: &DynamicMessage, pretty: bool) -> Result<Vec<u8>, Failure> {
    let mut out = Vec::new();
    let options = SerializeOptions::new().skip_default_fields(true);
    let result = if pretty {
        message.serialize_with_options(&mut serde_json::Serializer::pretty(&mut out), &options)
    } else {
        message.serialize_with_options(&mut serde_json::Serializer::new(&mut out), &options)
    };
    result.map_err(|error| Failure::unexpected(&error.to_string()))?;
    out.push(b'\n');
    Ok(out)
}

#[cfg(test)]
mod tests {
    use prost::Message;
    use prost_reflect::DescriptorPool;

    use super::*;

    fn method(name: &str) -> MethodDescriptor {
        let pool = DescriptorPool::decode(opslink::pb::DESCRIPTOR_SET).unwrap();
        crate::commands::api::find(&pool, name).unwrap()
    }

    #[test]
    fn json_becomes_the_same_bytes_as_the_generated_type() {
        let text = r#"{"spec": {"shell": {"argv": ["true"]}}, "selector": {"names": ["prod"]}, "dryRun": true}"#;
        let dynamic = message(&method("CreateTask"), text).unwrap();
        let typed = opslink::pb::CreateTaskRequest::decode(dynamic.encode_to_vec().as_slice()).unwrap();
        assert!(typed.dry_run);
        assert_eq!(typed.selector.unwrap().names, ["prod"]);
    }

    #[test]
    fn a_misspelt_field_and_rubbish_behind_the_end_are_told() {
        let method = method("ListAgents");
        for (text, word) in [(r#"{"filtre": "x"}"#, "filtre"), ("{} {}", "trailing"), ("{", "EOF")] {
            let failure = message(&method, text).unwrap_err();
            assert_eq!(failure.reason, "API_REQUEST_INVALID");
            assert!(format!("{failure:?}").contains(word), "{failure:?}");
        }
    }
}
