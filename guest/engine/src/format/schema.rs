//! A JSON Schema, read into a grammar: the part of it that bounds can be kept for.
//!
//! What is taken is in docs/spec/serving.md, Answers in a form. A keyword that would narrow the
//! answers further is refused by its name; one that only describes is passed over. Every answer
//! after the grammar is one after the schema; the converse does not hold: members come in the order
//! of the schema, and an object that names members has no others.

use std::collections::HashMap;

use bounded_json::Json;
use zeroize::Zeroizing;

use super::grammar::{
    Grammar, Literal, MAX_NODES, Member, Members, NoGrammar, Node, NodeId, add_any, words,
};
use super::keywords::{Keywords, Kind};

/// Objects and lists within each other in a schema's text.
const MAX_SCHEMA_DEPTH: u32 = 32;
/// Values in a schema's text.
const MAX_SCHEMA_VALUES: u32 = 8192;
/// One name or literal, as it is written.
const MAX_LITERAL: usize = 4096;
/// Members of one object.
const MAX_MEMBERS: usize = 512;

/// A schema that no grammar is made of, and the keyword that is the reason, if one is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SchemaRefused {
    pub(crate) keyword: Option<String>,
}

pub(super) fn refused(keyword: &str) -> SchemaRefused {
    SchemaRefused {
        keyword: Some(keyword.to_owned()),
    }
}

const NAMELESS: SchemaRefused = SchemaRefused { keyword: None };

impl Grammar {
    /// Reads a schema.
    ///
    /// # Errors
    /// `SchemaRefused`.
    pub(crate) fn of_schema(text: &str) -> Result<Self, SchemaRefused> {
        let schema = parse(text)?;
        let mut reader = Reader::of(&schema);
        let root = reader.whole()?;
        Self::new(reader.nodes, root).map_err(no_grammar)
    }

    /// One call of one of these functions, each with its name and the schema of its arguments: an
    /// object of `name` and, under the name that is given, the arguments.
    ///
    /// # Errors
    /// `SchemaRefused`; also where a function's arguments are not an object.
    pub(crate) fn of_calls(
        functions: &[(&str, &str)],
        arguments: &str,
    ) -> Result<Self, SchemaRefused> {
        let (mut nodes, mut any, mut calls) = (Vec::new(), None, Vec::new());
        for (name, schema) in functions {
            let schema = parse(schema)?;
            let mut reader = Reader::of(&schema);
            (reader.nodes, reader.any) = (nodes, any);
            let given = reader.whole()?;
            if !reader.is_object(given) {
                return Err(refused("type"));
            }
            let name = reader.add(Node::Literals(vec![quoted(name)?]))?;
            let mut members = Members::default();
            for (member, value) in [("name", name), (arguments, given)] {
                let required = true;
                members.add(member, Member { value, required })?;
            }
            members.sort();
            calls.push(reader.add(Node::Object(members))?);
            (nodes, any) = (reader.nodes, reader.any);
        }
        let root = NodeId::try_from(nodes.len()).map_err(|_| NAMELESS)?;
        nodes.push(Node::Choice(calls));
        Self::new(nodes, root).map_err(no_grammar)
    }
}

fn parse(schema: &str) -> Result<Json, SchemaRefused> {
    let limits = bounded_json::Limits {
        depth: MAX_SCHEMA_DEPTH,
        values: MAX_SCHEMA_VALUES,
    };
    bounded_json::parse(schema.as_bytes(), limits).map_err(|_| NAMELESS)
}

fn no_grammar(error: NoGrammar) -> SchemaRefused {
    match error {
        NoGrammar::Endless => NAMELESS,
        NoGrammar::TooManyChoices => refused("anyOf"),
    }
}

struct Reader<'s> {
    schema: &'s Json,
    nodes: Vec<Node>,
    /// The node of any value, once it is needed.
    any: Option<NodeId>,
    /// Nodes of parts that are referred to.
    named: HashMap<&'s str, NodeId>,
    /// Parts that are referred to and not read yet, with their nodes.
    waiting: Vec<(&'s Json, NodeId)>,
}

impl<'s> Reader<'s> {
    fn of(schema: &'s Json) -> Self {
        Self {
            schema,
            nodes: Vec::new(),
            any: None,
            named: HashMap::new(),
            waiting: Vec::new(),
        }
    }

    /// The node of the whole schema.
    fn whole(&mut self) -> Result<NodeId, SchemaRefused> {
        let root = self.reference("#")?;
        while let Some((schema, id)) = self.waiting.pop() {
            let inner = self.value(schema)?;
            self.set(id, Node::Choice(vec![inner]));
        }
        Ok(root)
    }

    /// Whether nothing but objects are values of a node.
    fn is_object(&self, id: NodeId) -> bool {
        let mut id = id;
        // A schema that stands for another is a choice of one.
        for _ in 0..=self.nodes.len() {
            match self.nodes.get(usize::from(id)) {
                Some(Node::Object(_) | Node::Map { .. }) => return true,
                Some(Node::Choice(choices)) => match choices.as_slice() {
                    [one] => id = *one,
                    _ => return false,
                },
                Some(
                    Node::Literals(_) | Node::Text { .. } | Node::Number { .. } | Node::List { .. },
                )
                | None => return false,
            }
        }
        false
    }

