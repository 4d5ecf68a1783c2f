//! Statistics over the rounds.

/// The middle one; of an even number the mean of the middle two. None: there is none.
pub(crate) fn median(of: &[f64]) -> Option<f64> {
    let mut sorted = of.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (lower, upper) = (sorted.get(sorted.len().checked_sub(1)? / 2)?, sorted.get(sorted.len() / 2)?);
    Some(lower.midpoint(*upper))
}

/// What was measured together is compared: round by round.
pub(crate) fn ratios(ours: &[f64], baseline: &[f64]) -> Vec<f64> {
    ours.iter().zip(baseline).map(|(ours, baseline)| ours / baseline).collect()
}

/// The least and the most.
pub(crate) fn spread(of: &[f64]) -> Option<(f64, f64)> {
    let least = of.iter().copied().min_by(f64::total_cmp)?;
    let most = of.iter().copied().max_by(f64::total_cmp)?;
    Some((least, most))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(&[9.0, 1.0, 5.0]), Some(5.0));
        assert_eq!(median(&[9.0, 1.0, 5.0, 2.0]), Some(3.5));
        assert_eq!(median(&[7.0]), Some(7.0));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn rounds_are_compared_with_their_own_baseline() {
        // A machine that was slower in the second round was so for both.
        assert_eq!(ratios(&[200.0, 20.0], &[100.0, 10.0]), [2.0, 2.0]);
        assert_eq!(median(&ratios(&[10.0, 40.0, 30.0], &[10.0, 10.0, 10.0])), Some(3.0));
    }

    #[test]
    fn the_spread_is_from_the_least_to_the_most() {
        assert_eq!(spread(&[2.0, 1.0, 3.0]), Some((1.0, 3.0)));
        assert_eq!(spread(&[]), None);
    }
}
