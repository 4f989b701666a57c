//! How the families write calls, as far as the engine has to know it.
//!
//! What is deliberately not here: reading calls out of an answer, which is the client's part.

use messages::engine_ipc::CallSyntax;

/// The member of a call that holds its arguments.
pub(crate) const fn arguments(syntax: CallSyntax) -> &'static str {
    match syntax {
        CallSyntax::Tagged | CallSyntax::Listed => "arguments",
        CallSyntax::Bare => "parameters",
    }
}

/// What stands before the JSON of an answer's first call: the prompt of an answer that must be a
/// call ends with it.
pub(crate) const fn opening(syntax: CallSyntax) -> &'static str {
    match syntax {
        CallSyntax::Tagged => "<tool_call>\n",
        CallSyntax::Listed => "[TOOL_CALLS][",
        CallSyntax::Bare => "",
    }
}

/// Special tokens whose names are told as text, since calls are read from them.
pub(crate) const fn told(syntax: CallSyntax) -> &'static [&'static str] {
    match syntax {
        CallSyntax::Tagged => &["<tool_call>", "</tool_call>"],
        CallSyntax::Listed => &["[TOOL_CALLS]"],
        CallSyntax::Bare => &[],
    }
}
