//! Adapts weights to images with other channels.

use mae_vit::{Geometry, Normalize, VitConfig};

use crate::weights::file::WeightFile;
use crate::weights::metadata::{
    CHANNELS_KEY, CLASSIFIER_KEY, CONFIG_KEY, ENCODER_KEY, NORMALIZE_KEY, SEGMENTER_KEY, json,
};
use crate::{ClassifierConfig, Hints, MaeConfig, ModelError, SegmenterConfig};

/// The channels of a model's images.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Channels {
    /// This many channels, unrelated to the old ones by name. A single channel takes the sum of all old channels'
    /// kernels. Several repeat the old kernels in turn, scaled by the old number of channels over the new. The old
    /// number changes nothing.
    ///
    /// # Source
    /// timm `adapt_input_conv`.
    Count(usize),
    /// Channels with these names. Each takes the kernels of the old channel of its name, or zeros if there is none, so
    /// that the model sees in the new images what it saw in the old.
    Named(Vec<String>),
}

/// The channel names of a three-channel file that does not name them.
const COLOURS: [&str; 3] = ["red", "green", "blue"];

/// For each new channel, the shares of the old ones in it.
type Shares = Vec<Vec<f32>>;

impl WeightFile {
    /// Adapts the weights to images with other channels, in f32: the patch embedding and, in the decoder, the
    /// prediction of pixels. A single predicted channel is the mean of the old ones.
    ///
    /// The mean and standard deviation of the images are adapted where they are known. A single channel takes the means
    /// of the old ones, a named channel those of the old channel of its name. With several unnamed channels or a new
    /// name, the file no longer says how images are normalised.
    ///
    /// # Errors
    /// [`ModelError::Resample`] for no channels or a repeated name, if the file has none of the names, or if it has a
    /// number of channels other than three and does not name them.
    pub fn with_channels(mut self, channels: &Channels, hints: &Hints) -> Result<Self, ModelError> {
        let old = self.vit_config(hints)?.geometry;
        let refuse = |reason: String| ModelError::Resample { path: self.path.clone(), reason };
        let from = old.in_chans();
        if *channels == Channels::Count(from) {
            return Ok(self);
        }
        let (kernels, predictions) = match channels {
            Channels::Count(count) => counted(from, *count),
            Channels::Named(names) => {
                let old = self.channel_names(from).map_err(refuse)?;
                let shares = named(&old, names).map_err(refuse)?;
                (shares.clone(), shares)
            }
        };
        let new = Geometry::new(old.image_size(), old.patch_size(), kernels.len())
            .map_err(|error| refuse(error.to_string()))?;
        let normalize = self.said_normalize()?.value;
        self.replace_values("patch_embed.proj.weight", |values, shape| {
            let pixels = shape[2] * shape[3];
            let out = values.chunks_exact(from * pixels).flat_map(|kernel| mixed(kernel, pixels, &kernels));
            (out.collect(), vec![shape[0], kernels.len(), shape[2], shape[3]])
        })?;
        for name in ["decoder_pred.weight", "decoder_pred.bias"] {
            // One row per value of a patch, with a pixel's channels side by side.
            self.replace_values(name, |values, shape| {
                let row = shape[1..].iter().product::<usize>();
                let out = values.chunks_exact(from * row).flat_map(|pixel| mixed(pixel, row, &predictions));
                let rows = shape[0] / from * predictions.len();
                (out.collect(), [&[rows], &shape[1..]].concat())
            })?;
        }
        if let Some(config) = self.parsed::<MaeConfig>(CONFIG_KEY)? {
            self.metadata.insert(CONFIG_KEY.into(), json(&MaeConfig { geometry: new, ..config }));
        }
        if let Some(config) = self.parsed::<VitConfig>(ENCODER_KEY)? {
            self.metadata.insert(ENCODER_KEY.into(), json(&VitConfig { geometry: new, ..config }));
        }
        if let Some(mut config) = self.parsed::<ClassifierConfig>(CLASSIFIER_KEY)? {
            config.vit.geometry = new;
            self.metadata.insert(CLASSIFIER_KEY.into(), json(&config));
        }
        if let Some(mut config) = self.parsed::<SegmenterConfig>(SEGMENTER_KEY)? {
            config.vit.geometry = new;
            self.metadata.insert(SEGMENTER_KEY.into(), json(&config));
        }
        // The files beside the weights describe the old channels.
        self.beside.other_channels = true;
        match normalized(&normalize, channels, &kernels) {
            Some(normalize) => self.metadata.insert(NORMALIZE_KEY.into(), json(&normalize)),
            None => self.metadata.remove(NORMALIZE_KEY),
        };
        match channels {
            Channels::Named(names) => self.metadata.insert(CHANNELS_KEY.into(), json(names)),
            Channels::Count(_) => self.metadata.remove(CHANNELS_KEY),
        };
        if let Ok(said) = &mut self.said {
            said.shapes.retain(|(key, _)| !["num_channels", "in_chans"].contains(key));
        }
        Ok(self)
    }

