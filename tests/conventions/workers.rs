//! Kinds of work are told apart by their names, in rows and when somebody is woken: no two workers have the same.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
};

use syn::{Expr, ExprLit, ImplItem, Item, ItemImpl, Lit, Stmt};

use crate::{files, is_test_file, root, shown};

/// The kind of each worker of a source, tests aside: a text, or a constant of the source. Absent when it is written in
/// another way.
fn kinds(text: &str) -> Vec<Option<String>> {
    let file = syn::parse_file(text).expect("a source file that compiles");
    let constant = |item: &Item| match item {
        Item::Const(constant) => Some((constant.ident.to_string(), literal(&constant.expr)?)),
        _ => None,
    };
    let constants: HashMap<String, String> = file.items.iter().filter_map(constant).collect();
    let kind = |worker| {
        let said = said(worker)?;
        literal(said).or_else(|| match said {
            Expr::Path(path) => constants.get(&path.path.get_ident()?.to_string()).cloned(),
            _ => None,
        })
    };
    file.items.iter().filter_map(worker).map(kind).collect()
}

/// A worker, when the item is one.
fn worker(item: &Item) -> Option<&ItemImpl> {
    let Item::Impl(item) = item else { return None };
    let (_, of, _) = item.trait_.as_ref()?;
    (of.segments.last()?.ident == "Worker").then_some(item)
}

/// What its `kind` returns.
fn said(worker: &ItemImpl) -> Option<&Expr> {
    let mut functions = worker.items.iter().filter_map(|item| match item {
        ImplItem::Fn(function) => Some(function),
        _ => None,
    });
    let kind = functions.find(|function| function.sig.ident == "kind")?;
    match kind.block.stmts.as_slice() {
        [Stmt::Expr(said, None)] => Some(said),
        _ => None,
    }
}

fn literal(expression: &Expr) -> Option<String> {
    match expression {
        Expr::Lit(ExprLit {
            lit: Lit::Str(text), ..
        }) => Some(text.value()),
        _ => None,
    }
}

#[test]
fn no_two_workers_have_one_kind() {
    let mut known: BTreeMap<String, String> = BTreeMap::new();
    let mut faults = Vec::new();
    for path in files(&root().join("cloud/src"), ".rs") {
        let text = fs::read_to_string(&path).unwrap();
        // No worker can be written without the words.
        if is_test_file(&path) || !text.contains("Worker for") {
            continue;
        }
        for kind in kinds(&text) {
            let Some(kind) = kind else {
                faults.push(format!("{}: the kind of a worker is no text", shown(&path)));
                continue;
            };
            if let Some(other) = known.insert(kind.clone(), shown(&path)) {
                faults.push(format!("{} and {other} both have `{kind}`", shown(&path)));
            }
        }
    }
    assert!(known.len() >= 5, "the rule sees the workers: {known:?}");
    assert!(faults.is_empty(), "kinds of work:\n{}", faults.join("\n"));
}

#[test]
fn a_kind_is_found_however_it_is_written() {
    let text = "const KIND: &str = \"a\"; const OTHER: u64 = 1;
        impl Worker for A { fn kind(&self) -> &'static str { KIND } fn work(&self) {} }
        impl work::Worker for B { fn kind(&self) -> &'static str { \"b\" } }
        impl Worker for C { fn kind(&self) -> &'static str { self.kind } }
        impl Worker for D { fn kind(&self) -> &'static str { elsewhere::KIND } }
        impl Other for E { fn kind(&self) -> &'static str { \"e\" } }
        #[cfg(test)] mod tests { impl Worker for F { fn kind(&self) -> &'static str { \"f\" } } }";
    let found = kinds(text);
    assert_eq!(found, [Some("a".to_owned()), Some("b".to_owned()), None, None]);
}
