//! A result set as a grid: only the rows in sight exist; sortable; NULL is not empty.

use leptos::{prelude::*, task::spawn_local};
use opslink::event::ColumnKind;

use super::{
    dialog::Dialog,
    icon::Icon,
    task_live::TaskLive,
    toast,
    virtual_rows::{Viewport, VirtualRows},
};
use crate::{
    dom,
    i18n::{Arg, t, ta, tn},
    logic::{
        csv, format,
        grid::{Grid, Sort},
        rows, sgr,
    },
};

const ROW_HEIGHT: f64 = 29.0;
/// Letters of a cell that are drawn.
const SHOWN: usize = 200;

#[derive(Clone, PartialEq)]
struct Head {
    name: String,
    type_name: String,
    kind: ColumnKind,
    width: usize,
}

/// The grid of a table of an agent.
#[component]
pub(crate) fn ResultGrid(
    /// The task.
    live: TaskLive,
    /// Whose.
    agent: String,
    /// Number of the result set.
    table: u32,
) -> impl IntoView {
    let agent = StoredValue::new(agent);
    let sort = RwSignal::new(None::<Sort>);
    let cell = RwSignal::new(None::<(String, String)>);
    let heads = Memo::new(move |_| {
        live.output.track();
        read(live, agent, table, |grid| {
            let widths = grid.widths();
            grid.columns
                .iter()
                .zip(widths)
                .map(|(column, width)| Head {
                    name: column.name.clone(),
                    type_name: column.type_name.clone(),
                    kind: column.kind,
                    width,
                })
                .collect::<Vec<_>>()
        })
        .unwrap_or_default()
    });
    let counts = Memo::new(move |_| {
        live.output.track();
        read(live, agent, table, |grid| (grid.rows, grid.total)).unwrap_or_default()
    });
    let order = Memo::new(move |_| {
        counts.track();
        let sort = sort.get();
        read(live, agent, table, |grid| grid.order(sort)).unwrap_or_default()
    });
    let text =
        move || read(live, agent, table, |grid| order.with_untracked(|order| grid.csv(order))).unwrap_or_default();
    let copy = move |_| {
        spawn_local(async move {
            if dom::copy(&text()).await {
                toast::say(t("copied"))
            } else {
                toast::complain(t("copy-refused"))
            }
        });
    };
    let save = move |_| {
        dom::download(
            &format!("{}-{}.csv", agent.get_value(), table + 1),
            "text/csv;charset=utf-8",
            &[csv::BOM.to_vec(), text().into_bytes()],
        )
    };
    let row = move |at: usize| {
        let Some(number) = order.with(|order| order.get(at).copied()) else {
            return ().into_any();
        };
        let cells = heads.with(|heads| {
            read(live, agent, table, |grid| {
                let draw = |(column, head): (usize, &Head)| draw_cell(grid, column, number as usize, head, cell);
                heads.iter().enumerate().map(draw).collect::<Vec<_>>()
            })
        });
        view! { <div class="grid-row" role="row"><span class="grid-number num" role="rowheader">{format::count(u64::from(number) + 1)}</span>{cells}</div> }.into_any()
    };
    let summary = move || {
        let (rows, total) = counts.get();
        if total > rows as u64 {
            ta(
                "rows-window",
                &[
                    ("shown", Arg::from(format::count(rows as u64))),
                    ("total", Arg::from(format::count(total))),
                ],
            )
        } else {
            tn("rows", total)
        }
    };
    view! {
        <div class="grid-frame">
            <div class="grid-bar">
                <span class="num muted" role="status">{summary}</span>
                <span class="strip-actions">
                    <button type="button" class="button button-small" on:click=copy><Icon name="copy" /><span>{t("csv-copy")}</span></button>
                    <button type="button" class="button button-small" on:click=save><Icon name="download" /><span>"CSV"</span></button>
                </span>
            </div>
            <VirtualRows
                viewport=Viewport::new()
                count=Signal::derive(move || order.with(Vec::len))
                row_height=ROW_HEIGHT
                class="sheet"
                role="table"
                label=t("result")
                head=ViewFn::from(move || view! { <Heads heads=heads sort=sort /> })
                row=row
            />
        </div>
        <CellDialog cell=cell />
    }
}

