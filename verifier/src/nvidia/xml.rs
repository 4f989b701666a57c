//! Reads the small part of XML that NVIDIA's manifests are written in, into a tree, within bounds.
//!
//! Refused although XML allows it, because no manifest has it: other characters than printable
//! ASCII, tabs and line feeds; references (`&`); document types, comments, processing instructions
//! and CDATA; `>` in texts; quotes, tabs and line feeds in attributes. What is left looks the same
//! before and after canonicalisation but for the order of attributes and empty elements, see
//! `canonical`. Reasons: docs/decisions/2026-11-26-manifest-signatures.md.

/// Bounds, each far above what manifests need (depth 6, 75 elements, 12 attributes).
const MAX_DEPTH: usize = 8;
const MAX_ELEMENTS: usize = 2048;
const MAX_ATTRIBUTES: usize = 128;
const MAX_NAMESPACES: usize = 16;

/// The only spellings of a declaration that are read; the canonical form has none.
const DECLARATIONS: [&str; 4] = [
    r#"<?xml version="1.0" encoding="UTF-8"?>"#,
    r#"<?xml version="1.0" encoding="utf-8"?>"#,
    r#"<?xml version="1.0"?>"#,
    "<?xml version='1.0' encoding='UTF-8'?>",
];

/// A prefix and the namespace that it stands for; the empty prefix is the default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Namespace<'a> {
    pub(super) prefix: &'a str,
    pub(super) uri: &'a str,
}

/// An attribute that is not a namespace's declaration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Attribute<'a> {
    /// With its prefix, as written.
    pub(super) name: &'a str,
    /// Empty without a prefix.
    pub(super) namespace: &'a str,
    pub(super) local: &'a str,
    pub(super) value: &'a str,
}

/// What stands in an element.
#[derive(Debug)]
pub(super) enum Child<'a> {
    Element(Element<'a>),
    Text(&'a str),
}

/// An element with all that is in it.
#[derive(Debug)]
pub(super) struct Element<'a> {
    /// With its prefix, as written.
    pub(super) name: &'a str,
    pub(super) namespace: &'a str,
    pub(super) local: &'a str,
    /// Every namespace that is in scope, by prefix.
    pub(super) scope: Vec<Namespace<'a>>,
    /// By namespace and local name.
    pub(super) attributes: Vec<Attribute<'a>>,
    pub(super) children: Vec<Child<'a>>,
}

impl<'a> Element<'a> {
    /// The elements in it, which must be all but white space.
    pub(super) fn elements(&self) -> Option<Vec<&Element<'a>>> {
        let blank = self.children.iter().all(|child| match child {
            Child::Element(_) => true,
            Child::Text(text) => is_blank(text),
        });
        blank.then(|| self.inner().collect())
    }

    /// The elements in it, whatever stands between them.
    pub(super) fn inner(&self) -> impl Iterator<Item = &Element<'a>> {
        self.children.iter().filter_map(|child| match child {
            Child::Element(element) => Some(element),
            Child::Text(_) => None,
        })
    }

    /// The text in it, which must be all.
    pub(super) fn text(&self) -> Option<&'a str> {
        match self.children.as_slice() {
            [Child::Text(text)] => Some(text),
            _ => None,
        }
    }

    pub(super) fn is(&self, namespace: &str, local: &str) -> bool {
        self.namespace == namespace && self.local == local
    }

    /// The value of an attribute.
    pub(super) fn attribute(&self, namespace: &str, local: &str) -> Option<&'a str> {
        let mut attributes = self.attributes.iter();
        attributes
            .find(|attribute| attribute.namespace == namespace && attribute.local == local)
            .map(|attribute| attribute.value)
    }
}

/// Parses a whole document and returns its root; `None` when it is not XML of this form.
pub(super) fn parse(bytes: &[u8]) -> Option<Element<'_>> {
    let readable = |byte: &u8| matches!(byte, b'\n' | b'\t' | b' '..=b'~') && *byte != b'&';
    if !bytes.iter().all(readable) {
        return None;
    }
    let text = core::str::from_utf8(bytes).ok()?;
    let declaration = DECLARATIONS
        .iter()
        .find_map(|known| text.strip_prefix(known));
    let mut reader = XmlReader {
        rest: declaration.unwrap_or(text).trim_start_matches(WHITE),
        open: Vec::new(),
        elements: 0,
        root: None,
    };
    while reader.root.is_none() {
        reader.step()?;
    }
    reader.root.filter(|_| is_blank(reader.rest))
}

const WHITE: [char; 3] = [' ', '\n', '\t'];

struct XmlReader<'a> {
    rest: &'a str,
    /// Elements whose end has not come yet, outermost first.
    open: Vec<Element<'a>>,
    elements: usize,
    /// Once it is complete.
    root: Option<Element<'a>>,
}

impl<'a> XmlReader<'a> {
    /// Reads one tag or text.
    fn step(&mut self) -> Option<()> {
        if self.expect("</").is_some() {
            return self.end_tag();
        }
        if self.expect("<").is_some() {
            return self.start_tag();
        }
        let end = self.rest.find('<')?;
        let text = self.take(end)?;
        let parent = self.open.last_mut()?;
        if text.contains('>') {
            return None;
        }
        parent.children.push(Child::Text(text));
        Some(())
    }

    fn end_tag(&mut self) -> Option<()> {
        let name = self.name()?;
        self.skip_white();
        self.expect(">")?;
        let element = self.open.pop()?;
        (element.name == name).then(|| self.close(element))
    }

