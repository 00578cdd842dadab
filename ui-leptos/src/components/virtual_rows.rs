//! A list of rows of one height, of which only those in sight exist. It does not matter how many there are.

use leptos::{html, prelude::*};
use wasm_bindgen::{JsCast, closure::Closure};

/// Rows kept ready above and below what is in sight.
const SPARE: usize = 12;

/// What a list and its owner tell each other.
#[derive(Clone, Copy)]
pub(crate) struct Viewport {
    /// The element that scrolls.
    pub node: NodeRef<html::Div>,
    /// Its scroll position in pixels.
    pub top: RwSignal<f64>,
    /// Its inner height in pixels.
    pub height: RwSignal<f64>,
    /// Its inner width in pixels.
    pub width: RwSignal<f64>,
}

impl Viewport {
    /// Not yet in the page.
    pub(crate) fn new() -> Self {
        Self {
            node: NodeRef::new(),
            top: RwSignal::new(0.0),
            height: RwSignal::new(600.0),
            width: RwSignal::new(800.0),
        }
    }

    /// The element, while it is there: frames and observers also come when the page is gone.
    fn element(self) -> Option<web_sys::HtmlDivElement> {
        self.node.try_get_untracked().flatten()
    }

    /// Scrolls to a position, at most to the end. Its rows are drawn before the browser paints: the scroll event, which
    /// comes a frame later, has nothing left to tell.
    pub(crate) fn to(self, top: f64) {
        if let Some(node) = self.element() {
            node.set_scroll_top(top as i32);
            self.measure();
        }
    }

    /// Scrolls a row to the middle.
    pub(crate) fn to_row(self, row: usize, row_height: f64) {
        if let Some(height) = self.height.try_get_untracked() {
            self.to(row as f64 * row_height - height / 2.0);
        }
    }

    /// Pixels between what is in sight and the end.
    pub(crate) fn rest(self) -> i32 {
        self.element().map_or(0, |node| {
            node.scroll_height() - node.scroll_top() - node.client_height()
        })
    }

    fn measure(self) {
        let Some(node) = self.element() else { return };
        let (height, width, top) = (
            f64::from(node.client_height()),
            f64::from(node.client_width()),
            f64::from(node.scroll_top()),
        );
        if self.height.try_get_untracked().is_some_and(|known| known != height) {
            self.height.set(height);
        }
        if self.width.try_get_untracked().is_some_and(|known| known != width) {
            self.width.set(width);
        }
        if self.top.try_get_untracked().is_some_and(|known| known != top) {
            self.top.set(top);
        }
    }
}

/// The list.
#[component]
pub(crate) fn VirtualRows(
    /// Shared with the owner.
    viewport: Viewport,
    /// How many rows there are.
    #[prop(into)]
    count: Signal<usize>,
    /// Their height in pixels.
    row_height: f64,
    /// Draws a row. Runs again for every row in sight when what it reads changes.
    row: impl Fn(usize) -> AnyView + Send + Sync + 'static,
    /// Classes of the scrolling element.
    #[prop(optional)]
    class: &'static str,
    /// Name for screen readers.
    #[prop(into)]
    label: String,
    /// `log`, `table`, `list`.
    #[prop(default = "list")]
    role: &'static str,
    /// Drawn above the rows, inside the scrolling element.
    #[prop(optional)]
    head: Option<ViewFn>,
    /// Called when the person scrolled, with the pixels: negative towards the start.
    #[prop(optional)]
    on_scroll: Option<Callback<f64>>,
) -> impl IntoView {
    observe(viewport);
    let range = Memo::new(move |_| {
        let fitting = (viewport.height.get() / row_height) as usize + 2;
        // Where the browser will be when there are fewer rows than before.
        let last = count.get().saturating_sub(fitting);
        let first = ((viewport.top.get() / row_height) as usize).min(last);
        let start = first.saturating_sub(SPARE).min(count.get());
        (start, (first + fitting + SPARE).min(count.get()))
    });
    let scrolled = move |_| {
        let before = viewport.top.try_get_untracked();
        viewport.measure();
        // What code scrolled is known already.
        if let (Some(on_scroll), Some(before), Some(now)) = (on_scroll, before, viewport.top.try_get_untracked())
            && now != before
        {
            on_scroll.run(now - before);
        }
    };
    view! {
        <div node_ref=viewport.node class=format!("virtual {class}") tabindex="0" role=role aria-label=label on:scroll=scrolled>
            {head.map(|head| head.run())}
            <div class="virtual-space" style:height=move || format!("{}px", (count.get() as f64 * row_height) as u64)>
                <div class="virtual-rows" style:transform=move || format!("translateY({}px)", (range.get().0 as f64 * row_height) as u64)>
                    {move || {
                        let (start, end) = range.get();
                        (start..end).map(&row).collect_view()
                    }}
                </div>
            </div>
        </div>
    }
}

/// Follows the element's size.
fn observe(viewport: Viewport) {
    Effect::new(move |_| {
        let Some(node) = viewport.node.get() else { return };
        viewport.measure();
        let callback = Closure::<dyn Fn()>::new(move || viewport.measure());
        if let Ok(observer) = web_sys::ResizeObserver::new(callback.as_ref().unchecked_ref()) {
            observer.observe(&node);
            let held = StoredValue::new_local((observer, callback));
            on_cleanup(move || {
                let _ = held.try_with_value(|(observer, _)| observer.disconnect());
            });
        }
    });
}
