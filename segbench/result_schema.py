"""`result.json` of a run folder as types: what is read must be exactly this. `segbench/schemas/result.schema.json` says the same."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

Digest = Annotated[str, msgspec.Meta(pattern=r"^sha256:[0-9a-f]{64}$")]
Count = Annotated[int, msgspec.Meta(ge=0)]
Seconds = Annotated[float, msgspec.Meta(ge=0)]


class Strict(msgspec.Struct, forbid_unknown_fields=True):
    """A part of `result.json`: the fields it has, and no others."""


class Model(Strict):
    name: str


class DatasetFields(Strict):
    name: str
    digest: Digest
    num_images: Count
    classes: list[str]


class Predictions(Strict):
    format: str
    count: Count
    digest: Digest | None
    said: str


class Images(Strict):
    count: Count
    missing: list[str]
    extra: list[str]


class Timing(Strict):
    wall_s: Seconds = 0
    cpu_s: Seconds = 0
    engine_wall_s: Seconds = 0
    engine_cpu_s: Seconds = 0
    workers: Annotated[int, msgspec.Meta(ge=1)] = 1
    stages: dict[str, Seconds] = {}


class Protocol(Strict):
    name: str
    version: int
    options: dict[str, Any]
    digest: Digest


class Interval(Strict):
    low: float
    high: float
    level: float
    method: str
    reliable: bool
    se: float | None = None
    reason: str | None = None


class Metric(Strict):
    value: float | None
    higher_is_better: bool
    interval: Interval | None


class Task(Strict):
    protocol: Protocol
    metrics: dict[str, Metric]
    per_class: list[dict[str, Any]]
    undefined: dict[str, str]


class ResultDocument(Strict):
    """`result.json` of a run folder, as its schema says it."""

    schema: Literal["segbench.result/1"]
    segbench: str
    command: str
    model: Model
    dataset: DatasetFields
    predictions: Predictions
    tasks: Annotated[dict[str, Task], msgspec.Meta(min_length=1)]
    images: Images
    environment: dict[str, str]
    warnings: list[str]
    evidence: Literal["evidence.npz"]
    timing: Timing
    evidence_digest: Digest
