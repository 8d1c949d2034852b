"""Whether gates make sense before there is anything to judge."""

from __future__ import annotations

from datetime import date

from segbench.comparison.comparing import Options, check_gates
from segbench.results import Result
from segbench.significance.intervals import Resampling, intervals
from segbench.significance.paired import detectable_factor
from segbench.significance.units import labels_of


def lint(options: Options, baseline: Result | None) -> tuple[list[str], int]:
    """Sentences about gates that can never fire, or not be trusted, and an exit code (0, or 5 where `fail_on` is `inconclusive`).

    Against a baseline the smallest detectable change is estimated: without a candidate, from two models whose errors are half shared.

    Raises:
        ConfigError: a gate on a metric that does not exist.
    """
    policy = options.policy
    findings = []
    check_gates(policy, *([baseline] if baseline is not None else []))
    if not policy.gates:
        findings.append("there are no gates")
    day = options.today or date.today()
    for known in policy.acknowledged:
        if known.until < day:
            findings.append(f"{known.source}: the acknowledgement of {known.metric} ended on {known.until}")
        if not any(gate.metric == known.metric or gate.fits(known.metric) or known.fits(gate.metric) for gate in policy.gates):
            findings.append(f"{known.source}: no gate is about {known.metric}, which is acknowledged")
    if baseline is not None:
        findings += _underpowered(options, baseline)
    return findings, 5 if findings and policy.fail_on == "inconclusive" else 0


def _underpowered(options: Options, baseline: Result) -> list[str]:
    policy = options.policy
    findings = []
    for task, evidence in baseline.evidences.items():
        clusters = None if policy.cluster is None else tuple(labels_of(evidence.images.ids, policy.cluster, options.labels))
        how = Resampling(policy.replicates, policy.confidence, policy.seed, clusters)
        families = tuple(dict.fromkeys(_family(metric) for metric in baseline.flat() if any(gate.fits(metric) for gate in policy.gates)))
        from segbench.significance.measure import measure

        known = measure(task, evidence, baseline.dataset_spec, baseline.rules(task)).families
        found = intervals(
            evidence, baseline.dataset_spec, baseline.rules(task), how, tuple(family for family in families if family in known)
        )
        for gate in policy.gates:
            for metric, made in found.items():
                tolerance = gate.max_drop or gate.max_rise
                if not gate.fits(metric) or tolerance is None or gate.mode == "point":
                    continue
                value = baseline.flat().get(metric)
                # the spread of a difference of two such models is that of one, where half of their variance is shared
                smallest = detectable_factor(policy.confidence) * made.se
                if value is not None and smallest > tolerance.of(value):
                    where = f"{gate.source}: " if gate.source else ""
                    findings.append(
                        f"{where}{metric} is likely underpowered: on these images only changes of about {100 * smallest:.2g} pt are found "
                        f"reliably, and the tolerance is {tolerance.text}"
                    )
    return findings


def _family(metric: str) -> str:
    return "/".join(metric.split("/")[:2])
