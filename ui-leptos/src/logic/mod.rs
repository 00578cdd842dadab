//! What the console knows without a browser: parsing, models and text. Compiles natively, so plain `cargo test` runs it.

#[cfg(test)]
mod catalogue;
pub mod csv;
pub mod danger;
pub mod format;
pub mod frames;
pub mod grid;
pub mod labels;
pub mod limits;
pub mod lines;
pub mod mark;
pub mod methods;
pub mod order;
pub mod palette;
pub mod quote;
pub mod results;
pub mod rows;
pub mod sentences;
pub mod sgr;
pub mod status;
pub mod target;
pub mod taskview;
pub mod twin;
pub mod window;
