//! The one place that makes a `tonic::Status`.

use opslink::{locale::Language, problem::Problem};
use tonic::{Status, metadata::MetadataMap};

/// Returns the language that a caller wants for messages (`accept-language`); English when it says nothing known.
pub fn language(metadata: &MetadataMap) -> Language {
    let wanted = metadata.get("accept-language").and_then(|value| value.to_str().ok()).unwrap_or_default();
    if wanted.trim_start().to_ascii_lowercase().starts_with("zh") { Language::ZhCn } else { Language::En }
}

/// Turns a problem into what goes over the wire.
pub fn to_status(problem: &Problem, language: Language) -> Status {
    let _ = (problem, language);
    Status::unknown("skeleton")
}