fn read<T>(live: TaskLive, agent: StoredValue<String>, table: u32, read: impl FnOnce(&Grid) -> T) -> Option<T> {
    let agent = agent.try_get_value()?;
    live.results.with_value(|results| {
        results
            .get(&agent)
            .and_then(|results| results.grids.get(&table))
            .map(read)
    })
}

fn draw_cell(grid: &Grid, column: usize, row: usize, head: &Head, open: RwSignal<Option<(String, String)>>) -> AnyView {
    let class = match head.kind {
        ColumnKind::Number => "grid-cell grid-right",
        ColumnKind::Text | ColumnKind::Bool | ColumnKind::Time | ColumnKind::Json | ColumnKind::Bytes => "grid-cell",
    };
    let width = format!("{}ch", head.width + 3);
    let Some(text) = grid.columns.get(column).and_then(|column| column.cell(row)) else {
        return view! { <span class=class role="cell" style:width=width><span class="null">"NULL"</span></span> }
            .into_any();
    };
    let is_long = rows::columns(text) > head.width || text.contains('\n');
    let shown: String = text
        .chars()
        .take(SHOWN)
        .filter(|letter| !sgr::turns(*letter))
        .map(|letter| if letter.is_control() { ' ' } else { letter })
        .collect();
    if !is_long {
        return view! { <span class=class role="cell" style:width=width>{shown}</span> }.into_any();
    }
    let (name, full) = (head.name.clone(), text.to_owned());
    view! {
        <span class=class role="cell" style:width=width>
            <button type="button" class="grid-open" on:click=move |_| open.set(Some((name.clone(), full.clone())))>{shown}</button>
        </span>
    }
    .into_any()
}

#[component]
fn Heads(heads: Memo<Vec<Head>>, sort: RwSignal<Option<Sort>>) -> impl IntoView {
    let head = move |(column, head): (usize, Head)| {
        let sorted = move || sort.get().filter(|sort| sort.column == column);
        let next = move |_| {
            sort.update(|sort| {
                *sort = match *sort {
                    Some(Sort {
                        column: known,
                        descending: false,
                    }) if known == column => Some(Sort {
                        column,
                        descending: true,
                    }),
                    Some(Sort {
                        column: known,
                        descending: true,
                    }) if known == column => None,
                    _ => Some(Sort {
                        column,
                        descending: false,
                    }),
                }
            });
        };
        let width = format!("{}ch", head.width + 3);
        view! {
            <span class="grid-head" role="columnheader" style:width=width aria-sort=move || match sorted() { None => "none", Some(Sort { descending: false, .. }) => "ascending", Some(_) => "descending" }>
                <button type="button" class="grid-sort" title=head.type_name.clone() on:click=next>
                    <span class="cell-cut">{head.name}</span>
                    {move || sorted().map(|sort| if sort.descending { view! { <Icon name="down" /> } } else { view! { <Icon name="up" /> } })}
                    <span class="grid-type">{head.type_name.clone()}</span>
                </button>
            </span>
        }
    };
    view! {
        <div class="grid-heads" role="row">
            <span class="grid-number" role="columnheader"><span class="sr-only">"#"</span></span>
            {move || heads.get().into_iter().enumerate().map(head).collect_view()}
        </div>
    }
}

/// A cell that does not fit.
#[component]
fn CellDialog(cell: RwSignal<Option<(String, String)>>) -> impl IntoView {
    let open = RwSignal::new(false);
    Effect::new(move |_| {
        if cell.with(Option::is_some) {
            open.set(true);
        }
    });
    Effect::new(move |_| {
        if !open.get() {
            cell.set(None);
        }
    });
    view! {
        <Dialog open=open heading=t("cell")>
            <p class="muted mono">{move || cell.get().map(|(name, _)| name)}</p>
            <pre class="log-expanded" tabindex="0">{move || cell.get().map(|(_, text)| text.replace(sgr::turns, ""))}</pre>
        </Dialog>
    }
}
