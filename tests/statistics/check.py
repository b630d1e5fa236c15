"""Compares our statistics with SciPy's and statsmodels'. Reads cases with our values as JSON from standard input, one list for each
kind; prints how far the farthest value of each kind is off, and fails if one is off by more than what rounding explains."""

import json
import math
import sys
import warnings

import numpy
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint

# Where the reference itself is computed in another order, this much may be lost.
NEAR = 1e-9


def wilson(case):
    return proportion_confint(case["hits"], case["n"], alpha=0.05, method="wilson")


def newcombe(case):
    (a, n), (b, m) = case["first"], case["second"]
    low, high = confint_proportions_2indep(a, n, b, m, method="newcomb", compare="diff", alpha=0.05)
    return (a / n - b / m, low, high)


def scores(counts):
    return numpy.repeat([1, 2, 3, 4, 5], counts)


def mean(case):
    given = scores(case["counts"])
    interval = stats.ttest_1samp(given, 0).confidence_interval(0.95)
    return (given.mean(), interval.low, interval.high)


def welch(case):
    first, second = scores(case["first"]), scores(case["second"])
    interval = stats.ttest_ind(first, second, equal_var=False).confidence_interval(0.95)
    return (first.mean() - second.mean(), interval.low, interval.high)


def binomial(case):
    usual = stats.binom(case["n"], case["p"])
    return (min(1.0, 2 * min(usual.cdf(case["hits"]), usual.sf(case["hits"] - 1))),)


def holm(case):
    return tuple(multipletests(case["each"], method="holm")[1])


def main():
    warnings.simplefilter("ignore")
    cases, wrong = json.load(sys.stdin), 0
    for kind, reference in (("wilson", wilson), ("newcombe", newcombe), ("mean", mean), ("welch", welch), ("binomial", binomial), ("holm", holm)):
        farthest = 0.0
        for case in cases[kind]:
            theirs = [float(value) for value in reference(case)]
            if len(theirs) != len(case["ours"]):
                sys.exit(f"{kind}: {case} has not as many values as {theirs}")
            for ours, value in zip(case["ours"], theirs):
                off = abs(ours - value) / max(1.0, abs(value))
                if not off <= NEAR or math.isnan(ours):
                    wrong += 1
                    print(f"{kind}: {case}, reference {theirs}")
                farthest = max(farthest, off)
        print(f"{kind}: {len(cases[kind])} cases, at most {farthest:.1e} off")
        if not cases[kind]:
            sys.exit(f"{kind}: no case")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
