//! Calls of functions, read out of the text of an answer. `docs/spec/serving.md` §4.5.
//!
//! Pure: pieces of text in, text and calls out, wherever the text was cut. What is not a whole call
//! of a function that was offered stays text: nobody is made to call what they did not name, and no
//! character of an answer is lost but the spaces before and behind a call. Each character is looked
//! at a bounded number of times. Content: does not print.

use core::fmt;

use bounded_json::Json;
use protocol::digest::Salt;
use protocol::serving::CALLS;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

/// What a call may hold.
const LIMITS: bounded_json::Limits = bounded_json::Limits {
    depth: 32,
    values: 4096,
};
const ID_DOMAIN: &[u8] = b"cocoon/call-id/v1";
/// Bytes of a call's number, written as hex digits.
const ID_BYTES: usize = 12;

/// The functions that a request offers.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Offered {
    names: Vec<String>,
    /// Whether the answer must be a call, and is nothing else.
    must: bool,
    /// Calls at most.
    most: usize,
}

impl fmt::Debug for Offered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Offered({} functions)", self.names.len())
    }
}

impl Offered {
    /// What a request offers, if it offers any and may be answered with a call. What is not well
    /// formed is refused by the server.
    pub(super) fn of(request: &Map<String, Value>) -> Option<Self> {
        let tools = request.get("tools").and_then(Value::as_array)?;
        let names = tools
            .iter()
            .filter_map(|tool| name_of(tool.get("function")));
        let choice = request.get("tool_choice").unwrap_or(&Value::Null);
        let one = request.get("parallel_tool_calls") == Some(&Value::Bool(false));
        let offered = |names, must| Self {
            names,
            must,
            most: if one || must { 1 } else { usize::MAX },
        };
        match (choice.as_str(), name_of(choice.get("function"))) {
            _ if tools.is_empty() => None,
            (Some("none"), _) => None,
            (Some("required"), _) => Some(offered(names.collect(), true)),
            (_, Some(name)) => Some(offered(vec![name], true)),
            (_, None) => Some(offered(names.collect(), false)),
        }
    }
}

fn name_of(function: Option<&Value>) -> Option<String> {
    let name = function?.get("name")?.as_str()?;
    Some(name.to_owned())
}

/// How the text of an answer writes calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Syntax {
    /// `<tool_call>{"name", "arguments"}</tool_call>`.
    Tagged,
    /// `[TOOL_CALLS][{"name", "arguments"}, …]`.
    Listed,
    /// `{"name", "parameters"}; …` from the first character on.
    Bare,
}

impl Syntax {
    /// By the name in the specification.
    pub(super) fn named(name: &[u8]) -> Option<Self> {
        let known = [Self::Tagged, Self::Listed, Self::Bare];
        let mut known = CALLS.into_iter().zip(known);
        let found = known.find(|(known, _)| known.as_bytes() == name);
        found.map(|(_, syntax)| syntax)
    }

    /// What calls stand behind; nothing where they begin the answer.
    const fn opening(self) -> &'static str {
        match self {
            Self::Tagged => "<tool_call>",
            Self::Listed => "[TOOL_CALLS]",
            Self::Bare => "",
        }
    }

    /// What stands before the first call behind that.
    const fn list(self) -> Option<char> {
        match self {
            Self::Listed => Some('['),
            Self::Tagged | Self::Bare => None,
        }
    }

    /// What stands behind the last call.
    const fn closing(self) -> &'static str {
        match self {
            Self::Tagged => "</tool_call>",
            Self::Listed => "]",
            Self::Bare => "",
        }
    }

    /// What stands between two calls behind one opening.
    const fn comma(self) -> Option<char> {
        match self {
            Self::Tagged => None,
            Self::Listed => Some(','),
            Self::Bare => Some(';'),
        }
    }
}

/// What an answer says.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Said {
    /// To the user.
    Text(String),
    /// To a function.
    Call {
        /// Its place among the calls of the answer.
        index: usize,
        /// A number that no other call has.
        id: String,
        /// The function's name.
        name: String,
        /// Its arguments, a JSON object.
        arguments: String,
    },
}

impl fmt::Debug for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "Text({} bytes)", text.len()),
            Self::Call { index, .. } => write!(f, "Call({index})"),
        }
    }
}

/// Reads one answer.
#[derive(Clone)]
pub(super) struct CallReader {
    syntax: Syntax,
    offered: Offered,
    salt: Salt,
    state: State,
    /// What is not yet known to be text: spaces and the beginning of a tag, or a call so far.
    held: Zeroizing<String>,
    calls: usize,
    /// Whether the last thing was a call.
    after_call: bool,
}

impl fmt::Debug for CallReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CallReader({} calls)", self.calls)
    }
}

