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

/// Not XML of this form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

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
    pub(super) fn elements(&self) -> Result<Vec<&Element<'a>>, Malformed> {
        let blank = self.children.iter().all(|child| match child {
            Child::Element(_) => true,
            Child::Text(text) => is_blank(text),
        });
        blank.then(|| self.inner().collect()).ok_or(Malformed)
    }

    /// The elements in it, whatever stands between them.
    pub(super) fn inner(&self) -> impl Iterator<Item = &Element<'a>> {
        self.children.iter().filter_map(|child| match child {
            Child::Element(element) => Some(element),
            Child::Text(_) => None,
        })
    }

    /// The text in it, which must be all.
    pub(super) fn text(&self) -> Result<&'a str, Malformed> {
        match self.children.as_slice() {
            [Child::Text(text)] => Ok(text),
            _ => Err(Malformed),
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

/// Parses a whole document and returns its root.
pub(super) fn parse(bytes: &[u8]) -> Result<Element<'_>, Malformed> {
    let readable = |byte: &u8| matches!(byte, b'\n' | b'\t' | b' '..=b'~') && *byte != b'&';
    if !bytes.iter().all(readable) {
        return Err(Malformed);
    }
    let text = core::str::from_utf8(bytes).map_err(|_| Malformed)?;
    let declaration = DECLARATIONS
        .iter()
        .find_map(|known| text.strip_prefix(known));
    let mut reader = XmlReader {
        rest: declaration.unwrap_or(text).trim_start_matches(WHITE),
        open: Vec::new(),
        elements: 0,
    };
    loop {
        if let Some(root) = reader.step()? {
            return is_blank(reader.rest).then_some(root).ok_or(Malformed);
        }
    }
}

const WHITE: [char; 3] = [' ', '\n', '\t'];

struct XmlReader<'a> {
    rest: &'a str,
    /// Elements whose end has not come yet, outermost first.
    open: Vec<Element<'a>>,
    elements: usize,
}

impl<'a> XmlReader<'a> {
    /// Reads one tag or text; the root, once it is complete.
    fn step(&mut self) -> Result<Option<Element<'a>>, Malformed> {
        if let Some(rest) = self.rest.strip_prefix("</") {
            self.rest = rest;
            return self.end_tag();
        }
        if let Some(rest) = self.rest.strip_prefix('<') {
            self.rest = rest;
            return self.start_tag();
        }
        let end = self.rest.find('<').ok_or(Malformed)?;
        let text = self.take(end)?;
        let parent = self.open.last_mut().ok_or(Malformed)?;
        if text.contains('>') {
            return Err(Malformed);
        }
        parent.children.push(Child::Text(text));
        Ok(None)
    }

    fn end_tag(&mut self) -> Result<Option<Element<'a>>, Malformed> {
        let name = self.name()?;
        self.skip_white();
        self.expect(">")?;
        let element = self.open.pop().ok_or(Malformed)?;
        if element.name != name {
            return Err(Malformed);
        }
        Ok(self.close(element))
    }

    fn start_tag(&mut self) -> Result<Option<Element<'a>>, Malformed> {
        self.elements = self.elements.saturating_add(1);
        if self.elements > MAX_ELEMENTS || self.open.len() >= MAX_DEPTH {
            return Err(Malformed);
        }
        let name = self.name()?;
        let mut written = Vec::new();
        loop {
            let separated = self.skip_white();
            if self.rest.starts_with(['/', '>']) {
                break;
            }
            if !separated || written.len() >= MAX_ATTRIBUTES {
                return Err(Malformed);
            }
            written.push(self.attribute()?);
        }
        let outer = self.open.last().map(|parent| parent.scope.as_slice());
        let element = element(name, &written, outer.unwrap_or_default())?;
        if let Some(rest) = self.rest.strip_prefix("/>") {
            self.rest = rest;
            return Ok(self.close(element));
        }
        self.expect(">")?;
        self.open.push(element);
        Ok(None)
    }

    fn close(&mut self, element: Element<'a>) -> Option<Element<'a>> {
        match self.open.last_mut() {
            Some(parent) => {
                parent.children.push(Child::Element(element));
                None
            }
            None => Some(element),
        }
    }

    fn attribute(&mut self) -> Result<(&'a str, &'a str), Malformed> {
        let name = self.name()?;
        self.expect("=")?;
        let quote = match self.rest.chars().next() {
            Some(quote @ ('"' | '\'')) => quote,
            Some(_) | None => return Err(Malformed),
        };
        self.take(1)?;
        let end = self.rest.find(quote).ok_or(Malformed)?;
        let value = self.take(end)?;
        self.take(1)?;
        if value.contains(['<', '"', '\n', '\t']) {
            return Err(Malformed);
        }
        Ok((name, value))
    }

    fn name(&mut self) -> Result<&'a str, Malformed> {
        let part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | ':');
        let end = self.rest.find(|c| !part(c)).ok_or(Malformed)?;
        self.take(end)
    }

    fn skip_white(&mut self) -> bool {
        let rest = self.rest.trim_start_matches(WHITE);
        let moved = rest.len() < self.rest.len();
        self.rest = rest;
        moved
    }

    fn expect(&mut self, text: &str) -> Result<(), Malformed> {
        self.rest = self.rest.strip_prefix(text).ok_or(Malformed)?;
        Ok(())
    }

    fn take(&mut self, length: usize) -> Result<&'a str, Malformed> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(Malformed)?;
        self.rest = rest;
        Ok(taken)
    }
}

