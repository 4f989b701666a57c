//! Which small faults a source can have, and where.
//!
//! Faults are texts that stand instead of an expression or a statement. Nothing is said about
//! types: what does not compile is dropped by the compiler's word.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "the grammar is syn's; a few of its forms have faults"
)]

use std::ops::Range;

use proc_macro2::Span;
use syn::spanned::Spanned as _;
use syn::visit::{self, Visit};
use syn::{BinOp, Expr, ImplItemFn, ItemFn, Lit, ReturnType, Signature, Stmt, UnOp};

/// Where a fault stands, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Form {
    /// Instead of an expression.
    Expression,
    /// Instead of a statement, which is left out where the text is empty.
    Statement,
    /// At the beginning of a function's body.
    Entry,
    /// A condition more for an arm of a `match`: behind its pattern or its guard.
    Arm,
}

/// A small fault.
#[derive(Debug, Clone)]
pub(crate) struct Fault {
    pub(crate) form: Form,
    /// The bytes of the source that it is about.
    pub(crate) range: Range<usize>,
    pub(crate) function: String,
    pub(crate) line: usize,
    pub(crate) column: usize,
    /// What stands there, and what would.
    pub(crate) from: String,
    pub(crate) to: String,
}

/// Every fault of one source.
pub(crate) fn faults(source: &str) -> syn::Result<Vec<Fault>> {
    let file = syn::parse_file(source)?;
    let mut finder = Finder {
        source,
        functions: Vec::new(),
        faults: Vec::new(),
    };
    finder.visit_file(&file);
    Ok(finder.faults)
}

struct Finder<'s> {
    source: &'s str,
    functions: Vec<String>,
    faults: Vec<Fault>,
}

/// Methods that say yes or no.
const QUESTIONS: &[&str] = &[
    "is_some",
    "is_none",
    "is_ok",
    "is_err",
    "is_some_and",
    "is_none_or",
    "is_ok_and",
    "is_empty",
    "is_zero",
    "contains",
    "contains_key",
    "starts_with",
    "ends_with",
    "any",
    "all",
    "eq",
    "ne",
    "accepts",
    "tolerates",
    "is_gpu",
    "is_multiple_of",
    "is_ascii_digit",
    "is_ascii_whitespace",
    "is_ascii_alphanumeric",
    "is_ascii_alphabetic",
    "is_ascii_uppercase",
    "is_ascii_hexdigit",
];

/// Methods that may be taken for each other.
const SWAPS: &[(&str, &str)] = &[
    ("min", "max"),
    ("max", "min"),
    ("any", "all"),
    ("all", "any"),
    ("first", "last"),
    ("last", "first"),
    ("saturating_add", "saturating_sub"),
    ("saturating_sub", "saturating_add"),
    ("checked_add", "checked_sub"),
    ("checked_sub", "checked_add"),
    ("wrapping_add", "wrapping_sub"),
    ("min_by_key", "max_by_key"),
    ("max_by_key", "min_by_key"),
    ("from_be_bytes", "from_le_bytes"),
    ("from_le_bytes", "from_be_bytes"),
];