    fn start_tag(&mut self) -> Option<()> {
        self.elements = self.elements.saturating_add(1);
        if self.elements > MAX_ELEMENTS || self.open.len() >= MAX_DEPTH {
            return None;
        }
        let name = self.name()?;
        let mut written = Vec::new();
        loop {
            let separated = self.skip_white();
            if self.rest.starts_with(['/', '>']) {
                break;
            }
            if !separated || written.len() >= MAX_ATTRIBUTES {
                return None;
            }
            written.push(self.attribute()?);
        }
        let outer = self.open.last().map(|parent| parent.scope.as_slice());
        let element = element(name, &written, outer.unwrap_or_default())?;
        if self.expect("/>").is_some() {
            self.close(element);
            return Some(());
        }
        self.expect(">")?;
        self.open.push(element);
        Some(())
    }

    fn close(&mut self, element: Element<'a>) {
        match self.open.last_mut() {
            Some(parent) => parent.children.push(Child::Element(element)),
            None => self.root = Some(element),
        }
    }

    fn attribute(&mut self) -> Option<(&'a str, &'a str)> {
        let name = self.name()?;
        self.expect("=")?;
        let quote = self.rest.chars().next();
        let quote = quote.filter(|quote| matches!(quote, '"' | '\''))?;
        self.take(1)?;
        let end = self.rest.find(quote)?;
        let value = self.take(end)?;
        self.take(1)?;
        if value.contains(['<', '"', '\n', '\t']) {
            return None;
        }
        Some((name, value))
    }

    fn name(&mut self) -> Option<&'a str> {
        let part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | ':');
        let end = self.rest.find(|c| !part(c))?;
        self.take(end)
    }

    fn skip_white(&mut self) -> bool {
        let rest = self.rest.trim_start_matches(WHITE);
        let moved = rest.len() < self.rest.len();
        self.rest = rest;
        moved
    }

    /// Goes on behind `text`; where that does not stand, nothing moves.
    fn expect(&mut self, text: &str) -> Option<()> {
        self.rest = self.rest.strip_prefix(text)?;
        Some(())
    }

    fn take(&mut self, length: usize) -> Option<&'a str> {
        let (taken, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(taken)
    }
}

/// Tells declarations of namespaces from attributes, and resolves every prefix.
fn element<'a>(
    name: &'a str,
    written: &[(&'a str, &'a str)],
    outer: &[Namespace<'a>],
) -> Option<Element<'a>> {
    let scope = scope(written, outer)?;
    let uri = |prefix: &str| {
        let mut known = scope.iter();
        let known = known.find(|known| known.prefix == prefix)?;
        Some(known.uri)
    };
    // Without a prefix an element is in the default namespace, an attribute in none.
    let resolve = |name: &'a str, without: &'a str| match split(name)? {
        ("", local) => Some((without, local)),
        (prefix, local) => Some((uri(prefix)?, local)),
    };
    let (namespace, local) = resolve(name, uri("").unwrap_or(""))?;
    let mut attributes = Vec::new();
    for (name, value) in written.iter().filter(|(name, _)| declares(name).is_none()) {
        let (namespace, local) = resolve(name, "")?;
        attributes.push(Attribute {
            name,
            namespace,
            local,
            value,
        });
    }
    let key = |attribute: &Attribute<'a>| (attribute.namespace, attribute.local);
    attributes.sort_unstable_by_key(key);
    if !attributes.is_sorted_by(|one, other| key(one) < key(other)) {
        return None;
    }
    Some(Element {
        name,
        namespace,
        local,
        scope,
        attributes,
        children: Vec::new(),
    })
}

fn scope<'a>(
    written: &[(&'a str, &'a str)],
    outer: &[Namespace<'a>],
) -> Option<Vec<Namespace<'a>>> {
    let mut declared: Vec<Namespace<'a>> = Vec::new();
    for (name, uri) in written {
        let Some(prefix) = declares(name) else {
            continue;
        };
        let again = declared.iter().any(|known| known.prefix == prefix);
        let named = *name == "xmlns" || split(name).is_some();
        if !named || again || uri.is_empty() || matches!(prefix, "xml" | "xmlns") {
            return None;
        }
        declared.push(Namespace { prefix, uri });
    }
    let kept = |known: &&Namespace<'a>| !declared.iter().any(|new| new.prefix == known.prefix);
    let kept: Vec<_> = outer.iter().filter(kept).copied().collect();
    declared.extend(kept);
    declared.sort_unstable_by_key(|namespace| namespace.prefix);
    (declared.len() <= MAX_NAMESPACES).then_some(declared)
}

/// The prefix that an attribute of this name declares.
fn declares(name: &str) -> Option<&str> {
    match name.strip_prefix("xmlns")? {
        "" => Some(""),
        rest => rest.strip_prefix(':'),
    }
}

/// Prefix and local name, each of them a name.
fn split(name: &str) -> Option<(&str, &str)> {
    let is_name = |part: &str| {
        let mut characters = part.chars();
        let first = |c: char| c.is_ascii_alphabetic() || c == '_';
        characters.next().is_some_and(first) && !part.contains(':')
    };
    let (prefix, local) = name.split_once(':').unwrap_or(("", name));
    let named = !name.contains(':') || is_name(prefix);
    (named && is_name(local)).then_some((prefix, local))
}

fn is_blank(text: &str) -> bool {
    text.trim_start_matches(WHITE).is_empty()
}