/// Where in its answer it stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// In text, after so many bytes of an opening tag.
    Text { matched: usize },
    /// Before what stands before the first call.
    List,
    /// Before the object of a call.
    Before,
    /// In it, which begins in `held` here.
    Object { from: usize, within: Within },
    /// Behind it, which ends in `held` here, after so many bytes of the closing tag.
    After {
        from: usize,
        to: usize,
        matched: usize,
    },
}

/// Where in an object.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Within {
    Braces(usize),
    Quotes(usize),
    Backslash(usize),
}

impl CallReader {
    /// Before an answer. Its calls have numbers that follow from the salt of its request.
    #[must_use]
    pub(super) fn new(syntax: Syntax, offered: Offered, salt: Salt) -> Self {
        let state = if offered.must || syntax.opening().is_empty() {
            State::Before
        } else {
            State::Text { matched: 0 }
        };
        Self {
            syntax,
            offered,
            salt,
            state,
            held: Zeroizing::default(),
            calls: 0,
            after_call: false,
        }
    }

    /// Of a request, for tests.
    #[cfg(test)]
    pub(super) fn for_tests(request: &Value) -> Self {
        let offered = request.as_object().and_then(Offered::of);
        Self::new(Syntax::Tagged, offered.unwrap(), Salt([7; 32]))
    }

    /// How many calls there were.
    #[must_use]
    pub(super) const fn calls(&self) -> usize {
        self.calls
    }

    /// Takes a further piece of the answer.
    #[must_use]
    pub(super) fn push(&mut self, piece: &str) -> Vec<Said> {
        let mut said = Vec::new();
        for character in piece.chars() {
            self.take(character, &mut said);
        }
        said
    }

    /// The answer is over: what was held back. A call that lacks nothing but its closing tag is
    /// one.
    #[must_use]
    pub(super) fn finish(&mut self) -> Vec<Said> {
        let mut said = Vec::new();
        if let State::After { from, to, .. } = self.state {
            self.end_call(from..to, &mut said);
        }
        let blank = self.held.trim().is_empty();
        if !(self.after_call && blank) {
            self.release(&mut said);
        }
        self.held.clear();
        said
    }

    fn take(&mut self, character: char, said: &mut Vec<Said>) {
        match self.state {
            State::Text { matched } => self.text(character, matched, said),
            State::List => {
                self.held.push(character);
                if Some(character) == self.syntax.list() {
                    self.state = State::Before;
                } else if !character.is_ascii_whitespace() {
                    self.give_up(said);
                }
            }
            State::Before => {
                self.held.push(character);
                if character == '{' {
                    let from = self.held.len().saturating_sub(1);
                    let within = Within::Braces(1);
                    self.state = State::Object { from, within };
                } else if !character.is_ascii_whitespace() {
                    self.give_up(said);
                }
            }
            State::Object { from, within } => {
                self.held.push(character);
                self.state = match within.after(character) {
                    Some(within) => State::Object { from, within },
                    None => State::After {
                        from,
                        to: self.held.len(),
                        matched: 0,
                    },
                };
            }
            State::After { from, to, matched } => self.after(character, (from, to, matched), said),
        }
    }

    fn text(&mut self, character: char, matched: usize, said: &mut Vec<Said>) {
        let opening = self.syntax.opening();
        if opening
            .get(matched..)
            .is_some_and(|rest| rest.starts_with(character))
        {
            self.held.push(character);
            let matched = matched.saturating_add(1);
            self.state = match self.syntax.list() {
                _ if matched < opening.len() => State::Text { matched },
                Some(_) => State::List,
                None => State::Before,
            };
        } else if matched > 0 {
            // The tag begins with a character that it has nowhere else.
            self.release(said);
            self.state = State::Text { matched: 0 };
            self.text(character, 0, said);
        } else {
            self.held.push(character);
            if !character.is_whitespace() {
                self.release(said);
            }
        }
    }

    /// Behind an object: spaces and the closing tag.
    fn after(
        &mut self,
        character: char,
        (from, to, matched): (usize, usize, usize),
        said: &mut Vec<Said>,
    ) {
        let closing = self.syntax.closing();
        let goes_on = closing
            .get(matched..)
            .is_some_and(|rest| rest.starts_with(character));
        let is_comma = matched == 0 && Some(character) == self.syntax.comma();
        if matched == 0 && character.is_ascii_whitespace() {
            self.held.push(character);
        } else if is_comma && !self.offered.must {
            self.held.push(character);
            if self.end_call(from..to, said) {
                self.state = State::Before;
            }
        } else if goes_on && !self.offered.must {
            self.held.push(character);
            let matched = matched.saturating_add(1);
            self.state = State::After { from, to, matched };
            if matched == closing.len() {
                self.end_call(from..to, said);
            }
        } else {
            // A closing tag that is none may be the beginning of an opening one.
            let last = if matched == 1 { self.held.pop() } else { None };
            self.release(said);
            self.state = State::Text { matched: 0 };
            for character in last.into_iter().chain([character]) {
                self.take(character, said);
            }
        }
    }