    /// The node of a part of the schema.
    fn value(&mut self, schema: &'s Json) -> Result<NodeId, SchemaRefused> {
        if matches!(schema, Json::Bool(true)) {
            return self.any();
        }
        let Json::Object(members) = schema else {
            return Err(NAMELESS);
        };
        let keywords = Keywords::of(members)?;
        let alone = [
            ("$ref", keywords.reference.is_some()),
            ("anyOf", keywords.any_of.is_some()),
            ("allOf", keywords.all_of.is_some()),
            ("enum", keywords.literals.is_some()),
        ];
        if let Some((name, _)) = alone.iter().find(|(_, there)| *there) {
            if !keywords.only() {
                return Err(refused(name));
            }
            return self.alone(&keywords);
        }
        self.kinds(&keywords)
    }

    fn alone(&mut self, keywords: &Keywords<'s>) -> Result<NodeId, SchemaRefused> {
        if let Some(reference) = keywords.reference {
            return self.reference(reference);
        }
        if let Some((name, list)) = keywords.literals {
            let literals = literals(list, keywords.kinds.as_deref(), name)?;
            return self.add(Node::Literals(literals));
        }
        if let Some([one]) = keywords.all_of {
            return self.value(one);
        }
        let list = keywords.any_of.unwrap_or_default();
        if list.is_empty() {
            let name = keywords.any_of.map_or("allOf", |_| "anyOf");
            return Err(refused(name));
        }
        let choices = list.iter().map(|one| self.value(one));
        let choices = choices.collect::<Result<_, _>>()?;
        self.add(Node::Choice(choices))
    }

    /// What is left when no keyword stands alone: values of the kinds that are named or meant.
    fn kinds(&mut self, keywords: &Keywords<'s>) -> Result<NodeId, SchemaRefused> {
        let object = keywords.properties.is_some()
            || keywords.additional.is_some()
            || !keywords.required.is_empty();
        let list = keywords.items.is_some() || keywords.item_counts != [None; 2];
        let meant = if object {
            Kind::Object
        } else if list {
            Kind::List
        } else if keywords.lengths != [None; 2] {
            Kind::Text
        } else if keywords.kinds.is_none() {
            return self.any();
        } else {
            // Not looked at: kinds are named.
            Kind::Null
        };
        let named = keywords.kinds.clone().unwrap_or_else(|| vec![meant]);
        let nodes = named.iter().map(|kind| self.kind(*kind, keywords));
        let nodes: Vec<_> = nodes.collect::<Result<_, _>>()?;
        match nodes.as_slice() {
            [one] => Ok(*one),
            _ => self.add(Node::Choice(nodes)),
        }
    }

    fn kind(&mut self, kind: Kind, keywords: &Keywords<'s>) -> Result<NodeId, SchemaRefused> {
        let node = match kind {
            Kind::Object => return self.object(keywords),
            Kind::List => {
                let (least, most) = range(keywords.item_counts, "minItems")?;
                let item = match keywords.items {
                    Some(schema) => self.value(schema)?,
                    None => self.any()?,
                };
                Node::List { item, least, most }
            }
            Kind::Text => {
                let (least, most) = range(keywords.lengths, "minLength")?;
                Node::Text { least, most }
            }
            Kind::Number => Node::Number { whole: false },
            Kind::Whole => Node::Number { whole: true },
            Kind::Switch => Node::Literals(words(&["false", "true"])),
            Kind::Null => Node::Literals(words(&["null"])),
        };
        self.add(node)
    }

    fn object(&mut self, keywords: &Keywords<'s>) -> Result<NodeId, SchemaRefused> {
        let properties = keywords.properties.unwrap_or_default();
        let mut required = Vec::new();
        for name in keywords.required {
            let Json::Text(name) = name else {
                return Err(refused("required"));
            };
            required.push(name.as_str());
        }
        let open = !matches!(keywords.additional, Some(Json::Bool(false)));
        if properties.is_empty() && required.is_empty() && open {
            let value = self.additional(keywords)?;
            return self.add(Node::Map { value });
        }
        let mut members = Members::default();
        for (name, schema) in properties {
            let value = self.value(schema)?;
            let required = required.contains(&name.as_str());
            members.add(name, Member { value, required })?;
        }
        for name in required {
            let known = properties.iter().any(|(known, _)| known == name);
            if !known && !open {
                return Err(refused("required"));
            }
            let doubled = members.holds(name)?;
            if !known && !doubled {
                let value = self.additional(keywords)?;
                let required = true;
                members.add(name, Member { value, required })?;
            }
        }
        members.sort();
        self.add(Node::Object(members))
    }

