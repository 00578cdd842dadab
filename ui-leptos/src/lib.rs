//! The OpsLink console.
//!
//! A Leptos application that runs in the browser and speaks gRPC-web to the cloud it was loaded from. [`logic`] is what
//! it knows without a browser; the rest exists on wasm32 only: `api` is the only code that calls the cloud, `pages` are
//! the routes, `components` what they share.

#![cfg_attr(
    target_arch = "wasm32",
    expect(unreachable_pub, reason = "Leptos' component macro makes pub items")
)]

#[cfg(target_arch = "wasm32")]
mod api;
#[cfg(target_arch = "wasm32")]
mod app;
#[cfg(target_arch = "wasm32")]
mod components;
#[cfg(target_arch = "wasm32")]
mod dom;
#[cfg(target_arch = "wasm32")]
mod i18n;
pub mod logic;
#[cfg(target_arch = "wasm32")]
mod pages;
#[cfg(target_arch = "wasm32")]
mod prefs;
#[cfg(target_arch = "wasm32")]
mod session;

#[cfg(target_arch = "wasm32")]
pub use app::start;

/// There is no console outside a browser.
#[cfg(not(target_arch = "wasm32"))]
pub fn start() {}
