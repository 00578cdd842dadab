//! The console's entry: what the browser starts.

fn main() {
    opslink_ui::start();
}
