//! `providers`: what the original Cocoon's root contract says of its network. Nothing of it is used
//! for a trust decision.

use contracts::cocoon_root::CocoonRoot;
use contracts::toncenter::AccountState;
use serde_json::{Value, json};

use super::arguments::ProvidersArguments;
use super::failure::Failure;
use super::output::{Output, members};
use super::settings::Settings;
use crate::wallet::{WalletError, read_bounded};

/// A root's data as a bag of cells is shorter.
const MAX_ROOT_BYTES: usize = 1 << 20;

pub(super) async fn providers(
    settings: &Settings,
    arguments: &ProvidersArguments,
    output: Output,
) -> Result<(), Failure> {
    let root = match (&arguments.file, &arguments.cocoon_root) {
        (Some(path), _) => {
            let bytes = read_bounded(path, MAX_ROOT_BYTES).map_err(Failure::Input)?;
            CocoonRoot::parse(&bytes)?
        }
        (None, Some(address)) => {
            let account = settings.chain()?.account(address).await;
            match account.map_err(WalletError::Chain)?.state {
                AccountState::Active { data, .. } => CocoonRoot::of_cell(&data)?,
                AccountState::Uninitialized | AccountState::Frozen => {
                    return Err(Failure::NoContract);
                }
            }
        }
        // The parser required one of the two.
        (None, None) => return Err(Failure::NoContract),
    };
    let found = members([
        ("owner", json!(root.owner)),
        ("version", root.version.into()),
        ("providers", listed(&root)),
        ("params", params(&root)),
        ("proxies", hashes(&root.proxy_hashes)),
        ("workers", hashes(&root.worker_hashes)),
        ("models", hashes(&root.model_hashes)),
    ]);
    output.result("cocoon-root", &lines(&root), found)
}

fn lines(root: &CocoonRoot) -> Vec<String> {
    let terms = &root.params;
    let mut lines = vec![format!(
        "network {}{}, terms {} of layout {}: {} nano a token, {} of it for the worker",
        terms.unique_id,
        if terms.is_test { " (test)" } else { "" },
        terms.params_version,
        terms.struct_version,
        terms.price_per_token,
        terms.worker_fee_per_token,
    )];
    lines.push(format!(
        "times {} prompt, {} cached, {} completion, {} reasoning, in ten-thousandths",
        terms.prompt_multiplier,
        terms.cached_multiplier,
        terms.completion_multiplier,
        terms.reasoning_multiplier,
    ));
    lines.extend(root.providers.iter().map(|provider| {
        format!(
            "proxy {}: clients connect to {}",
            provider.seqno, provider.for_clients
        )
    }));
    lines.extend(
        root.model_hashes
            .iter()
            .map(|hash| format!("model {}", hex(hash))),
    );
    lines
}

fn listed(root: &CocoonRoot) -> Value {
    let all = root.providers.iter().map(|provider| {
        json!({
            "seqno": provider.seqno,
            "for_workers": provider.for_workers,
            "for_clients": provider.for_clients,
        })
    });
    all.collect()
}

fn params(root: &CocoonRoot) -> Value {
    let terms = &root.params;
    json!({
        "struct_version": terms.struct_version,
        "params_version": terms.params_version,
        "unique_id": terms.unique_id,
        "is_test": terms.is_test,
        "price_per_token": terms.price_per_token.to_string(),
        "worker_fee_per_token": terms.worker_fee_per_token.to_string(),
        "prompt_multiplier": terms.prompt_multiplier,
        "cached_multiplier": terms.cached_multiplier,
        "completion_multiplier": terms.completion_multiplier,
        "reasoning_multiplier": terms.reasoning_multiplier,
        "proxy_delay": terms.proxy_delay,
        "client_delay": terms.client_delay,
        "min_proxy_stake": terms.min_proxy_stake.to_string(),
        "min_client_stake": terms.min_client_stake.to_string(),
    })
}

fn hashes(all: &[[u8; 32]]) -> Value {
    all.iter().map(|hash| Value::String(hex(hash))).collect()
}

fn hex(hash: &[u8; 32]) -> String {
    protocol::digest::AccountId(*hash).to_string()
}