impl Finder<'_> {
    fn text(&self, range: &Range<usize>) -> String {
        self.source
            .get(range.clone())
            .unwrap_or_default()
            .to_owned()
    }

    fn at(&self, span: Span) -> String {
        self.text(&span.byte_range())
    }

    fn add(&mut self, form: Form, span: Span, to: impl Into<String>) {
        let from = self.at(span);
        self.add_as(form, span, from, to);
    }

    fn add_as(&mut self, form: Form, span: Span, from: String, to: impl Into<String>) {
        let (start, function) = (span.start(), self.functions.last());
        if let Some(function) = function {
            self.faults.push(Fault {
                form,
                range: span.byte_range(),
                function: function.clone(),
                line: start.line,
                column: start.column,
                from,
                to: to.into(),
            });
        }
    }

    fn function(&mut self, signature: &Signature, block: &syn::Block) {
        if signature.constness.is_some() {
            return;
        }
        self.functions.push(signature.ident.to_string());
        for value in results_of(&signature.output) {
            let from = "the function's result".to_owned();
            self.add_as(Form::Entry, block.brace_token.span.open(), from, value);
        }
        visit::visit_block(self, block);
        self.functions.pop();
    }

    fn binary(&mut self, binary: &syn::ExprBinary) {
        let others: &[&str] = match binary.op {
            BinOp::Eq(_) => &["!="],
            BinOp::Ne(_) => &["=="],
            BinOp::Lt(_) => &["<=", ">="],
            BinOp::Le(_) => &["<", ">"],
            BinOp::Gt(_) => &[">=", "<="],
            BinOp::Ge(_) => &[">", "<"],
            BinOp::And(_) => &["||"],
            BinOp::Or(_) => &["&&"],
            BinOp::BitAnd(_) => &["|"],
            BinOp::BitOr(_) => &["&"],
            BinOp::BitXor(_) => &["|"],
            BinOp::Shl(_) => &[">>"],
            BinOp::Shr(_) => &["<<"],
            BinOp::Add(_) => &["-"],
            BinOp::Sub(_) => &["+"],
            BinOp::Mul(_) => &["/"],
            BinOp::Div(_) => &["*"],
            BinOp::Rem(_) => &["/"],
            _ => &[],
        };
        if has_let(&binary.left) || has_let(&binary.right) {
            return;
        }
        let (left, right) = (self.at(binary.left.span()), self.at(binary.right.span()));
        for other in others {
            let text = format!("({left}) {other} ({right})");
            self.add(Form::Expression, binary.span(), text);
        }
    }

    fn condition(&mut self, condition: &Expr) {
        // Comparisons have faults of their own, and `let` has no opposite.
        if !has_let(condition) && !matches!(condition, Expr::Binary(_)) {
            let text = format!("!({})", self.at(condition.span()));
            self.add(Form::Expression, condition.span(), text);
        }
    }

    fn method(&mut self, call: &syn::ExprMethodCall) {
        let name = call.method.to_string();
        let all = self.at(call.span());
        if QUESTIONS.contains(&name.as_str()) {
            self.add(Form::Expression, call.span(), format!("!({all})"));
        }
        let start = call.span().byte_range().start;
        let method = call.method.span().byte_range();
        let part = |range| self.text(&range);
        let before = part(start..method.start);
        let behind = part(method.end..call.span().byte_range().end);
        for (from, to) in SWAPS {
            if name == *from {
                let text = format!("{before}{to}{behind}");
                self.add(Form::Expression, call.span(), text);
            }
        }
    }

    fn literal(&mut self, literal: &syn::ExprLit) {
        let span = literal.span();
        match &literal.lit {
            Lit::Int(number) => {
                let Ok(value) = number.base10_parse::<u128>() else {
                    return;
                };
                let suffix = number.suffix();
                let up = value.saturating_add(1);
                self.add(Form::Expression, span, format!("{up}{suffix}"));
                if let Some(down) = value.checked_sub(1) {
                    self.add(Form::Expression, span, format!("{down}{suffix}"));
                }
            }
            Lit::Bool(value) => {
                let other = (!value.value).to_string();
                self.add(Form::Expression, span, other);
            }
            _ => {}
        }
    }

    fn arms(&mut self, arms: &[syn::Arm]) {
        let last = arms.last();
        let catches_all = last.is_some_and(|arm| arm.guard.is_none() && catches_all(&arm.pat));
        for arm in arms {
            let pattern = self.at(arm.pat.span());
            if let Some((_, guard)) = &arm.guard {
                if !has_let(guard) {
                    for value in ["true", "false"] {
                        self.add(Form::Expression, guard.span(), value);
                    }
                }
            } else if catches_all && !self::catches_all(&arm.pat) {
                self.add_as(Form::Arm, arm.pat.span(), pattern, "no such arm");
            }
        }
    }
}

