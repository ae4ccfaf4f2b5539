//! Minimises a smooth convex function by L-BFGS, deterministically.

use std::collections::VecDeque;

use ndarray::{Array2, Zip};

/// Number of past steps from which the curvature is estimated.
///
/// # Source
/// scipy's `L-BFGS-B`, which scikit-learn calls: `maxcor` 10.
const MEMORY: usize = 10;

/// Maximum number of trials of one line search: 60 halvings or doublings span more than the 53 bits of f64 precision.
const TRIALS: usize = 60;

/// The constant of the sufficient decrease condition; [`WOLFE`] is that of the curvature condition.
///
/// # Source
/// Nocedal and Wright, Numerical Optimization, section 3.1: for quasi-Newton methods.
const ARMIJO: f64 = 1e-4;
/// See [`ARMIJO`].
const WOLFE: f64 = 0.9;

/// A point, and the function's value and gradient there.
pub(crate) struct Point {
    pub(crate) at: Array2<f64>,
    pub(crate) value: f64,
    pub(crate) gradient: Array2<f64>,
}

/// Minimises `function` from `start`. Stops when no entry of the gradient exceeds `tolerance` in magnitude, after
/// `max_steps` steps, or when rounding hides any further descent.
///
/// # Source
/// Nocedal and Wright, algorithms 7.4 and 7.5. The line search is Lewis and Overton, "Nonsmooth optimization via
/// quasi-Newton methods", algorithm 2.6: bisection until both Wolfe conditions hold, so that every step's curvature is
/// positive.
pub(crate) fn minimize(
    start: Array2<f64>,
    tolerance: f64,
    max_steps: usize,
    function: impl Fn(&Array2<f64>) -> (f64, Array2<f64>),
) -> Point {
    let evaluate = |at: Array2<f64>| {
        let (value, gradient) = function(&at);
        Point { at, value, gradient }
    };
    let mut here = evaluate(start);
    let mut steps = VecDeque::with_capacity(MEMORY);
    for _ in 0..max_steps {
        if here.gradient.iter().all(|slope| slope.abs() <= tolerance) {
            break;
        }
        let direction = direction(&here.gradient, &steps);
        let Some(there) = search(&here, &direction, evaluate) else { break };
        if steps.len() == MEMORY {
            steps.pop_front();
        }
        steps.push_back(Step::between(&here, &there));
        here = there;
    }
    here
}

/// A past step, and the change of the gradient along it.
struct Step {
    moved: Array2<f64>,
    bent: Array2<f64>,
    /// One over their dot product.
    rho: f64,
}

impl Step {
    fn between(here: &Point, there: &Point) -> Self {
        let (moved, bent) = (&there.at - &here.at, &there.gradient - &here.gradient);
        let rho = 1.0 / dot(&moved, &bent);
        Self { moved, bent, rho }
    }
}

/// The descent direction: minus the gradient times the inverse Hessian estimated from the steps.
fn direction(gradient: &Array2<f64>, steps: &VecDeque<Step>) -> Array2<f64> {
    let mut direction = -gradient;
    let mut alphas = Vec::with_capacity(steps.len());
    for Step { moved, bent, rho } in steps.iter().rev() {
        let alpha = rho * dot(moved, &direction);
        direction.scaled_add(-alpha, bent);
        alphas.push(alpha);
    }
    match steps.back() {
        Some(Step { bent, rho, .. }) => direction /= rho * dot(bent, bent),
        // The scale of the function is unknown: the first trial has length 1.
        None => direction /= dot(gradient, gradient).sqrt(),
    }
    for (Step { moved, bent, rho }, alpha) in steps.iter().zip(alphas.into_iter().rev()) {
        let beta = rho * dot(bent, &direction);
        direction.scaled_add(alpha - beta, moved);
    }
    direction
}

/// Searches along `direction` for a point that meets both Wolfe conditions; `None` if rounding hides it.
fn search(here: &Point, direction: &Array2<f64>, evaluate: impl Fn(Array2<f64>) -> Point) -> Option<Point> {
    let slope = dot(&here.gradient, direction);
    if slope >= 0.0 {
        return None;
    }
    let (mut near, mut far, mut length) = (0.0, f64::INFINITY, 1.0);
    for _ in 0..TRIALS {
        let mut at = here.at.clone();
        at.scaled_add(length, direction);
        let there = evaluate(at);
        // If a step was so long that the value is NaN, this is false and the step is shortened.
        let is_low = there.value <= here.value + ARMIJO * length * slope;
        if !is_low {
            far = length;
        } else if dot(&there.gradient, direction) < WOLFE * slope {
            near = length;
        } else {
            return (there.value < here.value).then_some(there);
        }
        length = if far.is_finite() { (near + far) / 2.0 } else { 2.0 * near };
    }
    None
}

fn dot(a: &Array2<f64>, b: &Array2<f64>) -> f64 {
    Zip::from(a).and(b).fold(0.0, |sum, a, b| sum + a * b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_bottom_of_a_long_valley() {
        // Curvatures from 1 to 10,000, and a quartic term.
        let curvature = |i: usize| 10_f64.powf(i as f64 / 5.0);
        let target = Array2::from_shape_fn((7, 3), |(row, column)| row as f64 - 1.7 * column as f64);
        let function = |at: &Array2<f64>| {
            let away = at - &target;
            let mut gradient = away.clone();
            let mut value = 0.0;
            for (i, (slope, away)) in gradient.iter_mut().zip(&away).enumerate() {
                value += curvature(i) * away * away / 2.0 + away.powi(4) / 4.0;
                *slope = curvature(i) * away + away.powi(3);
            }
            (value, gradient)
        };
        let point = minimize(Array2::zeros((7, 3)), 1e-9, 1000, function);
        assert!(point.gradient.iter().all(|slope| slope.abs() <= 1e-9));
        assert!((&point.at - &target).iter().all(|away| away.abs() <= 1e-9));
        let early = minimize(Array2::zeros((7, 3)), 1e-9, 3, function);
        assert!(early.value > point.value && early.value < function(&Array2::zeros((7, 3))).0);
    }

    #[test]
    fn a_slope_without_end_is_given_up() {
        let point = minimize(Array2::zeros((1, 1)), 1e-9, 1000, |at| (-at[[0, 0]], -Array2::ones((1, 1))));
        assert_eq!(point.at[[0, 0]], 0.0);
    }
}
