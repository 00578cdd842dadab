//! What a source file names: every path of its imports, its code and its macros, resolved through its own `use` items,
//! so that neither a nested import nor another name hides anything.

use std::collections::HashMap;

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use syn::{
    Attribute, BinOp, Expr, ImplItemFn, ItemFn, ItemImpl, ItemMod, ItemUse, Lit, LitStr, Pat, Token, UseTree,
    Visibility,
    parse::Parser,
    punctuated::Punctuated,
    spanned::Spanned,
    visit::{self, Visit},
};

mod tests;

/// A path that a file names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Named {
    /// Whole, with `::`: `std::fs::read`, `crate::store::Store`; `std::fs::*` for everything in it.
    pub(crate) path: String,
    /// Line, from 1.
    pub(crate) line: usize,
    /// In a test, or in what is compiled for tests only.
    pub(crate) in_test: bool,
    /// The test around it has a clock that only the test moves.
    pub(crate) paused: bool,
    /// Something is compared with it: it stands in a pattern, or beside `==`.
    pub(crate) asked: bool,
    /// What it is called with, when it is a call with one argument.
    pub(crate) argument: Option<Argument>,
}

/// What stands between the brackets of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Argument {
    /// `Duration::from_millis(5)`.
    Millis(u64),
    /// Anything else.
    Other,
}

impl Argument {
    fn of(expression: &Expr) -> Self {
        let Expr::Call(call) = expression else {
            return Self::Other;
        };
        let (Expr::Path(function), Some(Expr::Lit(literal))) = (call.func.as_ref(), call.args.first()) else {
            return Self::Other;
        };
        let is_millis = function
            .path
            .segments
            .last()
            .is_some_and(|last| last.ident == "from_millis");
        match &literal.lit {
            Lit::Int(number) if is_millis => number.base10_parse().map_or(Self::Other, Self::Millis),
            _ => Self::Other,
        }
    }
}

impl Named {
    /// Says whether this is the path, or something in it.
    pub(crate) fn is_in(&self, path: &str) -> bool {
        self.path
            .strip_prefix(path)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    }

    /// Says whether it imports everything of a place that the path is in, so that its end can be written alone.
    pub(crate) fn may_bring(&self, path: &str) -> bool {
        let place = self.path.strip_suffix('*').filter(|place| place.ends_with("::"));
        place.is_some_and(|place| path.starts_with(place))
    }
}

/// Everything that a file names. `module` is where it stands in its crate: `["task", "submit"]`.
pub(crate) fn named(text: &str, module: &[&str]) -> Vec<Named> {
    let file = syn::parse_file(text).expect("a source file that compiles");
    let mut walk = Walk {
        module: module.iter().map(ToString::to_string).collect(),
        ..Walk::default()
    };
    walk.visit_file(&file);
    walk.resolved()
}

/// Every text that the code of a file holds, its tests and comments aside.
pub(crate) fn texts(text: &str) -> Vec<String> {
    let file = syn::parse_file(text).expect("a source file that compiles");
    let mut walk = Walk::default();
    walk.visit_file(&file);
    walk.texts
}

/// Where a file stands in its crate, from its path below `src`.
pub(crate) fn module_of(below_src: &str) -> Vec<&str> {
    let parts = below_src.trim_end_matches(".rs").split('/');
    parts.filter(|part| !matches!(*part, "mod" | "lib" | "main")).collect()
}

#[derive(Default)]
struct Walk {
    module: Vec<String>,
    depth_in_test: usize,
    depth_paused: usize,
    depth_asked: usize,
    texts: Vec<String>,
    /// What a name stands for, as imported in tests (true) or anywhere.
    imports: HashMap<(bool, String), String>,
    found: Vec<Named>,
}

impl Walk {
    fn note(&mut self, segments: &[String], span: proc_macro2::Span, argument: Option<Argument>) {
        let found = Named {
            path: self.absolute(segments),
            line: span.start().line,
            in_test: self.depth_in_test > 0,
            paused: self.depth_paused > 0,
            asked: self.depth_asked > 0,
            argument,
        };
        self.found.push(found);
    }

    /// Turns `self` and `super` into `crate`.
    fn absolute(&self, segments: &[String]) -> String {
        let ups = segments.iter().take_while(|segment| *segment == "super").count();
        let is_self = segments.first().is_some_and(|segment| segment == "self");
        if ups == 0 && !is_self {
            return segments.join("::");
        }
        let keep = self.module.len().saturating_sub(ups);
        let mut path = vec!["crate".to_owned()];
        path.extend(self.module.iter().take(keep).cloned());
        path.extend(segments.iter().skip(ups.max(usize::from(is_self))).cloned());
        path.join("::")
    }

