"""Samples of made-up populations whose numbers are known: do intervals hold them, and are standard errors those of the samples?"""

from __future__ import annotations

from unittest.mock import patch

import numpy as np

from segbench.significance import draws
from segbench.significance.intervals import Resampling, intervals, observed_values
from segbench.significance.measure import measure
from segbench.significance.units import units_of


def simulate(whole, dataset, rules, metric, truth, *, images, simulations=150, replicates=250):
    """The share of samples whose interval holds the truth, and the mean standard error divided by the spread of the samples' numbers."""
    rng = np.random.default_rng(2)
    inside, errors, values = 0, [], []
    for _ in range(simulations):
        part = whole.select(np.sort(rng.choice(len(whole.images), images, replace=False)))
        found = intervals(part, dataset, rules, Resampling(replicates))[metric]
        inside += found.low <= truth <= found.high
        errors.append(found.se)
        values.append(observed_values(measure(whole.task, part, dataset, rules), units_of(part.images.ids))[metric])
    return inside / simulations, np.mean(errors) / np.std(values, ddof=1)


def deduplicated():
    """A context in which each drawn image counts once, as with one tool of the field: a subsample, which varies too little."""
    counts = draws.counts
    return patch.object(draws, "counts", lambda *how: np.minimum(counts(*how), 1))
