//! Certainty: intervals of shares and means, of their differences, and whether a share is out of line. Pure arithmetic; every
//! formula names its source, and a test compares hundreds of values with a reference implementation.
//!
//! All intervals are two-sided at 95 %. They tell how far chance alone may have moved a number; they know nothing of customers who
//! did not answer.

use serde::Serialize;
use statrs::distribution::{
    Binomial, Continuous as _, ContinuousCDF as _, DiscreteCDF as _, StudentsT,
};
use utoipa::ToSchema;

/// The 97.5 % quantile of the normal distribution.
const Z: f64 = 1.959_963_984_540_054;

/// A number with the interval in which it would lie but for chance.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
pub struct Estimate {
    /// The number itself.
    pub value: f64,
    /// The lower end of its 95 % interval; absent where too little is known for one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub low: Option<f64>,
    /// The upper end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub high: Option<f64>,
}

impl Estimate {
    fn new(value: f64, low: f64, high: f64) -> Self {
        Self {
            value,
            low: Some(low),
            high: Some(high),
        }
    }

    /// The same in other units, such as percent.
    #[must_use]
    pub fn times(self, factor: f64) -> Self {
        Self {
            value: self.value * factor,
            low: self.low.map(|low| low * factor),
            high: self.high.map(|high| high * factor),
        }
    }

    /// Rounded to so many decimal places, for showing.
    #[must_use]
    pub fn rounded(self, places: i32) -> Self {
        let round = |number| round(number, places);
        Self {
            value: round(self.value),
            low: self.low.map(round),
            high: self.high.map(round),
        }
    }

    /// The same with an interval that goes no farther than what is possible. Student's t and Welch's interval know nothing of a
    /// scale's ends.
    #[must_use]
    pub fn within(self, lowest: f64, highest: f64) -> Self {
        let clip = |end: f64| end.clamp(lowest, highest);
        Self {
            value: self.value,
            low: self.low.map(clip),
            high: self.high.map(clip),
        }
    }

    /// Whether the interval lies on one side of zero.
    pub fn excludes_zero(self) -> bool {
        self.low.is_some_and(|low| low > 0.0) || self.high.is_some_and(|high| high < 0.0)
    }
}

/// A number to so many decimal places.
pub fn round(number: f64, places: i32) -> f64 {
    let scale = 10_f64.powi(places);
    let rounded = (number * scale).round() / scale;
    // No "-0" in anything that is shown.
    if rounded == 0.0 { 0.0 } else { rounded }
}

/// A count as a real number. Exact below 2^53.
#[expect(
    clippy::cast_precision_loss,
    reason = "a count above 2^53 is out of reach"
)]
pub fn real(count: i64) -> f64 {
    count as f64
}

/// A share with its Wilson score interval (E. B. Wilson 1927, without continuity correction), which stays inside 0 to 1 and is
/// honest for few answers and for shares near the ends. `None` if there is nothing to have a share of.
pub fn wilson(hits: i64, n: i64) -> Option<Estimate> {
    if n <= 0 || !(0..=n).contains(&hits) {
        return None;
    }
    let (n, p) = (real(n), real(hits) / real(n));
    let z2 = Z * Z;
    let middle = (p + z2 / (2.0 * n)) / (1.0 + z2 / n);
    let half = Z / (1.0 + z2 / n) * (p * (1.0 - p) / n + z2 / (4.0 * n * n)).sqrt();
    // At the ends the formula gives exactly 0 or 1, but for rounding.
    let low = if hits == 0 { 0.0 } else { middle - half };
    let high = if p >= 1.0 { 1.0 } else { middle + half };
    Some(Estimate::new(p, low, high))
}

/// The difference of two independent shares, first minus second, with Newcombe's hybrid score interval (R. G. Newcombe 1998,
/// method 10): the two Wilson intervals put together.
pub fn newcombe(first: (i64, i64), second: (i64, i64)) -> Option<Estimate> {
    let (a, b) = (wilson(first.0, first.1)?, wilson(second.0, second.1)?);
    let difference = a.value - b.value;
    let below = (a.value - a.low?).hypot(b.high? - b.value);
    let above = (a.high? - a.value).hypot(b.value - b.low?);
    Some(Estimate::new(
        difference,
        difference - below,
        difference + above,
    ))
}

