//! What JSON may be written, as nodes that name each other.

use zeroize::Zeroizing;

/// Objects and lists within each other, at most.
pub(super) const MAX_DEPTH: u8 = 32;
/// Nodes of one grammar.
pub(super) const MAX_NODES: usize = 2048;
/// Kinds of value that are possible at one place.
pub(super) const MAX_CHOICES: usize = 32;

/// Number of a node.
pub(super) type NodeId = u16;

/// A text of the grammar; it may come from a client.
pub(super) type Literal = Zeroizing<Box<[u8]>>;

/// One kind of value.
pub(super) enum Node {
    /// One of these values, as they are written, in ascending order.
    Literals(Vec<Literal>),
    /// Text of so many characters.
    Text { least: u16, most: Option<u16> },
    /// A number; a whole one where it has neither point nor exponent.
    Number { whole: bool },
    /// An object with these members, in this order.
    Object(Members),
    /// An object with any names, whose values are of this node.
    Map { value: NodeId },
    /// A list of so many items.
    List {
        item: NodeId,
        least: u16,
        most: Option<u16>,
    },
    /// A value of any of these nodes.
    Choice(Vec<NodeId>),
}

/// The members of an object.
#[derive(Default)]
pub(super) struct Members {
    /// In the order in which they are written.
    pub(super) list: Vec<Member>,
    /// Quoted names in ascending order, each with its place in `list`.
    pub(super) names: Vec<(Literal, u16)>,
}

/// One member.
#[derive(Clone, Copy)]
pub(super) struct Member {
    pub(super) value: NodeId,
    pub(super) required: bool,
}

impl Members {
    /// Whether an object may go on with a member from this place on, or end before it, as far as
    /// required members are concerned: the first place that may not be passed over.
    pub(super) fn barrier(&self, from: u16) -> Option<u16> {
        (0_u16..)
            .zip(&self.list)
            .skip(usize::from(from))
            .find_map(|(at, member)| member.required.then_some(at))
    }
}

/// A grammar in which every node has an end.
pub(crate) struct Grammar {
    pub(super) nodes: Vec<Node>,
    /// How many objects and lists the smallest value of each node has within each other.
    heights: Vec<u8>,
    pub(super) root: NodeId,
}

/// Why nodes are no grammar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoGrammar {
    /// The root, or a node that it needs, has no end.
    Endless,
    /// Too many kinds of value are possible at one place.
    TooManyChoices,
}

impl Grammar {
    /// Any object.
    pub(crate) fn any_object() -> Option<Self> {
        let mut nodes = Vec::new();
        let any = add_any(&mut nodes)?;
        let root = NodeId::try_from(nodes.len()).ok()?;
        nodes.push(Node::Map { value: any });
        Self::new(nodes, root).ok()
    }

    pub(super) fn new(mut nodes: Vec<Node>, root: NodeId) -> Result<Self, NoGrammar> {
        flatten(&mut nodes)?;
        let heights = heights(&nodes);
        let grammar = Self {
            nodes,
            heights,
            root,
        };
        if grammar.height(root) > MAX_DEPTH {
            return Err(NoGrammar::Endless);
        }
        Ok(grammar)
    }

    pub(super) fn node(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(usize::from(id))
    }

    /// Depth of the node's smallest value; above [`MAX_DEPTH`] where it has none.
    pub(super) fn height(&self, id: NodeId) -> u8 {
        let height = self.heights.get(usize::from(id));
        height.copied().unwrap_or(u8::MAX)
    }
}

/// Appends the nodes of any value; its own is returned.
pub(super) fn add_any(nodes: &mut Vec<Node>) -> Option<NodeId> {
    let first = NodeId::try_from(nodes.len()).ok()?;
    let at = |offset: NodeId| first.checked_add(offset);
    let any = first;
    nodes.push(Node::Choice(vec![at(1)?, at(2)?, at(3)?, at(4)?, at(5)?]));
    nodes.push(Node::Map { value: any });
    nodes.push(Node::List {
        item: any,
        least: 0,
        most: None,
    });
    nodes.push(Node::Text {
        least: 0,
        most: None,
    });
    nodes.push(Node::Number { whole: false });
    nodes.push(Node::Literals(words(&["false", "null", "true"])));
    Some(any)
}

/// Literals of our own, in ascending order.
pub(super) fn words(words: &[&str]) -> Vec<Literal> {
    let words = words.iter().map(|word| Box::from(word.as_bytes()));
    words.map(Zeroizing::new).collect()
}

/// Makes every choice one between nodes that are none, each once, so that no chain of choices is
/// followed again and again while an answer is written.
fn flatten(nodes: &mut [Node]) -> Result<(), NoGrammar> {
    let mut flat = Vec::new();
    for (at, node) in nodes.iter().enumerate() {
        if let Node::Choice(choices) = node {
            flat.push((at, leaves(nodes, choices)?));
        }
    }
    for (at, leaves) in flat {
        if let Some(node) = nodes.get_mut(at) {
            *node = Node::Choice(leaves);
        }
    }
    Ok(())
}

fn leaves(nodes: &[Node], choices: &[NodeId]) -> Result<Vec<NodeId>, NoGrammar> {
    let mut seen = vec![false; nodes.len()];
    let mut open: Vec<NodeId> = choices.iter().rev().copied().collect();
    let mut leaves = Vec::new();
    while let Some(id) = open.pop() {
        let Some(new @ false) = seen.get_mut(usize::from(id)) else {
            continue;
        };
        *new = true;
        match nodes.get(usize::from(id)) {
            Some(Node::Choice(inner)) => open.extend(inner.iter().rev()),
            Some(_) if leaves.len() < MAX_CHOICES => leaves.push(id),
            Some(_) => return Err(NoGrammar::TooManyChoices),
            None => {}
        }
    }
    Ok(leaves)
}

/// The least solution: a node's height is settled after at most as many rounds as it is high.
fn heights(nodes: &[Node]) -> Vec<u8> {
    let mut heights = vec![u8::MAX; nodes.len()];
    for _ in 0..=MAX_DEPTH {
        let mut changed = false;
        for (at, node) in nodes.iter().enumerate() {
            let found = height_of(node, &heights);
            if let Some(height) = heights.get_mut(at)
                && found < *height
            {
                *height = found;
                changed = true;
            }
        }
        if !changed {
            break;
        }
    }
    heights
}

fn height_of(node: &Node, heights: &[u8]) -> u8 {
    let height = |id: NodeId| heights.get(usize::from(id)).copied().unwrap_or(u8::MAX);
    match node {
        Node::Literals(_) | Node::Text { .. } | Node::Number { .. } => 0,
        Node::Map { .. } | Node::List { least: 0, .. } => 1,
        Node::List { item, .. } => height(*item).saturating_add(1),
        Node::Object(members) => {
            let required = members.list.iter().filter(|member| member.required);
            let highest = required.map(|member| height(member.value)).max();
            highest.unwrap_or(0).saturating_add(1)
        }
        Node::Choice(choices) => choices
            .iter()
            .map(|choice| height(*choice))
            .min()
            .unwrap_or(u8::MAX),
    }
}
