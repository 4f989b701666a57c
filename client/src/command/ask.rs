//! `chat`: one question, one answer, one receipt.

use super::amount::in_coins;
use super::arguments::ChatArguments;
use super::failure::Failure;
use super::machine;
use super::output::{Output, members};
use super::settings::Settings;
use crate::chat::{Answering, AskError, Chat, ChatRequest, Question, Settled};

pub(super) async fn chat(
    settings: &Settings,
    arguments: &ChatArguments,
    output: Output,
) -> Result<(), Failure> {
    let chat = machine::connect(settings, &arguments.machine, output).await?;
    let question = Question {
        model: model(&chat, arguments.model.as_deref()).await?,
        prompt: arguments.prompt.clone(),
        max_tokens: arguments.max_tokens,
        temperature: arguments.temperature,
        seed: arguments.seed,
    };
    let request = ChatRequest::of_question(&question)?;
    let mut answering = match chat.ask(&request).await {
        Ok(answering) => answering,
        Err(refusal) => {
            show_unsent(&chat, output).await?;
            return Err(refusal.into());
        }
    };
    let mut pieces = 0u32;
    while let Some(chunk) = answering.next().await? {
        let Some(text) = &chunk.text else { continue };
        output.content(text)?;
        pieces = pieces.saturating_add(1);
        if arguments.cut_after == Some(pieces) {
            output.content("\n")?;
            return show_cut(&answering, output);
        }
    }
    output.content("\n")?;
    match answering.settled() {
        Some(settled) => show_settled(&answering, settled, output),
        None => Err(AskError::NoReceipt.into()),
    }
}

/// How much left this machine before the refusal: nothing, when the price was refused.
async fn show_unsent(chat: &Chat, output: Output) -> Result<(), Failure> {
    let sent = chat.application_bytes_sent().await;
    let line = format!("application bytes sent: {sent}");
    let found = members([("application_bytes_sent", sent.into())]);
    output.event("unanswered", &line, found)
}

/// The named model, or the machine's only one.
async fn model(chat: &Chat, named: Option<&str>) -> Result<String, Failure> {
    if let Some(name) = named {
        return Ok(name.to_owned());
    }
    let session = chat.session().await?;
    match session.configuration().models.as_slice() {
        [only] => Ok(only.name.clone()),
        several => {
            let names: Vec<&str> = several.iter().map(|model| model.name.as_str()).collect();
            Err(Failure::SeveralModels {
                names: names.join(", "),
            })
        }
    }
}

fn show_settled(answering: &Answering, settled: &Settled, output: Output) -> Result<(), Failure> {
    let receipt = settled.receipt.receipt();
    let sent = answering.session().channel().application_bytes_sent();
    let line = format!(
        "receipt verified: {prompt} prompt + {completion} completion tokens, {charged} nano \
         ({coins}), number {sequence}; kept as {kept}{anchored}",
        prompt = receipt.tokens.prompt,
        completion = receipt.tokens.completion,
        charged = receipt.charged,
        coins = in_coins(receipt.charged),
        sequence = receipt.sequence,
        kept = settled.kept,
        anchored = if settled.anchored {
            ", its root signed"
        } else {
            "; the server did not take its root"
        },
    );
    output.event(
        "receipt",
        &line,
        members([
            ("prompt_tokens", receipt.tokens.prompt.into()),
            ("cached_tokens", receipt.tokens.cached.into()),
            ("completion_tokens", receipt.tokens.completion.into()),
            ("charged", receipt.charged.to_string().into()),
            ("sequence", receipt.sequence.into()),
            ("digest", settled.receipt.digest().to_string().into()),
            ("kept", settled.kept.as_str().into()),
            ("anchored", settled.anchored.into()),
            ("application_bytes_sent", sent.into()),
        ]),
    )
}

fn show_cut(answering: &Answering, output: Output) -> Result<(), Failure> {
    let account = answering.account()?;
    let line = format!(
        "cut: {received} pieces received, {acknowledged} completion tokens acknowledged, {charged} \
         nano signed",
        received = account.records,
        acknowledged = account.tokens.completion,
        charged = account.charged,
    );
    output.event(
        "cut",
        &line,
        members([
            ("received", account.records.into()),
            ("prompt_tokens", account.tokens.prompt.into()),
            ("completion_tokens", account.tokens.completion.into()),
            ("charged", account.charged.to_string().into()),
        ]),
    )
}