/// Tells declarations of namespaces from attributes, and resolves every prefix.
fn element<'a>(
    name: &'a str,
    written: &[(&'a str, &'a str)],
    outer: &[Namespace<'a>],
) -> Result<Element<'a>, Malformed> {
    let scope = scope(written, outer)?;
    let (prefix, local) = split(name)?;
    let namespace = match prefix {
        "" => resolve(&scope, "").unwrap_or(""),
        prefix => resolve(&scope, prefix).ok_or(Malformed)?,
    };
    let mut attributes = Vec::new();
    for (name, value) in written.iter().filter(|(name, _)| declares(name).is_none()) {
        let (prefix, local) = split(name)?;
        attributes.push(Attribute {
            name,
            // Without a prefix an attribute is in no namespace, not in the default one.
            namespace: match prefix {
                "" => "",
                prefix => resolve(&scope, prefix).ok_or(Malformed)?,
            },
            local,
            value,
        });
    }
    let key = |attribute: &Attribute<'a>| (attribute.namespace, attribute.local);
    attributes.sort_unstable_by_key(key);
    if !attributes.is_sorted_by(|one, other| key(one) < key(other)) {
        return Err(Malformed);
    }
    Ok(Element {
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
) -> Result<Vec<Namespace<'a>>, Malformed> {
    let mut declared: Vec<Namespace<'a>> = Vec::new();
    for (name, uri) in written {
        let Some(prefix) = declares(name) else {
            continue;
        };
        let again = declared.iter().any(|known| known.prefix == prefix);
        let named = *name == "xmlns" || split(name).is_ok();
        if !named || again || uri.is_empty() || matches!(prefix, "xml" | "xmlns") {
            return Err(Malformed);
        }
        declared.push(Namespace { prefix, uri });
    }
    let kept = |known: &&Namespace<'a>| !declared.iter().any(|new| new.prefix == known.prefix);
    let kept: Vec<_> = outer.iter().filter(kept).copied().collect();
    declared.extend(kept);
    declared.sort_unstable_by_key(|namespace| namespace.prefix);
    if declared.len() > MAX_NAMESPACES {
        return Err(Malformed);
    }
    Ok(declared)
}

/// The prefix that an attribute of this name declares.
fn declares(name: &str) -> Option<&str> {
    match name.strip_prefix("xmlns") {
        Some("") => Some(""),
        Some(rest) => rest.strip_prefix(':'),
        None => None,
    }
}

/// Prefix and local name, each of them a name.
fn split(name: &str) -> Result<(&str, &str), Malformed> {
    let is_name = |part: &str| {
        let mut characters = part.chars();
        let first = |c: char| c.is_ascii_alphabetic() || c == '_';
        characters.next().is_some_and(first) && !part.contains(':')
    };
    let (prefix, local) = name.split_once(':').unwrap_or(("", name));
    let named = !name.contains(':') || is_name(prefix);
    (named && is_name(local))
        .then_some((prefix, local))
        .ok_or(Malformed)
}

fn resolve<'a>(scope: &[Namespace<'a>], prefix: &str) -> Option<&'a str> {
    let mut known = scope.iter();
    known
        .find(|namespace| namespace.prefix == prefix)
        .map(|namespace| namespace.uri)
}

fn is_blank(text: &str) -> bool {
    text.trim_start_matches(WHITE).is_empty()
}
