//! What many samples come down to.

/// The sample at or above `fraction` of the sorted samples, by the nearest rank.
pub(crate) fn quantile(sorted: &[f64], fraction: f64) -> Option<f64> {
    let rank = (fraction * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied()
}

#[cfg(test)]
mod tests {
    use super::quantile;

    #[test]
    fn no_samples_have_no_median() {
        assert_eq!(quantile(&[], 0.5), None);
    }

    #[test]
    fn one_sample_is_every_quantile() {
        for fraction in [0.0, 0.5, 0.99, 1.0] {
            assert_eq!(quantile(&[7.0], fraction), Some(7.0));
        }
    }

    #[test]
    fn quantiles_are_samples_of_the_nearest_rank() {
        let hundred: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!(quantile(&hundred, 0.0), Some(1.0));
        assert_eq!(quantile(&hundred, 0.5), Some(50.0));
        assert_eq!(quantile(&hundred, 0.99), Some(99.0));
        assert_eq!(quantile(&hundred, 0.991), Some(100.0));
        assert_eq!(quantile(&hundred, 1.0), Some(100.0));
        assert_eq!(quantile(&[1.0, 2.0, 9.0], 0.5), Some(2.0));
        assert_eq!(quantile(&[1.0, 2.0, 9.0], 0.99), Some(9.0));
    }
}
