//! Medians, percentiles, spread.

use serde::Serialize;

/// The least and the most of repeated measurements.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    /// The least.
    pub least: f64,
    /// The most.
    pub most: f64,
}

impl Spread {
    /// Of these; of none it is zero.
    pub fn of(values: &[f64]) -> Self {
        let sorted = sorted(values);
        Self { least: sorted.first().copied().unwrap_or(0.0), most: sorted.last().copied().unwrap_or(0.0) }
    }
}

/// The value below which this share of them lies, from 0 to 1, by the nearest rank; of none it is zero.
pub fn percentile(values: &[f64], share: f64) -> f64 {
    let sorted = sorted(values);
    // The rank is from 0 to the length.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(0.0)
}

/// The one in the middle; of an even number the mean of the two.
pub fn median(values: &[f64]) -> f64 {
    let sorted = sorted(values);
    let at = |n: usize| sorted.get(n).copied().unwrap_or(0.0);
    match sorted.len() {
        0 => 0.0,
        odd if odd % 2 == 1 => at(odd / 2),
        even => f64::midpoint(at(even / 2 - 1), at(even / 2)),
    }
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_few_and_of_many() {
        assert_eq!((median(&[]), median(&[3.0]), median(&[4.0, 1.0]), median(&[9.0, 1.0, 2.0])), (0.0, 3.0, 2.5, 2.0));
        let hundred: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert_eq!((percentile(&hundred, 0.5), percentile(&hundred, 0.99)), (50.0, 99.0));
        assert_eq!((percentile(&[7.0], 0.99), percentile(&[], 0.5)), (7.0, 0.0));
        assert_eq!(Spread::of(&[2.0, 1.0, 3.0]), Spread { least: 1.0, most: 3.0 });
    }
}
