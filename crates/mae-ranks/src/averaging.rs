//! The mean of a model's gradients over ranks, overlapped with the backward pass.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};

use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Gradients, Tensor};
use mae_vit::ops;
use serde::{Deserialize, Serialize};

use crate::collective::{Pending, bucket_bytes};
use crate::{Collective, RanksError};

/// Averages the gradients of a model over ranks in buckets. In the first update, the main rank records the order in
/// which the backward pass produces gradients, and all buckets are sent after the backward pass. From the second update
/// on, each bucket is sent as soon as it is full.
///
/// # Source
/// Buckets in the order of the backward pass: PyTorch Distributed, arXiv 2006.15704, section 3.2.
pub struct Averaging {
    ranks: Arc<dyn Collective>,
    order: Mutex<Option<Arc<Order>>>,
    /// Whether buckets are sent during the backward pass.
    overlap: bool,
}

/// The environment variable that, set to 0, delays all buckets until after the backward pass. `xtask bench overlap`
/// compares both.
const OVERLAP: &str = "MAE_OVERLAP";

/// Which gradients share a bucket, and the order of buckets. All ranks use the main rank's. A number is a parameter's
/// index in the model.
#[derive(Serialize, Deserialize)]
struct Order {
    buckets: Vec<Vec<usize>>,
    /// Gradients that the backward pass hands over. All others are available only at its end.
    early: HashSet<usize>,
}

impl Averaging {
    /// Creates an average over the given ranks.
    pub fn new(ranks: Arc<dyn Collective>) -> Self {
        let overlap = !std::env::var(OVERLAP).is_ok_and(|value| value == "0");
        Self { ranks, order: Mutex::default(), overlap }
    }

    /// The ranks over which gradients are averaged.
    pub fn ranks(&self) -> &Arc<dyn Collective> {
        &self.ranks
    }

    /// Returns the mean over all ranks of an update's gradients: the sum of those of its `earlier` batches and those
    /// that `backward` computes for the last one.
    ///
    /// # Errors
    /// [`RanksError::Ranks`] if another rank does not answer, or if the parameters with gradients differ from those of
    /// the first update.
    pub fn mean<M: Module>(
        &self,
        model: &M,
        earlier: GradientsParams,
        backward: impl FnOnce() -> Gradients,
        device: &Device,
    ) -> Result<GradientsParams, RanksError> {
        let order = self.order.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let pass = Rc::new(RefCell::new(Pass {
            ranks: self.ranks.clone(),
            order: order.clone(),
            made: flatten(model, earlier),
            handed: Vec::new(),
            sent: Vec::new(),
            failure: None,
        }));
        let (places, overlap) = (Arc::new(places(model)), self.overlap && self.ranks.overlaps(device));
        let gradients = {
            let (early, of_taken, pass) = (places.clone(), places.clone(), pass.clone());
            ops::handing_over(
                model,
                move |id| overlap && order.as_ref().is_none_or(|order| order.early.contains(&early[&id])),
                move |id, gradient| pass.borrow_mut().take(of_taken[&id], gradient),
                backward,
            )
        };
        let mut pass = Rc::into_inner(pass).expect("the backward pass is over").into_inner();
        for (place, gradient) in flatten(model, GradientsParams::from_grads(gradients, model)) {
            pass.late(place, gradient);
        }
        if pass.order.is_none() {
            let order = Arc::new(self.agree(&pass)?);
            pass.order = Some(order.clone());
            *self.order.lock().unwrap_or_else(PoisonError::into_inner) = Some(order);
        }
        Ok(give_back(model, pass.finish()?))
    }

    /// Returns the main rank's order of the gradients of a first pass.
    fn agree(&self, pass: &Pass) -> Result<Order, RanksError> {
        let mut bytes = Vec::new();
        if self.ranks.is_main() {
            let order = pass.observed(bucket_bytes(self.ranks.size()));
            bytes = serde_json::to_vec(&order).expect("an order is plain numbers");
        }
        self.ranks.broadcast(&mut bytes)?;
        serde_json::from_slice(&bytes).map_err(|error| {
            RanksError::ranks(format!("cannot read the main rank's order of gradients: {error}"))
        })
    }
}

/// One update's gradients.
struct Pass {
    ranks: Arc<dyn Collective>,
    /// `None` in a first pass.
    order: Option<Arc<Order>>,
    /// Gradients not sent yet, by parameter index: sums of those computed so far.
    made: BTreeMap<usize, Tensor<1>>,
    /// Parameter indices of complete gradients, in the order in which the backward pass handed them over.
    handed: Vec<usize>,
    /// The buckets sent so far, in order.
    sent: Vec<Pending>,
    failure: Option<RanksError>,
}

