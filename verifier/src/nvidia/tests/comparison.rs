//! Comparison with readers and canonicalisers of others, over genuine documents and changed ones.

use super::super::canonical::canonical;
use super::super::xml::{self, Child, Element};
use super::{BAD_CHAIN, GENUINE, simulated};

/// What another reader of XML makes of a text: names, attributes and texts in their order.
fn read_by_another(node: roxmltree::Node<'_, '_>, out: &mut String) {
    let name = node.tag_name();
    *out += &format!("<{:?} {}", name.namespace().unwrap_or(""), name.name());
    let mut attributes: Vec<_> = node
        .attributes()
        .map(|a| (a.namespace().unwrap_or(""), a.name(), a.value()))
        .collect();
    attributes.sort_unstable();
    *out += &format!("{attributes:?}>");
    for child in node.children() {
        if child.is_element() {
            read_by_another(child, out);
        } else {
            *out += child.text().unwrap();
        }
    }
    *out += "</>";
}

fn read_here(element: &Element<'_>, out: &mut String) {
    *out += &format!("<{:?} {}", element.namespace, element.local);
    let attributes: Vec<_> = element
        .attributes
        .iter()
        .map(|a| (a.namespace, a.local, a.value))
        .collect();
    *out += &format!("{attributes:?}>");
    for child in &element.children {
        match child {
            Child::Element(inner) => read_here(inner, out),
            Child::Text(text) => *out += text,
        }
    }
    *out += "</>";
}

#[test]
fn another_reader_sees_the_same_document_wherever_this_one_sees_any() {
    let (rim, _) = simulated();
    let mut accepted = 0;
    let documents = GENUINE.iter().map(|(document, ..)| *document);
    for document in documents.chain([rim.document.as_slice()]) {
        let mut text = document.to_vec();
        let places = (0..text.len()).step_by(97).chain(0..700);
        // Unchanged first, then with one byte changed into another that means something.
        for (number, at) in [(0, usize::MAX)].into_iter().chain(places.enumerate()) {
            let kept = text.get(at).copied();
            if let Some(byte) = text.get_mut(at) {
                *byte = b" \n\t<>/=\"':&x"[number % 12];
            }
            if let Some(root) = xml::parse(&text) {
                let source = std::str::from_utf8(&text).unwrap();
                let other = roxmltree::Document::parse(source).unwrap();
                let (mut here, mut there) = (String::new(), String::new());
                read_here(&root, &mut here);
                read_by_another(other.root_element(), &mut there);
                assert_eq!(here, there);
                accepted += 1;
            }
            if let (Some(byte), Some(kept)) = (text.get_mut(at), kept) {
                *byte = kept;
            }
        }
    }
    assert!(accepted > 500, "{accepted}");
}

#[test]
fn another_canonicaliser_gives_the_same_bytes() {
    use bergshamra_c14n::{C14nMode, canonicalize};
    let (rim, _) = simulated();
    let mut compared = 0;
    let documents = GENUINE.iter().map(|(document, ..)| *document);
    for document in documents.chain([rim.document.as_slice(), BAD_CHAIN]) {
        let mut text = document.to_vec();
        for at in (0..text.len()).step_by(701) {
            // Unchanged where nothing can be read otherwise.
            let kept = text[at];
            text[at] = b" \n9z\"/"[at % 6];
            if xml::parse(&text).is_none() {
                text[at] = kept;
            }
            let root = xml::parse(&text);
            let source = std::str::from_utf8(&text).unwrap();
            let other = canonicalize::<&str>(source, C14nMode::Inclusive11, None, &[]).unwrap();
            assert_eq!(canonical(&root.unwrap(), None).as_bytes(), other);
            compared += 1;
            text[at] = kept;
        }
    }
    assert!(compared > 200, "{compared}");
}