    /// What is held is text after all.
    fn give_up(&mut self, said: &mut Vec<Said>) {
        // The last character may begin a tag.
        let last = self.held.pop();
        self.release(said);
        self.state = State::Text { matched: 0 };
        if let Some(last) = last {
            self.text(last, 0, said);
        }
    }

    fn release(&mut self, said: &mut Vec<Said>) {
        if self.held.is_empty() {
            return;
        }
        self.after_call = false;
        let held = core::mem::take(&mut *self.held);
        match said.last_mut() {
            Some(Said::Text(text)) => text.push_str(&held),
            Some(Said::Call { .. }) | None => said.push(Said::Text(held)),
        }
    }

    /// Whether what is held was a call.
    fn end_call(&mut self, object: core::ops::Range<usize>, said: &mut Vec<Said>) -> bool {
        self.state = State::Text { matched: 0 };
        let call = self.held.get(object).and_then(|text| self.call(text));
        let Some((name, arguments)) = call else {
            self.release(said);
            return false;
        };
        self.held.clear();
        self.after_call = true;
        if self.calls >= self.offered.most {
            return true;
        }
        said.push(Said::Call {
            index: self.calls,
            id: self.id(),
            name,
            arguments,
        });
        self.calls = self.calls.saturating_add(1);
        true
    }

    /// Name and arguments, if the text is a call of a function that was offered.
    fn call(&self, text: &str) -> Option<(String, String)> {
        let Json::Object(members) = bounded_json::parse(text.as_bytes(), LIMITS).ok()? else {
            return None;
        };
        let (mut named, mut has_arguments) = (None, false);
        for (member, value) in members {
            match (member.as_str(), value) {
                ("name", Json::Text(name)) => named = Some(name),
                ("arguments", Json::Object(_)) if self.syntax != Syntax::Bare => {
                    has_arguments = true;
                }
                ("parameters", Json::Object(_)) if self.syntax == Syntax::Bare => {
                    has_arguments = true;
                }
                // A number of the model's own, and what Llama 3.x writes at times.
                ("id", Json::Text(_)) if self.syntax == Syntax::Listed => {}
                ("type", Json::Text(kind)) if self.syntax == Syntax::Bare && kind == "function" => {
                }
                (_, _) => return None,
            }
        }
        let name = named.filter(|name| self.offered.names.contains(name))?;
        has_arguments.then(|| (name, arguments_of(text)))
    }

    fn id(&self) -> String {
        let index = u64::try_from(self.calls).unwrap_or(u64::MAX);
        let hash = Sha256::new()
            .chain_update(ID_DOMAIN)
            .chain_update(self.salt.0)
            .chain_update(index.to_le_bytes())
            .finalize();
        let digits = hash.iter().take(ID_BYTES);
        let digits: String = digits.map(|byte| format!("{byte:02x}")).collect();
        format!("call_{digits}")
    }
}

/// The arguments in the text of a call, the one object in it: as the model wrote them, since a
/// number that is read and written again may be another one, but for spaces between values.
fn arguments_of(text: &str) -> String {
    let mut arguments = String::new();
    let mut within = Within::Braces(0);
    for character in text.chars() {
        let before = within;
        within = before.after(character).unwrap_or(Within::Braces(0));
        let is_inside = before.depth() > 1 || within.depth() > 1;
        if is_inside && (before.is_text() || !character.is_ascii_whitespace()) {
            arguments.push(character);
        }
    }
    arguments
}

impl Within {
    const fn depth(self) -> usize {
        match self {
            Self::Braces(depth) | Self::Quotes(depth) | Self::Backslash(depth) => depth,
        }
    }

    const fn is_text(self) -> bool {
        match self {
            Self::Braces(_) => false,
            Self::Quotes(_) | Self::Backslash(_) => true,
        }
    }

    /// After one more character; none behind the last brace.
    fn after(self, character: char) -> Option<Self> {
        Some(match (self, character) {
            (Self::Braces(depth), '{') => Self::Braces(depth.saturating_add(1)),
            (Self::Braces(1), '}') => return None,
            (Self::Braces(depth), '}') => Self::Braces(depth.saturating_sub(1)),
            (Self::Braces(depth), '"') | (Self::Backslash(depth), _) => Self::Quotes(depth),
            (Self::Quotes(depth), '"') => Self::Braces(depth),
            (Self::Quotes(depth), '\\') => Self::Backslash(depth),
            (same @ (Self::Braces(_) | Self::Quotes(_)), _) => same,
        })
    }
}

#[cfg(test)]
#[path = "calls_tests.rs"]
mod tests;
