//! The gate before every handler: each begins by asking it, by the row of its own name, and names no other one. The headers
//! of a call ask the same table by the call's path, so no call shows that a handler does not ask, or asks for less.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use syn::{
    Block, Expr, ImplItem, ItemImpl, ItemMod, Member, Stmt,
    visit::{self, Visit},
};

use crate::{files, is_test_file, root, shown, source};

/// How the gate is asked: for persons and programs, for agents, and for everybody, who are counted all the same. It refuses
/// everybody where another one of them fits the row.
const ASKS: &[&str] = &["permit", "agent", "open"];

/// A function of a service of the wire.
#[derive(Debug, PartialEq, Eq)]
struct Handler {
    /// As the proto files call it.
    method: String,
    /// What is wrong with it.
    faults: Vec<String>,
}

/// All handlers of a source, its tests aside.
fn handlers(text: &str) -> Vec<Handler> {
    let file = syn::parse_file(text).expect("a source file that compiles");
    let mut services = Services::default();
    services.visit_file(&file);
    services.handlers
}

#[derive(Default)]
struct Services {
    handlers: Vec<Handler>,
}

impl<'ast> Visit<'ast> for Services {
    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        if !item.attrs.iter().any(source::is_for_tests) {
            visit::visit_item_mod(self, item);
        }
    }

    fn visit_item_impl(&mut self, item: &'ast ItemImpl) {
        let of = item.trait_.as_ref().and_then(|(_, path, _)| path.segments.last());
        let name = of.map(|segment| segment.ident.to_string()).unwrap_or_default();
        // The one of `tower` is called so, and nothing before it.
        if name != "Service" && name.ends_with("Service") {
            let functions = item.items.iter().filter_map(|item| match item {
                ImplItem::Fn(function) => Some(function),
                _ => None,
            });
            self.handlers
                .extend(functions.map(|function| handler(&function.sig.ident.to_string(), &function.block)));
        }
        visit::visit_item_impl(self, item);
    }
}

/// `create_task` is `CreateTask`.
fn camel_case(name: &str) -> String {
    let word = |word: &str| word.get(..1).unwrap_or_default().to_uppercase() + word.get(1..).unwrap_or_default();
    name.split('_').map(word).collect()
}

fn handler(name: &str, block: &Block) -> Handler {
    let method = camel_case(name);
    let mut faults = Vec::new();
    match asked(block) {
        Some(row) if row == method => {}
        Some(row) => faults.push(format!("{name} asks the gate for {row}")),
        None => faults.push(format!(
            "{name} does not begin with `self.gate.…(&request, Rpc::{method})…?`"
        )),
    }
    let mut rows = Rows::default();
    rows.visit_block(block);
    let others = rows.0.iter().filter(|row| **row != method);
    faults.extend(others.map(|row| format!("{name} names the row of {row}")));
    Handler { method, faults }
}

/// The row that a function asks the gate for, before anything else, and goes on only when it is let in.
fn asked(block: &Block) -> Option<String> {
    let first = match block.stmts.first()? {
        Stmt::Local(local) => local.init.as_ref()?.expr.as_ref(),
        Stmt::Expr(expression, _) => expression,
        Stmt::Item(_) | Stmt::Macro(_) => return None,
    };
    let Expr::Try(tried) = first else { return None };
    let call = match tried.expr.as_ref() {
        Expr::Await(awaited) => awaited.base.as_ref(),
        call => call,
    };
    let Expr::MethodCall(call) = call else { return None };
    let Expr::Field(gate) = call.receiver.as_ref() else {
        return None;
    };
    let is_gate = matches!(&gate.member, Member::Named(name) if name == "gate")
        && matches!(gate.base.as_ref(), Expr::Path(of) if of.path.is_ident("self"));
    if !is_gate || !ASKS.iter().any(|ask| call.method == *ask) {
        return None;
    }
    match call.args.last()? {
        Expr::Path(path) => row(&path.path),
        _ => None,
    }
}

/// The row that a path names.
fn row(path: &syn::Path) -> Option<String> {
    let mut ends = path.segments.iter().rev();
    let (row, table) = (ends.next()?, ends.next()?);
    (table.ident == "Rpc").then(|| row.ident.to_string())
}

/// All rows that a function names.
#[derive(Default)]
struct Rows(BTreeSet<String>);

impl<'ast> Visit<'ast> for Rows {
    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.0.extend(row(path));
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        let words: String = call.tokens.to_string().split_whitespace().collect();
        let is_of_name = |c: char| c.is_alphanumeric() || c == '_';
        let named = words.split("Rpc::").skip(1);
        self.0
            .extend(named.filter_map(|rest| rest.split(|c: char| !is_of_name(c)).next().map(str::to_owned)));
    }
}

