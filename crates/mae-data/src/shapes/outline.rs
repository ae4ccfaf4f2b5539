//! The outlines that define the classes, as signed distances.

/// The shape in an image, which is its class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outline {
    Disc,
    Ring,
    Crescent,
    Square,
    Triangle,
    Cross,
    Star,
    Heart,
}

/// Outward normals of a regular triangle's edges, one pointing down: (sin, cos) of 0° and ±120°.
const TRIANGLE_NORMALS: [[f32; 2]; 3] = [[0.0, 1.0], [0.866_025_4, -0.5], [-0.866_025_4, -0.5]];

/// Outward normals of a regular pentagon's edges, one pointing down: (sin, cos) of 0°, ±72° and ±144°.
const PENTAGON_NORMALS: [[f32; 2]; 5] = [
    [0.0, 1.0],
    [0.951_056_5, 0.309_017],
    [-0.951_056_5, 0.309_017],
    [0.587_785_25, -0.809_017],
    [-0.587_785_25, -0.809_017],
];

impl Outline {
    /// The classes, by label.
    pub(super) const ALL: [Self; 8] = [
        Self::Disc,
        Self::Ring,
        Self::Crescent,
        Self::Square,
        Self::Triangle,
        Self::Cross,
        Self::Star,
        Self::Heart,
    ];

    /// The index in [`ALL`](Self::ALL).
    pub(super) fn label(self) -> usize {
        self as usize
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Disc => "disc",
            Self::Ring => "ring",
            Self::Crescent => "crescent",
            Self::Square => "square",
            Self::Triangle => "triangle",
            Self::Cross => "cross",
            Self::Star => "star",
            Self::Heart => "heart",
        }
    }

    /// The signed distance of (x, y), y down, to an outline with a radius of about 1, negative inside. It is exact near
    /// straight edges and arcs, which is enough for anti-aliasing.
    pub(super) fn distance(self, x: f32, y: f32) -> f32 {
        match self {
            Self::Disc => length(x, y) - 0.9,
            Self::Ring => (length(x, y) - 0.7).abs() - 0.24,
            Self::Crescent => (length(x, y) - 1.0).max(0.78 - length(x - 0.45, y)),
            Self::Square => x.abs().max(y.abs()) - 0.8,
            Self::Triangle => highest_two(&TRIANGLE_NORMALS, x, y)[0] - 0.57,
            Self::Cross => box_distance(x, y, 0.95, 0.32).min(box_distance(x, y, 0.32, 0.95)),
            // A pentagram consists of the points that lie inside at least four of a pentagon's five edges.
            Self::Star => highest_two(&PENTAGON_NORMALS, x, y)[1] - 0.38,
            // A square standing on a corner, with a disc on each of its upper edges.
            Self::Heart => {
                let square = (x.abs() + (y - 0.1).abs() - 0.76) * std::f32::consts::FRAC_1_SQRT_2;
                square.min(length(x.abs() - 0.38, y + 0.28) - 0.537_4)
            }
        }
    }
}

fn length(x: f32, y: f32) -> f32 {
    (x * x + y * y).sqrt()
}

fn box_distance(x: f32, y: f32, half_width: f32, half_height: f32) -> f32 {
    (x.abs() - half_width).max(y.abs() - half_height)
}

/// The two largest projections of (x, y) on `normals`, largest first.
fn highest_two(normals: &[[f32; 2]], x: f32, y: f32) -> [f32; 2] {
    normals.iter().fold([f32::NEG_INFINITY; 2], |[first, second], [nx, ny]| {
        let along = x * nx + y * ny;
        [first.max(along), second.max(along.min(first))]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Points of a grid over ±1.5, 0.02 apart.
    fn grid() -> impl Iterator<Item = (f32, f32)> {
        (-75..=75).flat_map(|row| (-75..=75).map(move |column| (column as f32 * 0.02, row as f32 * 0.02)))
    }

    #[test]
    fn an_outline_is_bounded_and_no_two_are_alike() {
        let inside = |outline: Outline| grid().map(move |(x, y)| outline.distance(x, y) < 0.0);
        for outline in Outline::ALL {
            assert!(grid().all(|(x, y)| outline.distance(x, y) > 0.0 || length(x, y) < 1.3), "{outline:?}");
            for other in Outline::ALL {
                let differing = inside(outline).zip(inside(other)).filter(|(a, b)| a != b).count();
                let either = inside(outline).zip(inside(other)).filter(|(a, b)| *a || *b).count();
                assert_eq!(differing > either / 8, outline != other, "{outline:?} and {other:?}");
            }
        }
    }

    #[test]
    fn a_step_changes_the_distance_by_its_length_at_most() {
        for outline in Outline::ALL {
            for (x, y) in grid() {
                let here = outline.distance(x, y);
                for (dx, dy) in [(0.02, 0.0), (0.0, 0.02), (0.014, -0.014)] {
                    let step = (outline.distance(x + dx, y + dy) - here).abs();
                    assert!(step <= length(dx, dy) * 1.001, "{outline:?} steps {step} at ({x}, {y})");
                }
            }
        }
    }
}
