//! A door for tests of other rooms: parsers of what makers of models and clients wrote, for hostile
//! bytes. What comes out says that something was taken, and what it promises; nobody can compute
//! with it.

use messages::engine_ipc::{ChatMessage, Tool};

use crate::format::{Follower, Grammar};
use crate::model::Shape;
use crate::refusal::ModelError;
use crate::template::Template;
use crate::tokenizer::{Described, Piece, Settings, Tokenizer, Wants};

/// What the shape of a `config.json` promises to whoever computes with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Promised {
    /// Transformer blocks.
    pub layers: usize,
    /// Width of the residual stream.
    pub width: usize,
    /// Width of the inner part, or of one expert.
    pub inner: usize,
    /// Query heads, key and value heads, and the width of one.
    pub heads: [usize; 3],
    /// Elements of a head that are turned.
    pub turned: usize,
    /// Tokens of a context, and of the vocabulary.
    pub tokens: [usize; 2],
    /// Experts, and those that a row takes.
    pub experts: Option<[usize; 2]>,
    /// Whether every angle is finite.
    pub finite: bool,
}

/// Reads a `config.json` as the engine does.
///
/// # Errors
/// `Config`, as the engine refuses it.
pub fn config(text: &[u8]) -> Result<Promised, ModelError> {
    let shape = Shape::from_config(text)?;
    let experts = shape.experts;
    Ok(Promised {
        layers: shape.layers,
        width: shape.width,
        inner: shape.inner,
        heads: [shape.heads, shape.kv_heads, shape.head],
        turned: shape.turned,
        tokens: [shape.context, shape.vocabulary],
        experts: experts.map(|experts| [experts.count, experts.used]),
        finite: shape.frequencies().iter().all(|angle| angle.is_finite()),
    })
}

/// What a vocabulary makes of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// How many numbers its tokens have.
    pub count: usize,
    /// The message's tokens; none where it has no tokens for it.
    pub tokens: Option<Vec<u32>>,
    /// Whether one of them is a token that only a template may name.
    pub forges: bool,
}

/// Reads a `tokenizer.json` and a `tokenizer_config.json` as the engine does, of a model that
/// answers or of one that gives vectors, and a message with what they say.
///
/// # Errors
/// `Tokenizer`, as the engine refuses it.
pub fn tokenizer(
    tokenizer: &[u8],
    settings: &[u8],
    (message, gives_vectors): (&str, bool),
) -> Result<Encoded, ModelError> {
    let settings = Settings::read(settings)?;
    let tokenizer = Tokenizer::from_json(&Described {
        tokenizer,
        frame: settings.frame(),
        wants: match gives_vectors {
            true => Wants::Vectors {
                lowers: settings.lowers()?,
            },
            false => Wants::Answers { ends: Vec::new() },
        },
    })?;
    let tokens = tokenizer.encode(&[Piece::Content(message)], usize::MAX >> 8);
    let tokens = tokens.ok().map(|tokens| tokens.to_vec());
    let mut found = tokens.iter().flatten();
    Ok(Encoded {
        count: tokenizer.count(),
        forges: found.any(|token| tokenizer.is_named_only(*token)),
        tokens,
    })
}

/// What a template makes of a chat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// Bytes of what it wrote itself.
    pub written: usize,
    /// The texts of the chat, in the order in which it shows them.
    pub shown: Vec<String>,
}

/// Reads a chat template as the engine does, and renders a chat with it; none where it refuses the
/// chat.
///
/// # Errors
/// `Key`, as the engine refuses it.
pub fn template(
    source: &str,
    messages: &[ChatMessage],
    tools: &[Tool],
) -> Result<Option<Rendered>, ModelError> {
    let template = Template::compile(source, [Some("<s>"), Some("</s>")])?;
    let Ok(skeleton) = template.skeleton(messages, tools) else {
        return Ok(None);
    };
    let mut rendered = Rendered {
        written: 0,
        shown: Vec::new(),
    };
    for piece in skeleton.pieces() {
        match piece {
            Piece::Skeleton(text) => rendered.written = rendered.written.saturating_add(text.len()),
            Piece::Content(text) => rendered.shown.push(text.to_owned()),
        }
    }
    Ok(Some(rendered))
}

/// A schema that no answer is led by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no answer can be led by this schema")]
pub struct NoForm;

/// Reads a JSON Schema as the engine does, and says how much of an answer may be written after it.
///
/// # Errors
/// [`NoForm`], where the engine refuses the schema.
pub fn form(schema: &str, answer: &[u8]) -> Result<usize, NoForm> {
    let mut follower = Follower::new(Grammar::of_schema(schema).map_err(|_| NoForm)?);
    let taken = answer.iter().take_while(|byte| {
        let one = std::slice::from_ref(*byte);
        follower.take(one).is_ok()
    });
    Ok(taken.count())
}