impl Pass {
    /// Takes a gradient from the backward pass, and sends the buckets that it completes.
    fn take(&mut self, place: usize, gradient: Tensor<1>) {
        self.add(place, gradient);
        self.handed.push(place);
        let Some(order) = self.order.clone() else { return };
        while let Some(bucket) = order.buckets.get(self.sent.len())
            && bucket.iter().all(|place| self.handed.contains(place))
            && self.failure.is_none()
        {
            self.failure = self.send(bucket).err();
        }
    }

    /// Takes a gradient that the backward pass has not handed over.
    fn late(&mut self, place: usize, gradient: Tensor<1>) {
        // If the parameter is used twice, a first gradient was handed over. If it was sent already, finish() refuses
        // the second.
        self.handed.retain(|handed| *handed != place);
        self.add(place, gradient);
    }

    fn add(&mut self, place: usize, gradient: Tensor<1>) {
        let sum = match self.made.remove(&place) {
            Some(before) => before + gradient,
            None => gradient,
        };
        self.made.insert(place, sum);
    }

    fn send(&mut self, bucket: &[usize]) -> Result<(), RanksError> {
        let gradients: Option<Vec<_>> = bucket.iter().map(|place| self.made.remove(place)).collect();
        self.sent.push(self.ranks.mean(gradients.ok_or_else(others_than_before)?)?);
        Ok(())
    }

    /// Returns the order of a first pass: first the gradients handed over, then the rest.
    fn observed(&self, bucket_bytes: usize) -> Order {
        let early: HashSet<usize> = self.handed.iter().copied().collect();
        let rest = self.made.keys().copied().filter(|place| !early.contains(place));
        let mut buckets: Vec<Vec<usize>> = Vec::new();
        let (mut bytes, mut early_bucket) = (usize::MAX, true);
        for place in self.handed.iter().copied().chain(rest) {
            // A late gradient would hold up a bucket of early ones.
            if bytes >= bucket_bytes || early.contains(&place) != early_bucket {
                buckets.push(Vec::new());
                bytes = 0;
            }
            early_bucket = early.contains(&place);
            bytes += self.made[&place].dims()[0] * size_of::<f32>();
            buckets.last_mut().expect("one was pushed first").push(place);
        }
        Order { buckets, early }
    }

    /// Sends the remaining buckets and waits for all. Returns the means by parameter index.
    fn finish(mut self) -> Result<HashMap<usize, Tensor<1>>, RanksError> {
        if let Some(error) = self.failure {
            return Err(error);
        }
        let order = self.order.clone().expect("agreed on by now");
        for bucket in &order.buckets[self.sent.len()..] {
            self.send(bucket)?;
        }
        if !self.made.is_empty() {
            return Err(others_than_before());
        }
        let mut means = HashMap::new();
        for (bucket, pending) in order.buckets.iter().zip(self.sent) {
            means.extend(bucket.iter().copied().zip(pending()?));
        }
        Ok(means)
    }
}

fn others_than_before() -> RanksError {
    RanksError::ranks("other parameters have gradients than in the first update".to_owned())
}

/// Returns the index of each parameter in the model.
fn places<M: Module>(model: &M) -> HashMap<ParamId, usize> {
    struct Places(HashMap<ParamId, usize>);
    impl ModuleVisitor for Places {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let place = self.0.len();
            self.0.entry(param.id).or_insert(place);
        }
    }
    let mut places = Places(HashMap::new());
    model.visit(&mut places);
    places.0
}

/// Flattens gradients to one dimension, by parameter index.
fn flatten<M: Module>(model: &M, gradients: GradientsParams) -> BTreeMap<usize, Tensor<1>> {
    struct Flatten(HashMap<ParamId, usize>, GradientsParams, BTreeMap<usize, Tensor<1>>);
    impl ModuleVisitor for Flatten {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(gradient) = self.1.remove::<D>(param.id) {
                self.2.insert(self.0[&param.id], gradient.flatten(0, D - 1));
            }
        }
    }
    if gradients.is_empty() {
        return BTreeMap::new();
    }
    let mut flatten = Flatten(places(model), gradients, BTreeMap::new());
    model.visit(&mut flatten);
    flatten.2
}