impl<'a> Visit<'a> for Finder<'_> {
    fn visit_item_mod(&mut self, module: &'a syn::ItemMod) {
        if !module.attrs.iter().any(is_test) {
            visit::visit_item_mod(self, module);
        }
    }

    fn visit_item_fn(&mut self, function: &'a ItemFn) {
        if !function.attrs.iter().any(is_test) {
            self.function(&function.sig, &function.block);
        }
    }

    fn visit_impl_item_fn(&mut self, function: &'a ImplItemFn) {
        if !function.attrs.iter().any(is_test) {
            self.function(&function.sig, &function.block);
        }
    }

    // What the compiler computes cannot ask for a number at run time.
    fn visit_item_const(&mut self, _: &'a syn::ItemConst) {}
    fn visit_item_static(&mut self, _: &'a syn::ItemStatic) {}
    fn visit_impl_item_const(&mut self, _: &'a syn::ImplItemConst) {}
    fn visit_type(&mut self, _: &'a syn::Type) {}
    fn visit_pat(&mut self, _: &'a syn::Pat) {}
    fn visit_attribute(&mut self, _: &'a syn::Attribute) {}
    fn visit_generic_argument(&mut self, _: &'a syn::GenericArgument) {}
    fn visit_variant(&mut self, _: &'a syn::Variant) {}
    fn visit_expr_repeat(&mut self, repeat: &'a syn::ExprRepeat) {
        self.visit_expr(&repeat.expr);
    }

    fn visit_stmt(&mut self, statement: &'a Stmt) {
        let leaves_out = match statement {
            Stmt::Expr(expression, Some(_)) => match expression {
                Expr::Call(_) | Expr::MethodCall(_) | Expr::Assign(_) => Some(String::new()),
                Expr::Try(tried) => {
                    let text = self.at(tried.expr.span());
                    self.add(
                        Form::Statement,
                        statement.span(),
                        format!("let _ = {text};"),
                    );
                    Some(String::new())
                }
                Expr::Binary(binary) if is_assignment(&binary.op) => Some(String::new()),
                _ => None,
            },
            _ => None,
        };
        if let Some(text) = leaves_out {
            self.add(Form::Statement, statement.span(), text);
        }
        visit::visit_stmt(self, statement);
    }

    fn visit_expr(&mut self, expression: &'a Expr) {
        match expression {
            Expr::Binary(binary) => self.binary(binary),
            Expr::Unary(unary) => {
                if let UnOp::Not(_) = unary.op {
                    let text = self.at(unary.expr.span());
                    self.add(Form::Expression, unary.span(), text);
                }
            }
            Expr::If(branch) => self.condition(&branch.cond),
            Expr::While(repeated) => self.condition(&repeated.cond),
            Expr::MethodCall(call) => self.method(call),
            Expr::Match(choice) => self.arms(&choice.arms),
            Expr::Lit(literal) => self.literal(literal),
            Expr::Macro(call) if call.mac.path.is_ident("matches") => {
                let text = format!("!{}", self.at(call.span()));
                self.add(Form::Expression, call.span(), text);
            }
            _ => {}
        }
        visit::visit_expr(self, expression);
    }
}

/// What a function of this type might return instead.
fn results_of(output: &ReturnType) -> Vec<String> {
    let ReturnType::Type(_, of) = output else {
        return vec!["return;".to_owned()];
    };
    let values = values_of(of);
    values
        .iter()
        .map(|value| format!("return {value};"))
        .collect()
}

fn values_of(of: &syn::Type) -> Vec<String> {
    let syn::Type::Path(path) = of else {
        return match of {
            syn::Type::Tuple(parts) if parts.elems.is_empty() => vec!["()".to_owned()],
            _ => Vec::new(),
        };
    };
    let Some(last) = path.path.segments.last() else {
        return Vec::new();
    };
    let inner: Vec<String> = match &last.arguments {
        syn::PathArguments::AngleBracketed(arguments) => {
            let types = arguments.args.iter().filter_map(|argument| match argument {
                syn::GenericArgument::Type(of) => Some(of),
                _ => None,
            });
            types.take(1).flat_map(values_of).collect()
        }
        _ => Vec::new(),
    };
    let wrapped = |name: &str| {
        inner
            .iter()
            .map(|value| format!("{name}({value})"))
            .collect()
    };
    match last.ident.to_string().as_str() {
        "bool" => vec!["true".to_owned(), "false".to_owned()],
        "Result" => wrapped("Ok"),
        "Option" => {
            let mut all: Vec<String> = wrapped("Some");
            all.push("None".to_owned());
            all
        }
        "u8" | "u16" | "u32" | "u64" | "usize" => vec!["0".to_owned(), "1".to_owned()],
        "Vec" | "String" => vec![format!("{}::new()", last.ident)],
        _ => vec!["Default::default()".to_owned()],
    }
}

/// A pattern that takes whatever is left; what begins with a capital is a name of something else.
fn catches_all(pattern: &syn::Pat) -> bool {
    match pattern {
        syn::Pat::Wild(_) => true,
        syn::Pat::Ident(name) => {
            let text = name.ident.to_string();
            name.subpat.is_none() && !text.starts_with(|first: char| first.is_uppercase())
        }
        _ => false,
    }
}

fn is_assignment(op: &BinOp) -> bool {
    matches!(
        op,
        BinOp::AddAssign(_) | BinOp::SubAssign(_) | BinOp::BitOrAssign(_) | BinOp::BitAndAssign(_)
    )
}

fn is_test(attribute: &syn::Attribute) -> bool {
    let syn::Meta::List(list) = &attribute.meta else {
        return attribute.path().is_ident("test");
    };
    list.path.is_ident("cfg") && list.tokens.to_string() == "test"
}

fn has_let(expression: &Expr) -> bool {
    struct Looks(bool);
    impl<'a> Visit<'a> for Looks {
        fn visit_expr_let(&mut self, _: &'a syn::ExprLet) {
            self.0 = true;
        }
        fn visit_expr_closure(&mut self, _: &'a syn::ExprClosure) {}
        fn visit_block(&mut self, _: &'a syn::Block) {}
    }
    let mut looks = Looks(false);
    looks.visit_expr(expression);
    looks.0
}
