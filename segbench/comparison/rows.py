"""What a comparison gives: rows with marks, gates' outcomes, and its document."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from segbench.comparison.checks import name
from segbench.errors import ConfigError
from segbench.gates import Outcome, Policy, status_of
from segbench.gates.judging import significant, value_lost
from segbench.results import Result
from segbench.significance.paired import Difference

if TYPE_CHECKING:
    import pandas

NO_GATES = Policy()


@dataclass(frozen=True)
class Row:
    """One metric in the comparison.

    Attributes:
        metric: Its id.
        higher_is_better: Which way is better.
        difference: The numbers.
        mark: `+` better, `-` worse, `~` within chance, `=` the same, `x` only in one of the results, `!` has no value any more.
    """

    metric: str
    higher_is_better: bool
    difference: Difference
    mark: str


@dataclass(frozen=True)
class Comparison:
    """What compare() gives for one candidate.

    Attributes:
        baseline, candidate: The two results, on the images compared; no baseline on a first run.
        metrics: Rows of whole-set metrics, by task order.
        classes: Rows of the classes' headline metric; p-values are corrected for the number of classes.
        slices: Slice -> rows of whole-set metrics; p-values are corrected for the number of slices.
        contributions: Headline metric -> (class, its part of the difference), largest first; they sum to the difference.
        images: Headline metric -> (image, what it alone does to the metric), largest first.
        outcomes: What the gates say.
        identical: The predictions are the same.
        notes: Sentences about what was left out.
        method: How intervals and p-values were made.
    """

    baseline: Result | None
    candidate: Result
    metrics: list[Row]
    classes: list[Row]
    slices: dict[str, list[Row]]
    contributions: dict[str, list[tuple[str, float]]]
    images: dict[str, list[tuple[str, float]]]
    outcomes: list[Outcome]
    identical: bool
    notes: list[str]
    method: dict[str, Any]
    policy: Policy = field(repr=False, default=NO_GATES)

    @property
    def status(self) -> str:
        """`passed`, `failed` or `inconclusive`."""
        return status_of(self.outcomes, self.policy.fail_on)[0]

    @property
    def exit_code(self) -> int:
        """0 ok, 1 a gate failed, 5 inconclusive where `fail_on` asks."""
        return status_of(self.outcomes, self.policy.fail_on)[1]

    @property
    def passed(self) -> bool:
        """Whether no gate failed."""
        return self.status != "failed"

    @property
    def table(self) -> list[dict[str, Any]]:
        """One dictionary per whole-set metric."""
        return [row_document(row) for row in self.metrics]

    def to_frame(self, what: str = "metrics") -> pandas.DataFrame:
        """`metrics` or `classes` as a pandas frame."""
        import pandas

        if what not in ("metrics", "classes"):
            raise ConfigError(f"no frame is called {what!r}", hint="metrics or classes")
        return pandas.DataFrame([row_document(row) for row in getattr(self, what)])

    def markdown(self) -> str:
        """The comparison as GitHub Markdown."""
        from segbench.reporting.markdown import comparison_markdown

        return comparison_markdown(self)

    def document(self) -> dict[str, Any]:
        """As it stands in `segbench.compare/1`."""
        return {
            "candidate": side(self.candidate),
            "status": self.status,
            "identical_predictions": self.identical,
            "notes": self.notes,
            "method": self.method,
            "metrics": self.table,
            "per_class": [row_document(row) for row in self.classes],
            "slices": [{"slice": label} | row_document(row) for label, rows in self.slices.items() for row in rows],
            "contributions": {
                metric: [{"class": label, "delta": delta} for label, delta in parts] for metric, parts in self.contributions.items()
            },
            "top_images": {metric: [{"id": image, "delta": delta} for image, delta in parts] for metric, parts in self.images.items()},
            "gates": [outcome_document(outcome) for outcome in self.outcomes],
        }

    def _repr_html_(self) -> str:
        from segbench.reporting.page import comparison_fragment

        return comparison_fragment(self)


def mark(difference: Difference, higher: bool, confidence: float) -> str:
    """`+` better, `-` worse, `~` within chance, `=` the same, `x` only in one of the results, `!` has no value any more."""
    if value_lost(difference, higher):
        return "!"
    if difference.delta is None:
        return "=" if difference.baseline is None and difference.candidate is None else "x"
    if difference.delta == 0:
        return "="
    if not significant(difference, confidence):
        return "~"
    return "+" if (difference.delta > 0) == higher else "-"


def side(result: Result) -> dict[str, Any]:
    """A side of the comparison, as it stands in `segbench.compare/1`."""
    return {
        "name": name(result),
        "predictions": result.predictions.get("digest"),
        "dataset": {"name": result.dataset["name"], "digest": result.dataset["digest"]},
        "protocols": {task: scored.protocol["name"] for task, scored in result.tasks.items()},
        "segbench": result.segbench,
    }


def row_document(row: Row) -> dict[str, Any]:
    """A row as it stands in `segbench.compare/1`."""
    found = row.difference
    relative = None if found.delta is None or not found.baseline else found.delta / abs(found.baseline)
    return {
        "id": row.metric,
        "higher_is_better": row.higher_is_better,
        "baseline": found.baseline,
        "candidate": found.candidate,
        "delta": found.delta,
        "relative": relative,
        "interval": None if found.low is None else {"low": found.low, "high": found.high},
        "se": found.se,
        "p": found.p,
        "p_adjusted": found.p_adjusted,
        "detectable": found.detectable,
        "mark": row.mark,
        "reliable": found.reason is None,
        "reason": found.reason,
    }


def outcome_document(outcome: Outcome) -> dict[str, Any]:
    """A gate's outcome as it stands in `segbench.compare/1`."""
    return {
        "metric": outcome.metric,
        "rule": outcome.rule,
        "mode": outcome.gate.mode,
        "slice": outcome.gate.slice,
        "status": outcome.status,
        "informational": outcome.gate.informational,
        "underpowered": outcome.underpowered,
        "message": outcome.message,
        "source": outcome.gate.source,
    }
