//! `cloudctl docs` (hidden): the reference as Markdown, made from the grammar. `docs/cloudctl.md` is its output.

use clap_markdown::MarkdownOptions;

use crate::{commands::completion::grammar, exit::Exit, failure::Failure, output};

/// Runs `docs`.
pub(crate) fn run() -> Result<Exit, Failure> {
    output::print(reference().as_bytes())?;
    Ok(Exit::Done)
}

fn reference() -> String {
    let options = MarkdownOptions::new()
        .title("cloudctl, the command line of OpsLink".to_owned())
        .show_footer(false);
    let mut text = clap_markdown::help_markdown_command_custom(&grammar(), &options);
    text.insert_str(
        0,
        "<!-- Made by `cloudctl docs` from ctl/src/cli.rs; UPDATE_DOCS=1 cargo test -p cloudctl docs -->\n\n",
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_in_docs_is_what_the_grammar_says() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/cloudctl.md");
        let wanted = reference();
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(path, &wanted).unwrap();
        }
        let found = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            found == wanted,
            "docs/cloudctl.md is old: UPDATE_DOCS=1 cargo test -p cloudctl docs"
        );
    }
}
