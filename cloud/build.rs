//! Builds the cloud again when the console was built again: its files are embedded, and their names change.

fn main() {
    // A watched path that is missing would mean 'always changed'. A folder that cannot be made is no harm.
    let _ = std::fs::create_dir_all("../ui-leptos/dist");
    println!("cargo:rerun-if-changed=../ui-leptos/dist");
}