    fn text(&mut self, text: &LitStr) {
        if self.depth_in_test == 0 {
            self.texts.push(text.value());
        }
    }

    fn import(&mut self, tree: &UseTree, before: &[String]) {
        let with = |name: &syn::Ident| [before, &[name.to_string()]].concat();
        match tree {
            UseTree::Path(path) => self.import(&path.tree, &with(&path.ident)),
            UseTree::Group(group) => {
                for tree in &group.items {
                    self.import(tree, before);
                }
            }
            UseTree::Name(name) if name.ident == "self" => {
                let local = before.last().cloned().unwrap_or_default();
                self.import_as(before.to_vec(), local, name.span());
            }
            UseTree::Name(name) => self.import_as(with(&name.ident), name.ident.to_string(), name.span()),
            UseTree::Rename(rename) => {
                let path = if rename.ident == "self" {
                    before.to_vec()
                } else {
                    with(&rename.ident)
                };
                self.import_as(path, rename.rename.to_string(), rename.span());
            }
            UseTree::Glob(glob) => self.note(&[before, &["*".to_owned()]].concat(), glob.span(), None),
        }
    }

    fn import_as(&mut self, path: Vec<String>, local: String, span: proc_macro2::Span) {
        self.note(&path, span, None);
        let whole = self.absolute(&path);
        self.imports.insert((self.depth_in_test > 0, local), whole);
    }

    /// Paths in what is no syntax tree: the words of a macro call.
    fn tokens(&mut self, tokens: TokenStream) {
        let mut tokens = tokens.into_iter().peekable();
        let mut dots = 0;
        while let Some(token) = tokens.next() {
            let dots_before = std::mem::take(&mut dots);
            let ident = match token {
                TokenTree::Group(group) => {
                    self.tokens(group.stream());
                    continue;
                }
                TokenTree::Ident(ident) => ident,
                TokenTree::Literal(literal) => {
                    if let Ok(text) = syn::parse_str::<LitStr>(&literal.to_string()) {
                        self.text(&text);
                    }
                    continue;
                }
                TokenTree::Punct(punct) => {
                    dots = if punct.as_char() == '.' { dots_before + 1 } else { 0 };
                    continue;
                }
            };
            let span = ident.span();
            // As outside of a macro; two dots are a range.
            let mut segments = vec![match dots_before {
                1 => format!(".{ident}"),
                _ => ident.to_string(),
            }];
            while matches!(tokens.peek(), Some(TokenTree::Punct(punct)) if punct.as_char() == ':') {
                tokens.next();
                if let Some(TokenTree::Ident(ident)) = tokens.peek() {
                    segments.push(ident.to_string());
                    tokens.next();
                }
            }
            let argument = match tokens.peek() {
                Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Parenthesis => {
                    only_argument(group.stream())
                }
                _ => None,
            };
            self.note(&segments, span, argument);
        }
    }

    /// Names as they are written stand for what was imported under them.
    fn resolved(mut self) -> Vec<Named> {
        for found in &mut self.found {
            let (first, rest) = match found.path.split_once("::") {
                Some((first, rest)) => (first.to_owned(), Some(rest.to_owned())),
                None => (found.path.clone(), None),
            };
            let in_tests = self.imports.get(&(true, first.clone())).filter(|_| found.in_test);
            if let Some(whole) = in_tests.or_else(|| self.imports.get(&(false, first))) {
                found.path = rest.map_or_else(|| whole.clone(), |rest| format!("{whole}::{rest}"));
            }
        }
        self.found
    }

    fn inside(&mut self, attributes: &[Attribute], walk: impl FnOnce(&mut Self)) {
        let for_tests = attributes.iter().any(is_for_tests);
        let paused = attributes
            .iter()
            .any(|attribute| words(attribute).contains("start_paused"));
        self.depth_in_test += usize::from(for_tests);
        self.depth_paused += usize::from(paused);
        walk(self);
        self.depth_in_test -= usize::from(for_tests);
        self.depth_paused -= usize::from(paused);
    }
}

/// What a call in a macro is given, when that is one thing; a comma may follow it.
fn only_argument(tokens: TokenStream) -> Option<Argument> {
    let arguments = Punctuated::<Expr, Token![,]>::parse_terminated.parse2(tokens).ok()?;
    let mut arguments = arguments.iter();
    let argument = arguments.next().filter(|_| arguments.next().is_none());
    argument.map(Argument::of)
}