/// How many, their mean, and the variance of the sample (divided by n - 1).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Moments {
    /// How many.
    pub n: i64,
    /// Their mean.
    pub mean: f64,
    /// The variance; 0 if there are fewer than two.
    pub variance: f64,
}

impl Moments {
    /// Of so many ones, twos, threes, fours and fives. `None` if there is none.
    pub fn of(counts: &[i64; 5]) -> Option<Self> {
        let n: i64 = counts.iter().sum();
        if n <= 0 {
            return None;
        }
        let scores = || (1_i64..).zip(counts);
        let sum: i64 = scores().map(|(score, count)| score * count).sum();
        let squares: i64 = scores().map(|(score, count)| score * score * count).sum();
        let mean = real(sum) / real(n);
        // Whole numbers up to here, so nothing cancels out.
        let variance = if n < 2 {
            0.0
        } else {
            real(squares * n - sum * sum) / (real(n) * real(n - 1))
        };
        Some(Self { n, mean, variance })
    }

    /// The mean with its interval by Student's t (mean ± t · s / √n). Without an interval if there are fewer than two answers or
    /// all are the same: then nothing is known of how they scatter.
    pub fn interval(self) -> Estimate {
        let half = quantile(real(self.n - 1)).map(|t| t * (self.variance / real(self.n)).sqrt());
        match half.filter(|_| self.n >= 2 && self.variance > 0.0) {
            Some(half) => Estimate::new(self.mean, self.mean - half, self.mean + half),
            None => Estimate {
                value: self.mean,
                low: None,
                high: None,
            },
        }
    }
}

/// The difference of two means, first minus second, with Welch's interval (B. L. Welch 1947), which does not suppose that both
/// scatter alike. Without an interval if either has fewer than two answers or neither scatters.
pub fn welch(first: Moments, second: Moments) -> Estimate {
    let value = first.mean - second.mean;
    let bare = Estimate {
        value,
        low: None,
        high: None,
    };
    if first.n < 2 || second.n < 2 {
        return bare;
    }
    let (a, b) = (
        first.variance / real(first.n),
        second.variance / real(second.n),
    );
    if a + b <= 0.0 {
        return bare;
    }
    // Welch and Satterthwaite's degrees of freedom.
    let freedom = (a + b) * (a + b) / (a * a / real(first.n - 1) + b * b / real(second.n - 1));
    match quantile(freedom) {
        Some(t) => {
            let half = t * (a + b).sqrt();
            Estimate::new(value, value - half, value + half)
        }
        None => bare,
    }
}

/// The 97.5 % quantile of Student's t with so many degrees of freedom.
fn quantile(freedom: f64) -> Option<f64> {
    if freedom >= 1000.0 {
        // Abramowitz and Stegun 26.7.5: what is left out is of the order of freedom^-4.
        let z = |power: i32| Z.powi(power);
        return Some(
            Z + (z(3) + z(1)) / (4.0 * freedom)
                + (5.0 * z(5) + 16.0 * z(3) + 3.0 * z(1)) / (96.0 * freedom.powi(2))
                + (3.0 * z(7) + 19.0 * z(5) + 17.0 * z(3) - 15.0 * z(1))
                    / (384.0 * freedom.powi(3)),
        );
    }
    let t = StudentsT::new(0.0, 1.0, freedom).ok()?;
    // The library's inverse is good to six places; two of Newton's steps make it as good as its distribution function.
    let step = |at: f64| at - (t.cdf(at) - 0.975) / t.pdf(at);
    Some(step(step(t.inverse_cdf(0.975)))).filter(|t| t.is_finite())
}

