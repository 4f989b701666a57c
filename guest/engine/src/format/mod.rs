//! The form that an answer must have: JSON, of any kind or after a client's schema.
//!
//! `schema` reads a schema into a `Grammar`; a [`Follower`] knows what may come next in one answer,
//! byte by byte (`automaton`), and says which tokens of the `Vocabulary` those bytes are. All three
//! are bounded by construction: no regular expression, no search, no recursion without a limit, and
//! every state that is reached can be brought to its end. What is deliberately not here: the draw
//! among the tokens that are left (`answer`).

mod automaton;
mod follower;
mod grammar;
mod keywords;
mod place;
mod schema;
mod text;
mod vocabulary;

#[cfg(test)]
mod tests;

pub(crate) use follower::{Follower, NotAllowed};
pub(crate) use grammar::Grammar;
pub(crate) use schema::SchemaRefused;
pub(crate) use vocabulary::{Allowed, Vocabulary};
