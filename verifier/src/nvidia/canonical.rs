//! Canonical XML 1.1 of the trees that `xml` reads: <http://www.w3.org/TR/xml-c14n11/>.
//!
//! Those trees hold no character that would have to be escaped and no attribute of the `xml`
//! namespace, so what is left is the order of namespaces and attributes, and empty elements
//! written with two tags.

use super::xml::{Child, Element, Namespace};

/// The canonical form of `apex` and all that is in it but the element `left_out`.
///
/// The apex carries every namespace that is in scope there, as the form asks for when a part of a
/// document is taken; of a root these are its own.
pub(super) fn canonical(apex: &Element<'_>, left_out: Option<&Element<'_>>) -> String {
    let mut out = String::new();
    write(apex, &[], left_out, &mut out);
    out
}

/// `outer`: what the parent has in scope, and so has been written. Depth is bounded by `xml`.
fn write(
    element: &Element<'_>,
    outer: &[Namespace<'_>],
    left_out: Option<&Element<'_>>,
    out: &mut String,
) {
    push(out, &["<", element.name]);
    let new = element.scope.iter().filter(|known| !outer.contains(known));
    for Namespace { prefix, uri } in new {
        match *prefix {
            "" => push(out, &[" xmlns=\"", uri, "\""]),
            prefix => push(out, &[" xmlns:", prefix, "=\"", uri, "\""]),
        }
    }
    for attribute in &element.attributes {
        push(out, &[" ", attribute.name, "=\"", attribute.value, "\""]);
    }
    out.push('>');
    for child in &element.children {
        match child {
            Child::Element(inner) if left_out.is_some_and(|it| core::ptr::eq(it, inner)) => {}
            Child::Element(inner) => write(inner, &element.scope, left_out, out),
            Child::Text(text) => out.push_str(text),
        }
    }
    push(out, &["</", element.name, ">"]);
}

fn push(out: &mut String, parts: &[&str]) {
    parts.iter().for_each(|part| out.push_str(part));
}
