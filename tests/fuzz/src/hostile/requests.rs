//! Hostile requests, schemas in them, and chat templates.

use super::{Hostile, filled, nested, refused, taken};
use crate::pieces::join;
use crate::requests::{request, schema, template};

/// As long as a body may be.
const BODY: usize = 1 << 20;
const SAID: &str = r#"{"model":"m","stream":true,"messages":[{"role":"user","content":""#;

pub(super) const ALL: &[Hostile] = &[
    refused(
        "request",
        "1 MiB of lists in lists",
        || nested(BODY),
        request,
    ),
    refused(
        "request",
        "1 MiB of stop strings",
        || filled(r#"{"stop":["#, r#""s","#, r#""s"]}"#, BODY),
        request,
    ),
    refused(
        "request",
        "1 MiB of one member again and again",
        || filled("{", r#""seed":1,"#, r#""seed":1}"#, BODY),
        request,
    ),
    refused(
        "request",
        "1 MiB of halves of characters",
        || filled(SAID, r"\ud800", r#""}]}"#, BODY),
        request,
    ),
    refused(
        "request",
        "1 MiB of marks",
        || filled(SAID, "\u{301}", r#""}]}"#, BODY),
        request,
    ),
    taken(
        "request",
        "512 KiB of marks",
        || filled(SAID, "\u{301}", r#""}]}"#, BODY / 2),
        request,
    ),
    refused(
        "request",
        "a number of 1 MiB",
        || filled(r#"{"seed":"#, "9", "}", BODY),
        request,
    ),
    taken(
        "request",
        "100,000 tokens to make a vector of",
        || filled(r#"{"model":"m","input":["#, "7,", "7]}", 200_000),
        request,
    ),
    refused(
        "answer_schema",
        "64 KiB of schemas in schemas",
        || of_schema(filled("", r#"{"items":"#, "{}", 64 << 10)),
        schema,
    ),
    refused(
        "answer_schema",
        "a schema that is itself",
        || of_schema(br##"{"$ref":"#"}"##.to_vec()),
        schema,
    ),
    refused(
        "answer_schema",
        "64 KiB of choices",
        || of_schema(filled(r#"{"anyOf":["#, "{},", "{}]}", 64 << 10)),
        schema,
    ),
    refused(
        "answer_schema",
        "a pattern",
        || of_schema(br#"{"pattern":"(a*)*b"}"#.to_vec()),
        schema,
    ),
    taken(
        "chat_template",
        "a loop without end",
        || {
            b"{% for i in range(9999999) %}{% for j in range(9999999) %}{% endfor %}{% endfor %}"
                .to_vec()
        },
        template,
    ),
    taken(
        "chat_template",
        "a text that doubles",
        || filled("{% set x = 'x' %}", "{% set x = x + x %}", "{{ x }}", 2048),
        template,
    ),
    taken(
        "chat_template",
        "a macro that calls itself",
        || b"{% macro a() %}{{ a() }}{% endmacro %}{{ a() }}".to_vec(),
        template,
    ),
];

fn of_schema(schema: Vec<u8>) -> Vec<u8> {
    join(&[b"[[[[", &schema])
}