    /// The node of members that are not named.
    fn additional(&mut self, keywords: &Keywords<'s>) -> Result<NodeId, SchemaRefused> {
        match keywords.additional {
            Some(schema @ Json::Object(_)) => self.value(schema),
            _ => self.any(),
        }
    }

    /// The node of what a reference names; it is read later.
    fn reference(&mut self, reference: &'s str) -> Result<NodeId, SchemaRefused> {
        if let Some(id) = self.named.get(reference) {
            return Ok(*id);
        }
        let target = self.target(reference).ok_or_else(|| refused("$ref"))?;
        let id = self.add(Node::Choice(Vec::new()))?;
        self.named.insert(reference, id);
        self.waiting.push((target, id));
        Ok(id)
    }

    fn target(&self, reference: &str) -> Option<&'s Json> {
        if reference == "#" {
            return Some(self.schema);
        }
        let (place, name) = reference.strip_prefix("#/")?.split_once('/')?;
        if !matches!(place, "$defs" | "definitions") || name.contains(['/', '%']) {
            return None;
        }
        let name = name.replace("~1", "/").replace("~0", "~");
        member(member(self.schema, place)?, &name)
    }

    fn any(&mut self) -> Result<NodeId, SchemaRefused> {
        if let Some(any) = self.any {
            return Ok(any);
        }
        let any = add_any(&mut self.nodes).ok_or(NAMELESS)?;
        self.any = Some(any);
        Ok(any)
    }

    fn add(&mut self, node: Node) -> Result<NodeId, SchemaRefused> {
        if self.nodes.len() >= MAX_NODES {
            return Err(NAMELESS);
        }
        let id = NodeId::try_from(self.nodes.len()).map_err(|_| NAMELESS)?;
        self.nodes.push(node);
        Ok(id)
    }

    fn set(&mut self, id: NodeId, node: Node) {
        if let Some(slot) = self.nodes.get_mut(usize::from(id)) {
            *slot = node;
        }
    }
}

impl Members {
    fn add(&mut self, name: &str, member: Member) -> Result<(), SchemaRefused> {
        if self.list.len() >= MAX_MEMBERS {
            return Err(refused("properties"));
        }
        let place = u16::try_from(self.list.len()).map_err(|_| refused("properties"))?;
        self.names.push((quoted(name)?, place));
        self.list.push(member);
        Ok(())
    }

    /// Brings the names into the order in which they are looked for.
    fn sort(&mut self) {
        let names = &mut self.names;
        names.sort_unstable_by(|(left, _), (right, _)| left.as_ref().cmp(right.as_ref()));
    }

    fn holds(&self, name: &str) -> Result<bool, SchemaRefused> {
        let name = quoted(name)?;
        Ok(self.names.iter().any(|(known, _)| *known == name))
    }
}

fn quoted(name: &str) -> Result<Literal, SchemaRefused> {
    let text = serde_json::to_vec(name).map_err(|_| refused("properties"))?;
    if text.len() > MAX_LITERAL {
        return Err(refused("properties"));
    }
    Ok(Zeroizing::new(text.into_boxed_slice()))
}

fn member<'j>(json: &'j Json, name: &str) -> Option<&'j Json> {
    let Json::Object(members) = json else {
        return None;
    };
    let found = members.iter().find(|(known, _)| known == name);
    found.map(|(_, value)| value)
}

fn range(
    [least, most]: [Option<u16>; 2],
    keyword: &str,
) -> Result<(u16, Option<u16>), SchemaRefused> {
    let least = least.unwrap_or(0);
    if most.is_some_and(|most| most < least) {
        return Err(refused(keyword));
    }
    Ok((least, most))
}

/// Values as they are written, of the named kinds, each once, in ascending order.
fn literals(
    list: &[Json],
    kinds: Option<&[Kind]>,
    keyword: &str,
) -> Result<Vec<Literal>, SchemaRefused> {
    let mut literals = Vec::new();
    for value in list {
        if kinds.is_some_and(|kinds| !kinds.iter().any(|kind| is_of(value, *kind))) {
            continue;
        }
        let text = serde_json::to_vec(value).map_err(|_| refused(keyword))?;
        if text.len() > MAX_LITERAL {
            return Err(refused(keyword));
        }
        literals.push(Zeroizing::new(text.into_boxed_slice()));
    }
    literals.sort_unstable_by(|left: &Literal, right| left.as_ref().cmp(right.as_ref()));
    literals.dedup();
    if literals.is_empty() {
        return Err(refused(keyword));
    }
    Ok(literals)
}

fn is_of(value: &Json, kind: Kind) -> bool {
    match value {
        Json::Null => kind == Kind::Null,
        Json::Bool(_) => kind == Kind::Switch,
        Json::Whole(_) => matches!(kind, Kind::Number | Kind::Whole),
        Json::Real(_) => kind == Kind::Number,
        Json::Text(_) => kind == Kind::Text,
        Json::List(_) => kind == Kind::List,
        Json::Object(_) => kind == Kind::Object,
    }
}