fn words(attribute: &Attribute) -> String {
    match &attribute.meta {
        syn::Meta::List(list) => list.tokens.to_string(),
        syn::Meta::Path(_) | syn::Meta::NameValue(_) => String::new(),
    }
}

/// `#[test]`, `#[tokio::test]`, `#[cfg(test)]`.
pub(crate) fn is_for_tests(attribute: &Attribute) -> bool {
    let last = attribute.path().segments.last();
    let is = |word: &str| last.is_some_and(|segment| segment.ident == word);
    let words = words(attribute);
    is("test")
        || (is("cfg")
            && words.split(|c: char| !c.is_alphanumeric()).any(|word| word == "test")
            && !words.contains("not"))
}

impl<'ast> Visit<'ast> for Walk {
    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        self.module.push(item.ident.to_string());
        self.inside(&item.attrs, |walk| visit::visit_item_mod(walk, item));
        self.module.pop();
    }

    fn visit_item_fn(&mut self, item: &'ast ItemFn) {
        self.inside(&item.attrs, |walk| visit::visit_item_fn(walk, item));
    }

    fn visit_item_impl(&mut self, item: &'ast ItemImpl) {
        self.inside(&item.attrs, |walk| visit::visit_item_impl(walk, item));
    }

    fn visit_impl_item_fn(&mut self, item: &'ast ImplItemFn) {
        self.inside(&item.attrs, |walk| visit::visit_impl_item_fn(walk, item));
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        self.inside(&item.attrs, |walk| walk.import(&item.tree, &[]));
    }

    fn visit_expr_call(&mut self, call: &'ast syn::ExprCall) {
        if let Expr::Path(function) = call.func.as_ref() {
            let mut arguments = call.args.iter().cloned();
            let argument = arguments.next().filter(|_| arguments.next().is_none());
            let argument = argument.map(|argument| Argument::of(&argument));
            self.note(&segments(&function.path), function.span(), argument);
        } else {
            self.visit_expr(&call.func);
        }
        for argument in &call.args {
            self.visit_expr(argument);
        }
    }

    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        // What it is called on is not known: its name alone.
        self.note(&[format!(".{}", call.method)], call.method.span(), None);
        visit::visit_expr_method_call(self, call);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.note(&segments(path), path.span(), None);
        visit::visit_path(self, path);
    }

    fn visit_attribute(&mut self, _: &'ast Attribute) {}

    /// Who may see something names nobody.
    fn visit_visibility(&mut self, _: &'ast Visibility) {}

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.note(&segments(&call.path), call.path.span(), None);
        if !call.path.is_ident("matches") {
            return self.tokens(call.tokens.clone());
        }
        // The pattern begins behind the first comma.
        let is_comma = |token: &TokenTree| matches!(token, TokenTree::Punct(punct) if punct.as_char() == ',');
        let tokens: Vec<TokenTree> = call.tokens.clone().into_iter().collect();
        let comma = tokens.iter().position(is_comma).unwrap_or(tokens.len());
        self.tokens(tokens.iter().take(comma).cloned().collect());
        self.depth_asked += 1;
        self.tokens(tokens.iter().skip(comma).cloned().collect());
        self.depth_asked -= 1;
    }

    fn visit_pat(&mut self, pattern: &'ast Pat) {
        self.depth_asked += 1;
        visit::visit_pat(self, pattern);
        self.depth_asked -= 1;
    }

    fn visit_expr_binary(&mut self, binary: &'ast syn::ExprBinary) {
        let compares = matches!(binary.op, BinOp::Eq(_) | BinOp::Ne(_));
        for side in [&binary.left, &binary.right] {
            let is_asked = compares && is_name(side);
            self.depth_asked += usize::from(is_asked);
            self.visit_expr(side);
            self.depth_asked -= usize::from(is_asked);
        }
    }

    fn visit_lit_str(&mut self, text: &'ast LitStr) {
        self.text(text);
    }
}

/// A path, also what a method without arguments makes of it.
fn is_name(expression: &Expr) -> bool {
    match expression {
        Expr::Path(_) => true,
        Expr::Reference(reference) => is_name(&reference.expr),
        Expr::Paren(paren) => is_name(&paren.expr),
        Expr::MethodCall(call) => call.args.is_empty() && is_name(&call.receiver),
        _ => false,
    }
}

fn segments(path: &syn::Path) -> Vec<String> {
    path.segments.iter().map(|segment| segment.ident.to_string()).collect()
}