/// Rows of the table, from its source.
fn rows_of_the_table(text: &str) -> BTreeSet<String> {
    let table = text
        .split("\nrpcs! {\n")
        .nth(1)
        .and_then(|rest| rest.split("\n}").next());
    let lines = table.expect("the table").lines().map(str::trim);
    lines
        .filter_map(|line| Some(line.split_once(": \"")?.0.to_owned()))
        .collect()
}

#[test]
fn every_handler_begins_with_the_gate_and_its_own_row() {
    let mut faults = Vec::new();
    let mut found: BTreeMap<String, String> = BTreeMap::new();
    for path in files(&root().join("cloud/src"), ".rs") {
        if is_test_file(&path) {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        // No service can be written without the word.
        if !text.contains("Service for") {
            continue;
        }
        for handler in handlers(&text) {
            faults.extend(handler.faults.iter().map(|fault| format!("{}: {fault}", shown(&path))));
            if let Some(other) = found.insert(handler.method.clone(), shown(&path)) {
                faults.push(format!(
                    "{} is handled twice: {other} and {}",
                    handler.method,
                    shown(&path)
                ));
            }
        }
    }
    // Otherwise one stands where the rule does not look. All ask, also those that anybody may call: `Login`, `Join`,
    // `RenewExpired` and `GetSystemInfo` need no leave, and learn from the gate who it is.
    let table = rows_of_the_table(&fs::read_to_string(root().join("cloud/src/authz.rs")).unwrap());
    let found: BTreeSet<String> = found.into_keys().collect();
    let different: Vec<_> = table.symmetric_difference(&found).collect();
    assert!(faults.is_empty(), "handlers:\n{}", faults.join("\n"));
    assert!(
        different.is_empty(),
        "rows without a handler, or the other way round: {different:?}"
    );
}

/// The one handler of a service with this in it.
fn one(body: &str) -> Handler {
    let text = format!("impl TaskService for Service {{ async fn get_task(&self, request: R) -> A {{ {body} }} }}");
    let mut handlers = handlers(&text);
    assert_eq!(handlers.len(), 1);
    handlers.remove(0)
}

#[test]
fn a_handler_that_does_not_ask_or_asks_for_something_else_is_found() {
    for body in [
        "let caller = self.gate.permit(&request, Rpc::GetTask).await?;
         let hold = self.gate.hold_of(&caller, &request, Rpc::GetTask)?; answer()",
        "self.gate.agent(&request, crate::authz::Rpc::GetTask).await?; answer()",
        "self.gate.open(&request, Rpc::GetTask)?; answer()",
    ] {
        let handler = one(body);
        assert_eq!(
            (handler.method.as_str(), handler.faults),
            ("GetTask", Vec::new()),
            "{body}"
        );
    }
    for body in [
        "",
        "answer()",
        "let language = language(); self.gate.permit(&request, Rpc::GetTask).await?; answer()",
        "let _ = self.gate.permit(&request, Rpc::GetTask).await; answer()",
        "self.gate.permit(&request, Rpc::ListTasks).await?; answer()",
        "self.gate.permit(&request, Other::GetTask).await?; answer()",
        "self.other.permit(&request, Rpc::GetTask).await?; answer()",
        "gate.permit(&request, Rpc::GetTask).await?; answer()",
        "self.gate.hold(&request, Rpc::GetTask)?; answer()",
        "self.gate.permit(&request, Rpc::GetTask).await?; self.gate.hold(&request, Rpc::ReadLog)",
        "self.gate.permit(&request, Rpc::GetTask).await?; log!(\"x\", Rpc::ReadLog); answer()",
    ] {
        assert!(!one(body).faults.is_empty(), "{body}");
    }
    let others = "impl tower::Service<R> for X { fn call(&mut self, request: R) {} }
        impl X { fn get_task(&self) {} }
        #[cfg(test)] mod tests { impl TaskService for Fake { async fn get_task(&self, request: R) -> A { answer() } } }";
    assert_eq!(handlers(others), Vec::new());
    let table =
        "\nrpcs! {\n    GetTask: \"TaskService\", Viewer;\n    // Of a stranger: none.\n    Login: \"A\", Anyone;\n}\n";
    assert_eq!(
        rows_of_the_table(table),
        BTreeSet::from(["GetTask".to_owned(), "Login".to_owned()])
    );
}