    /// The names of the file's channels, by default those of three colours.
    fn channel_names(&self, count: usize) -> Result<Vec<String>, String> {
        let names = self.metadata.get(CHANNELS_KEY).map(|text| serde_json::from_str::<Vec<String>>(text));
        match names {
            Some(Ok(names)) if names.len() == count => Ok(names),
            Some(_) => Err(format!("'{CHANNELS_KEY}' does not name its {count} channels")),
            None if count == COLOURS.len() => Ok(COLOURS.map(str::to_owned).to_vec()),
            None => Err(format!("it has {count} channels and does not name them")),
        }
    }
}

fn counted(from: usize, to: usize) -> (Shares, Shares) {
    if to == 1 {
        return (vec![vec![1.0; from]], vec![vec![1.0 / from as f32; from]]);
    }
    let in_turn = |share: f32| -> Shares {
        let row = |i: usize| (0..from).map(|j| if j == i % from { share } else { 0.0 }).collect();
        (0..to).map(row).collect()
    };
    (in_turn(from as f32 / to as f32), in_turn(1.0))
}

fn named(old: &[String], new: &[String]) -> Result<Shares, String> {
    if let Some(twice) = new.iter().enumerate().find(|(i, name)| new[..*i].contains(name)) {
        return Err(format!("the channel {} is named twice", twice.1));
    }
    if !new.iter().any(|name| old.contains(name)) {
        return Err(format!("none of the channels {} is one of its {}", new.join(", "), old.join(", ")));
    }
    let share = |new: &String, old: &String| if new == old { 1.0 } else { 0.0 };
    Ok(new.iter().map(|new| old.iter().map(|old| share(new, old)).collect()).collect())
}

/// Mixes the old channels, `size` values each, into the new ones.
fn mixed(old: &[f32], size: usize, shares: &Shares) -> Vec<f32> {
    let new = |shares: &Vec<f32>| {
        let mut sum = vec![0.0; size];
        for (old, share) in old.chunks_exact(size).zip(shares).filter(|(_, share)| **share != 0.0) {
            sum.iter_mut().zip(old).for_each(|(sum, old)| *sum += old * share);
        }
        sum
    };
    shares.iter().flat_map(new).collect()
}

fn normalized(old: &Normalize, channels: &Channels, shares: &Shares) -> Option<Normalize> {
    let of = |numbers: &[f32]| -> Option<Vec<f32>> {
        let new = |shares: &Vec<f32>| {
            let taken: Vec<f32> =
                numbers.iter().zip(shares).filter(|(_, share)| **share != 0.0).map(|(x, _)| *x).collect();
            (!taken.is_empty()).then(|| taken.iter().sum::<f32>() / taken.len() as f32)
        };
        shares.iter().map(new).collect()
    };
    let known = matches!(channels, Channels::Count(1) | Channels::Named(_));
    let fits = shares.iter().all(|row| row.len() == old.mean().len());
    let (mean, std) = of(old.mean()).zip(of(old.std())).filter(|_| known && fits)?;
    Normalize::of(old.dtype(), mean, std).ok()
}
