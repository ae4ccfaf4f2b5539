//! Downsampling of long series that loses no peaks.

/// Returns at most `most` points (at least 4), in order: the first, the last and, from each of several equal stretches
/// between them, the lowest and the highest.
///
/// Every value must be finite.
pub(crate) fn downsample(points: &[(f64, f64)], most: usize) -> Vec<(f64, f64)> {
    let [first, between @ .., last] = points else { return points.to_vec() };
    if points.len() <= most.max(4) {
        return points.to_vec();
    }
    let stretches = (most.max(4) - 2) / 2;
    let mut kept = vec![*first];
    for i in 0..stretches {
        let stretch = &between[i * between.len() / stretches..(i + 1) * between.len() / stretches];
        let by_value = |a: &usize, b: &usize| stretch[*a].1.total_cmp(&stretch[*b].1);
        let places = 0..stretch.len();
        let (Some(lowest), Some(highest)) = (places.clone().min_by(by_value), places.max_by(by_value)) else {
            continue;
        };
        kept.push(stretch[lowest.min(highest)]);
        if lowest != highest {
            kept.push(stretch[lowest.max(highest)]);
        }
    }
    kept.push(*last);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_order_ends_and_extremes() {
        let mut points: Vec<_> = (0..10_007).map(|x| (f64::from(x), f64::from(x * 7919 % 101))).collect();
        (points[4321].1, points[4322].1) = (500.0, -500.0);
        for most in [0, 4, 5, 100, 2000] {
            let fewer = downsample(&points, most);
            assert!(fewer.len() <= most.max(4), "{} of {most}", fewer.len());
            assert!(fewer.is_sorted_by(|a, b| a.0 < b.0));
            assert_eq!((fewer[0], fewer.last()), (points[0], points.last()));
            let [low, high] = [points[4322], points[4321]];
            assert!(fewer.contains(&low) && fewer.contains(&high), "{most}");
        }
    }

    #[test]
    fn leaves_short_series_alone() {
        for len in 0..=4 {
            let points: Vec<_> = (0..len).map(|x| (f64::from(x), 1.0)).collect();
            assert_eq!(downsample(&points, 4), points);
        }
    }
}