/// How likely chance alone makes a share at least as far out of line as `hits` of `n` where `p` is usual: the exact two-sided
/// binomial test, twice the smaller tail (C. J. Clopper and E. S. Pearson 1934), at most 1.
pub fn binomial(hits: i64, n: i64, p: f64) -> Option<f64> {
    let (hits, n) = (u64::try_from(hits).ok()?, u64::try_from(n).ok()?);
    if hits > n || n == 0 {
        return None;
    }
    let usual = Binomial::new(p, n).ok()?;
    let at_most = usual.cdf(hits);
    let at_least = hits.checked_sub(1).map_or(1.0, |less| usual.sf(less));
    Some((2.0 * at_most.min(at_least)).min(1.0))
}

/// Probabilities of many tests made at once, each raised so that all together are wrong no more often than one would be
/// (S. Holm 1979). In the order in which they came.
pub fn holm(each: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..each.len()).collect();
    order.sort_by(|a, b| each[*a].total_cmp(&each[*b]));
    let mut raised = vec![1.0; each.len()];
    let mut highest: f64 = 0.0;
    for (rank, at) in order.into_iter().enumerate() {
        let left = i64::try_from(each.len() - rank).unwrap_or(i64::MAX);
        highest = highest.max((each[at] * real(left)).min(1.0));
        raised[at] = highest;
    }
    raised
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(a: f64, b: f64) -> bool {
        (a - b).abs() < 5e-4
    }

    #[test]
    fn a_share_stays_between_nothing_and_all() {
        // Newcombe 1998, table I: 81 of 263, and 0 of 20.
        let known = wilson(81, 263).unwrap();
        assert!(near(known.low.unwrap(), 0.2553) && near(known.high.unwrap(), 0.3662));
        let none = wilson(0, 20).unwrap();
        assert!(none.low == Some(0.0) && near(none.high.unwrap(), 0.1611));
        let all = wilson(20, 20).unwrap();
        assert!(all.high == Some(1.0) && near(all.low.unwrap(), 0.8389));
        assert_eq!(wilson(0, 0), None);
        assert_eq!(wilson(3, 2), None);
    }

    #[test]
    fn a_difference_has_the_certainty_of_both() {
        // Newcombe 1998, the second paper, table II: 56/70 and 48/80.
        let known = newcombe((56, 70), (48, 80)).unwrap();
        assert!(near(known.value, 0.2));
        assert!(near(known.low.unwrap(), 0.0524) && near(known.high.unwrap(), 0.3339));
        assert!(known.excludes_zero());
        assert_eq!(newcombe((1, 2), (0, 0)), None);
    }

    #[test]
    fn a_mean_needs_two_that_differ() {
        assert_eq!(Moments::of(&[0; 5]), None);
        for counts in [[0, 0, 0, 0, 1], [0, 0, 0, 0, 9]] {
            let mean = Moments::of(&counts).unwrap().interval();
            assert_eq!((mean.value, mean.low, mean.high), (5.0, None, None));
        }
        // 4 and 5: t(1) is 12.706, s is 0.7071.
        let two = Moments::of(&[0, 0, 0, 1, 1]).unwrap().interval();
        assert!(near(two.value, 4.5) && near(two.low.unwrap(), 4.5 - 6.3531));
        let possible = two.within(1.0, 5.0);
        assert_eq!((possible.low, possible.high), (Some(1.0), Some(5.0)));
    }

    #[test]
    fn many_tests_at_once_are_not_believed_as_easily() {
        assert_eq!(
            holm(&[0.01, 0.04, 0.03])
                .into_iter()
                .map(|p| round(p, 6))
                .collect::<Vec<_>>(),
            [0.03, 0.06, 0.06]
        );
        // A fair coin that falls ten times on one side.
        assert!(near(binomial(10, 10, 0.5).unwrap(), 2.0 / 1024.0));
        assert!(near(binomial(5, 10, 0.5).unwrap(), 1.0));
        assert_eq!(binomial(1, 0, 0.5), None);
    }

    #[test]
    fn nothing_shown_is_minus_zero() {
        assert!(round(-0.000_001, 2).is_sign_positive());
    }
}
