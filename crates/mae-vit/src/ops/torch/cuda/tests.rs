//! Compares the kernels with PyTorch's operations in f64.

use super::*;

const CARD: Device = Device::Cuda(0);

fn random(shape: &[i64], kind: Kind) -> Tensor {
    Tensor::randn(shape, (Kind::Float, CARD)).to_kind(kind)
}

/// Compares in f64, relative to the largest absolute value of the reference.
fn assert_near(what: &str, ours: &Tensor, reference: &Tensor, tolerance: f64) {
    assert_eq!(ours.size(), reference.size(), "{what}");
    let [ours, reference] = [ours, reference].map(|tensor| tensor.to_kind(Kind::Double));
    let off = (ours - &reference).abs().max().double_value(&[]) / reference.abs().max().double_value(&[]);
    assert!(off < tolerance, "{what} is {off:.1e} off");
}

/// Half a unit in the last of bf16's eight significant bits.
const ROUNDING: f64 = 1.0 / 256.0;

#[test]
#[ignore = "needs NVIDIA's run-time compiler, but no card"]
fn every_kernel_compiles() {
    for capability in [(8, 0), (8, 9), (9, 0)] {
        compile(COLUMNS, capability, Vec::new()).unwrap();
        for width in [192, 384, 512, 768, 1024, 1280, MAX_WIDTH] {
            compile(NORM, capability, of_width(width)).unwrap();
        }
    }
}

#[test]
#[ignore = "needs an NVIDIA card"]
fn layer_norm_is_pytorchs() {
    for (width, queries) in [(192, 50), (512, 37), (768, 50), (1024, 1), (1280, 50), (2048, 9)] {
        let x = random(&[5, 50, width], Kind::Float) * 3.0 + 1.0;
        let [weight, bias] = [0, 1].map(|_| random(&[width], Kind::Float));
        let grad = random(&[5, 50, width], Kind::BFloat16);
        let past = random(&[5, queries, width], Kind::Float);
        let cuda = kernels(&x, Precision::Bf16).expect("there are kernels for this card");
        let normed = cuda.norm(&x, &weight, &bias, 1e-6);
        let ours = cuda.norm_backward(&normed, &x, &weight, &grad, &past);

        let leaves = [x, weight, bias].map(|leaf| leaf.to_kind(Kind::Double).set_requires_grad(true));
        let [x, weight, bias] = &leaves;
        let out = x.layer_norm([width], Some(weight), Some(bias), 1e-6, false);
        assert_near("norm", &normed.out, &out, ROUNDING);
        let passed = (x.narrow(1, 50 - queries, queries) * &past).sum(None);
        let objective = (&out * grad.to_kind(Kind::Double)).sum(None) + passed;
        let theirs = Tensor::run_backward(&[objective], &leaves, false, false);
        for (what, (ours, theirs)) in ["x", "weight", "bias"].iter().zip(ours.iter().zip(&theirs)) {
            assert_near(&format!("the gradient of {what} of {width}"), ours, theirs, 1e-5);
        }
    }
}

#[test]
#[ignore = "needs an NVIDIA card"]
fn columns_are_pytorchs() {
    for (rows, columns) in [(5, 8), (1000, 264), (12_345, 2048), (77, 768)] {
        let x = random(&[rows, columns], Kind::Float);
        let cuda = kernels(&x, Precision::Bf16).expect("there are kernels for this card");
        let (rounded, sums) = cuda.rounded(&x);
        assert_near("rounded", &rounded, &x.to_kind(Kind::BFloat16), 1e-9);
        assert_near("sums", &sums, &x.to_kind(Kind::Double).sum_dim_intlist(0, false, None), 1e-5);
        let theirs = rounded.to_kind(Kind::Double).sum_dim_intlist(0, false, None);
        assert_near("sums of bf16", &cuda.column_sums(&rounded), &theirs, 1e-5);

        assert_near("add", &cuda.add(&x, &rounded), &(&x + &rounded), 1e-9);
        let theirs = rounded.to_kind(Kind::Double).gelu("none");
        assert_near("GELU", &cuda.gelu(&rounded), &theirs, ROUNDING);
        let grad = random(&[rows, columns], Kind::BFloat16);
        let (ours, sums) = cuda.gelu_backward(&grad, &rounded);
        let leaf = rounded.to_kind(Kind::Double).set_requires_grad(true);
        let objective = (leaf.gelu("none") * grad.to_kind(Kind::Double)).sum(None);
        let theirs = Tensor::run_backward(&[objective], &[&leaf], false, false).remove(0);
        assert_near("the gradient of GELU", &ours, &theirs, ROUNDING);
        let theirs = ours.to_kind(Kind::Double).sum_dim_intlist(0, false, None);
        assert_near("its sums", &sums, &theirs, 1e-5);
    }
}
/// Queues more uploads than there are slots, of two sizes, while the card is busy.
#[test]
#[ignore = "needs an NVIDIA card"]
fn uploads_arrive_whole_and_in_order() {
    let card = card(0).expect("the card opens");
    let busy = random(&[4096, 4096], Kind::Float);
    let mut arrived = Vec::new();
    for upload in 0..40_usize {
        let _ = busy.mm(&busy);
        let bytes: Vec<u8> = (0..1_000_000 + upload % 2).map(|i| (i * 7 + upload * 31) as u8).collect();
        let tensor = card.upload_bytes(&bytes, &[bytes.len() as i64], CARD).expect("it is copied");
        arrived.push((bytes, tensor));
    }
    for (bytes, tensor) in arrived {
        let theirs = Tensor::from_slice(&bytes).to_kind(Kind::Float);
        assert!(tensor.to_device(Device::Cpu).equal(&theirs));
    }
}