/// The inverse of [`flatten`].
fn give_back<M: Module>(model: &M, gradients: HashMap<usize, Tensor<1>>) -> GradientsParams {
    struct GiveBack(HashMap<ParamId, usize>, HashMap<usize, Tensor<1>>, GradientsParams);
    impl ModuleVisitor for GiveBack {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(gradient) = self.1.remove(&self.0[&param.id]) {
                self.2.register(param.id, gradient.reshape(param.val().dims()));
            }
        }
    }
    let mut given = GiveBack(places(model), gradients, GradientsParams::new());
    model.visit(&mut given);
    given.2
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use burn::tensor::{DType, TensorData};
    use mae_masking::{Masker, Strategy};
    use mae_model::Mae;
    use mae_vit::Geometry;

    use super::*;
    use crate::Pending;

    /// Two ranks that do the same. Records the bytes of each bucket and whether it was sent during the backward pass.
    #[derive(Default)]
    struct Twins {
        backward: AtomicBool,
        buckets: Mutex<Vec<(usize, bool)>>,
    }

    impl Collective for Twins {
        fn rank(&self) -> usize {
            0
        }

        fn size(&self) -> usize {
            2
        }

        fn local_rank(&self) -> usize {
            0
        }

        fn mean(&self, tensors: Vec<Tensor<1>>) -> Result<Pending, RanksError> {
            let bytes = tensors.iter().map(|tensor| tensor.dims()[0] * size_of::<f32>()).sum();
            self.buckets.lock().unwrap().push((bytes, self.backward.load(Ordering::Relaxed)));
            Ok(Box::new(|| Ok(tensors)))
        }

        fn broadcast(&self, _: &mut Vec<u8>) -> Result<(), RanksError> {
            Ok(())
        }

        fn gather(&self, bytes: &[u8]) -> Result<Vec<Vec<u8>>, RanksError> {
            Ok(vec![bytes.to_vec(), bytes.to_vec()])
        }

        fn abort(&self) -> ! {
            unreachable!("nothing fails")
        }
    }

    fn numbers(model: &Mae, gradients: &GradientsParams) -> Vec<f32> {
        struct Numbers<'a>(&'a GradientsParams, Vec<f32>);
        impl ModuleVisitor for Numbers<'_> {
            fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
                if let Some(gradient) = self.0.get::<D>(param.id) {
                    self.1.extend(gradient.into_data().try_to_vec::<f32>().unwrap());
                }
            }
        }
        let mut numbers = Numbers(gradients, Vec::new());
        model.visit(&mut numbers);
        numbers.1
    }

    #[test]
    fn gradients_travel_while_the_backward_pass_makes_them_and_arrive_as_they_were() {
        let device = burn::tensor::Device::flex().autodiff();
        // Large enough for several buckets.
        let geometry = Geometry::new((32, 32), 4, 3).unwrap();
        let model = mae_model::Preset::Tiny.config(geometry).init(0, &device).unwrap();
        let pixels = (0..2 * 3 * 32 * 32).map(|i| (i as f32 * 0.37).sin()).collect();
        let images = Tensor::<4>::from_data(TensorData::new(pixels, [2, 3, 32, 32]), (&device, DType::F32));
        let masker = Masker::new(Strategy::Random, (8, 8), 0.75).unwrap();
        let masks = masker.draw_batch(1, [(0, 0), (0, 1)]).unwrap();
        let loss = |share: f64| model.forward(images.clone(), &masks).mul_scalar(share);
        let alone = GradientsParams::from_grads(loss(1.0).backward(), &model);
        let alone = numbers(&model, &alone);

        let twins = Arc::new(Twins::default());
        let averaging = Averaging::new(twins.clone());
        for update in 0..3 {
            twins.buckets.lock().unwrap().clear();
            // The last update has two batches, each of which counts half.
            let share = if update == 2 { 0.5 } else { 1.0 };
            let earlier = match update {
                2 => GradientsParams::from_grads(loss(share).backward(), &model),
                _ => GradientsParams::new(),
            };
            let loss = loss(share);
            let backward = || {
                twins.backward.store(true, Ordering::Relaxed);
                let gradients = loss.backward();
                twins.backward.store(false, Ordering::Relaxed);
                gradients
            };
            let mean = averaging.mean(&model, earlier, backward, &device).unwrap();
            assert_eq!(numbers(&model, &mean), alone, "update {update}");
            let buckets = twins.buckets.lock().unwrap();
            let bytes = |during: bool| -> usize {
                buckets.iter().filter(|bucket| bucket.1 == during).map(|bucket| bucket.0).sum()
            };
            assert_eq!(bytes(true) + bytes(false), alone.len() * size_of::<f32>());
            match update {
                0 => assert_eq!(bytes(true), 0, "the order was not known"),
                _ => assert!(bytes(true) > 9 * bytes(false), "{buckets:?}"),
            }
        }
    }
}
