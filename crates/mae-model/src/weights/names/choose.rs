//! Chooses a model of a file: finds the prefix and the scheme of its names, and makes them official.

use std::collections::BTreeMap;
use std::path::Path;

use super::schemes::{from_lightly, from_transformers};
use crate::weights::read::{Models, Stored};
use crate::{ModelError, Scheme};

/// Parts of prefixes in order of preference, if a file holds several models.
///
/// # Source
/// timm `load_state_dict` with its default `use_ema=True`; then the choice of DINO's and MoCo-v3's own evaluation.
const PREFERRED: [&str; 6] =
    ["state_dict_ema", "model_ema", "state_dict", "model", "teacher", "base_encoder"];

/// The patch projection's name in each scheme. What precedes it is the prefix of all the encoder's names.
const PROJECTIONS: [(Scheme, &str); 2] = [
    (Scheme::Official, "patch_embed.proj.weight"),
    (Scheme::Transformers, "embeddings.patch_embeddings.projection.weight"),
];

/// A model in a file.
struct Candidate {
    scheme: Scheme,
    /// The prefix of the encoder's names, with its dot.
    prefix: String,
}

impl Candidate {
    fn name(&self) -> &str {
        self.prefix.strip_suffix('.').unwrap_or(&self.prefix)
    }

    /// The rank among candidates; the smallest is taken.
    fn rank(&self) -> (Vec<usize>, usize) {
        let place = |part: &str| PREFERRED.iter().position(|name| *name == part);
        let parts = self.name().split('.').filter(|part| !part.is_empty());
        (parts.map(|part| place(part).unwrap_or(PREFERRED.len())).collect(), self.prefix.len())
    }

    /// Whether a user's key names it: by its whole name or by whole parts of it.
    fn is_called(&self, key: &str) -> bool {
        format!(".{}.", self.name()).contains(&format!(".{key}."))
    }
}

/// The tensors of one model under their official names.
pub(crate) struct Chosen {
    pub scheme: Scheme,
    /// The prefix of the encoder's names.
    pub prefix: String,
    pub tensors: BTreeMap<String, Stored>,
    /// Names of the tensors that do not belong to this model.
    pub other: Vec<String>,
    pub models: Models,
}

/// Takes the requested model, or the preferred one.
pub(crate) fn choose(path: &Path, tensors: Vec<Stored>, key: Option<&str>) -> Result<Chosen, ModelError> {
    let mut candidates: Vec<Candidate> = PROJECTIONS
        .into_iter()
        .flat_map(|(scheme, projection)| {
            let prefixes = tensors.iter().filter_map(move |stored| stored.name.strip_suffix(projection));
            let named = prefixes.filter(|prefix| prefix.is_empty() || prefix.ends_with('.'));
            named.map(move |prefix| Candidate { scheme, prefix: prefix.into() })
        })
        .collect();
    candidates.sort_by_key(Candidate::rank);
    let names = |all: &[Candidate]| all.iter().map(|model| model.name().to_owned()).collect::<Vec<_>>();
    if candidates.is_empty() {
        return Err(ModelError::Description { path: path.into(), reason: nothing(&tensors) });
    }
    let index = match key {
        None => 0,
        Some(key) => {
            let called: Vec<usize> =
                (0..candidates.len()).filter(|index| candidates[*index].is_called(key)).collect();
            let [index] = called[..] else {
                let (name, known) = (key.to_owned(), names(&candidates).join(", "));
                return Err(ModelError::NoModel { path: path.into(), name, known });
            };
            index
        }
    };
    let taken = candidates.remove(index);
    let models = Models { taken: taken.name().into(), others: names(&candidates) };
    let Candidate { scheme, prefix } = taken;
    let (tensors, other) = officially(path, tensors, scheme, &prefix)?;
    Ok(Chosen { scheme, prefix, tensors, other, models })
}

/// Says what there is instead of a vision transformer.
fn nothing(tensors: &[Stored]) -> String {
    let first = tensors.iter().map(|stored| stored.name.as_str()).min().unwrap_or("nothing");
    let has = |part: &str| tensors.iter().any(|stored| stored.name.contains(part));
    let known = [
        ("visual.conv1.weight", "OpenAI's CLIP, which is not supported"),
        (
            "patch_embed.proj.0.",
            "a vision transformer on a stem of several convolutions, which is not supported",
        ),
        ("embedding.kernel", "a vision transformer under JAX's names: take its PyTorch weights"),
        ("conv_proj.weight", "torchvision's vision transformer, whose names are not supported"),
    ];
    let what = known
        .into_iter()
        .find(|(part, _)| has(part))
        .map_or(String::new(), |(_, what)| format!("; it looks like {what}"));
    format!("no patch embedding among its {} tensors, of which the first is {first}{what}", tensors.len())
}

/// The tensors under their official names, and the names of those that do not belong to the model.
#[allow(clippy::type_complexity, reason = "one caller takes it apart")]
fn officially(
    path: &Path,
    tensors: Vec<Stored>,
    scheme: Scheme,
    prefix: &str,
) -> Result<(BTreeMap<String, Stored>, Vec<String>), ModelError> {
    // The decoders of transformers and lightly stand beside the encoder, outside its prefix.
    let outer =
        ["backbone.vit.", "vit."].into_iter().find_map(|own| prefix.strip_suffix(own)).unwrap_or(prefix);
    let beside =
        outer != prefix && tensors.iter().any(|stored| stored.name == format!("{outer}decoder.mask_token"));
    let official = |name: &str| match scheme {
        Scheme::Transformers => {
            let decoder = name.strip_prefix(outer).filter(|rest| rest.starts_with("decoder."));
            from_transformers(decoder.or_else(|| name.strip_prefix(prefix))?)
        }
        _ => {
            let decoder = || from_lightly(name.strip_prefix(outer).filter(|_| beside)?);
            decoder().or_else(|| name.strip_prefix(prefix).map(str::to_owned)).map(|name| (name, None))
        }
    };
    let (mut all, mut thirds, mut other) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
    for stored in tensors {
        match official(&stored.name) {
            None => other.push(stored.name),
            Some((name, Some(third))) => {
                thirds.entry(name).or_insert_with(BTreeMap::new).insert(third, stored);
            }
            Some((name, None)) => drop(all.insert(name, stored)),
        }
    }
    for (name, parts) in thirds {
        let names: Vec<String> = parts.values().map(|part| part.name.clone()).collect();
        let stacked = Some(parts).filter(|parts| parts.len() == 3);
        let Some(stacked) = stacked.and_then(|parts| Stored::stacked(parts.into_values().collect())) else {
            let reason = format!("query, key and value are not three equal tensors: {}", names.join(", "));
            return Err(ModelError::Description { path: path.into(), reason });
        };
        all.insert(name, stacked);
    }
    other.sort();
    Ok((all, other))
}
