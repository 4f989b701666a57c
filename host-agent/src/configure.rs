//! Making a launch configuration: models, prices and limits in, canonical bytes out.
//!
//! Deliberately not here: the document's rules (`protocol::launch_configuration`).

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use protocol::digest::ConfigDigest;
use protocol::launch_configuration::{
    LaunchConfiguration, LaunchConfigurationError, Limits, ModelEntry, config_digest,
};
use protocol::receipt::TokenPrices;
use protocol::ton::{NetworkId, TonAddress};

use crate::launch::configuration::{ConfigurationError, read_description};

/// The configuration cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ConfigureError {
    /// A model's description cannot be used.
    #[error("cannot use a model")]
    Model(#[from] ConfigurationError),
    /// Each model needs its prices.
    #[error("{models} models and {prices} prices: each `--model` needs one `--prices`")]
    Prices {
        /// Models given.
        models: usize,
        /// Prices given.
        prices: usize,
    },
    /// A member is outside its range.
    #[error("the launch configuration would be refused ({})", .0.code())]
    Refused(#[from] LaunchConfigurationError),
    /// The file cannot be written.
    #[error("cannot write `{}`", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// `NAME=FILE`: the name used in requests, and the model's `model.json`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelChoice {
    /// The name used in requests.
    pub name: String,
    /// The model's description.
    pub description: PathBuf,
}

/// Text that is not of the form of an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected {0}")]
pub struct FormError(&'static str);

impl FromStr for ModelChoice {
    type Err = FormError;

    fn from_str(text: &str) -> Result<Self, FormError> {
        match text.split_once('=') {
            Some((name, path)) if !name.is_empty() && !path.is_empty() => Ok(Self {
                name: name.to_owned(),
                description: path.into(),
            }),
            Some(_) | None => Err(FormError("NAME=FILE")),
        }
    }
}

/// Reads `PROMPT,CACHED,COMPLETION`, smallest units per token.
///
/// # Errors
/// `FormError` for anything else.
pub fn parse_prices(text: &str) -> Result<TokenPrices, FormError> {
    let malformed = FormError("PROMPT,CACHED,COMPLETION in smallest units per token");
    let numbers: Result<Vec<u64>, _> = text.split(',').map(str::parse).collect();
    match numbers.as_deref() {
        Ok([prompt, cached, completion]) => Ok(TokenPrices {
            prompt: *prompt,
            cached: *cached,
            completion: *completion,
        }),
        Ok(_) | Err(_) => Err(malformed),
    }
}

/// What a configuration is made of.
#[derive(Debug, Clone)]
pub struct Choices {
    /// The network on which payment is claimed.
    pub network: NetworkId,
    /// Who is paid.
    pub payee: TonAddress,
    /// Minter of the jetton that is paid in; none for the network's coin.
    pub jetton: Option<TonAddress>,
    /// Models in the order of their disks.
    pub models: Vec<ModelChoice>,
    /// Their prices, in the same order.
    pub prices: Vec<TokenPrices>,
    /// What the machine takes on.
    pub limits: Limits,
}

/// The canonical bytes.
///
/// # Errors
/// [`ConfigureError`].
pub fn configuration(choices: &Choices) -> Result<Vec<u8>, ConfigureError> {
    if choices.models.len() != choices.prices.len() {
        return Err(ConfigureError::Prices {
            models: choices.models.len(),
            prices: choices.prices.len(),
        });
    }
    let mut models = Vec::new();
    for (model, prices) in choices.models.iter().zip(&choices.prices) {
        let (_, verity) = read_description(&model.description)?;
        models.push(ModelEntry {
            name: model.name.clone(),
            verity,
            prices: *prices,
        });
    }
    let document = LaunchConfiguration {
        version: 1,
        network: choices.network,
        payee: choices.payee,
        jetton: choices.jetton,
        models,
        limits: choices.limits,
    };
    let bytes = document.to_canonical_bytes()?;
    // What a guest would refuse is not written either.
    LaunchConfiguration::parse(&bytes)?;
    Ok(bytes)
}

/// Writes the configuration and tells its digest.
///
/// # Errors
/// [`ConfigureError`].
pub fn write(choices: &Choices, path: &Path) -> Result<ConfigDigest, ConfigureError> {
    let bytes = configuration(choices)?;
    let failed = |source| ConfigureError::Write {
        path: path.to_owned(),
        source,
    };
    let mut file = OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .open(path)
        .map_err(failed)?;
    file.write_all(&bytes).map_err(failed)?;
    Ok(config_digest(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    fn choices(place: &Path) -> Choices {
        let document = samples::configuration();
        let description = place.join("model.json");
        let verity = document.models[0].verity;
        let text = format!("{{\"name\": \"any\", \"verity\": \"{verity}\", \"bytes\": 1}}");
        std::fs::write(&description, text).unwrap();
        Choices {
            network: document.network,
            payee: document.payee,
            jetton: None,
            models: vec![ModelChoice {
                name: document.models[0].name.clone(),
                description,
            }],
            prices: vec![parse_prices("20,2,160").unwrap()],
            limits: document.limits,
        }
    }

    #[test]
    fn the_bytes_are_the_canonical_ones() {
        let place = tempfile::tempdir().unwrap();
        let bytes = configuration(&choices(place.path())).unwrap();
        assert_eq!(
            bytes,
            samples::configuration().to_canonical_bytes().unwrap()
        );
    }

    #[test]
    fn refuses_what_a_guest_would_refuse() {
        let place = tempfile::tempdir().unwrap();
        let mut bad = choices(place.path());
        bad.models[0].name = "UPPER".to_owned();
        assert!(matches!(
            configuration(&bad).unwrap_err(),
            ConfigureError::Refused(_)
        ));
        let mut bad = choices(place.path());
        bad.prices.clear();
        assert!(matches!(
            configuration(&bad).unwrap_err(),
            ConfigureError::Prices {
                models: 1,
                prices: 0
            }
        ));
    }

    #[test]
    fn prices_and_models_are_read_strictly() {
        for text in ["", "1", "1,2", "1,2,3,4", "1,-2,3", "1,2,x", "1.5,2,3"] {
            assert!(parse_prices(text).is_err(), "{text}");
        }
        for text in ["", "name", "=file", "name="] {
            assert!(text.parse::<ModelChoice>().is_err(), "{text}");
        }
    }
}
