"""The record of one measurement, `segbench.profiles/1`: what ran where, what it cost, and what may be doubted.

Unknown is null, never 0. Times are integer nanoseconds, memory bytes, energy joules; ratios are plain numbers.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from segbench.profiling.hardware import Hardware

SCHEMA = "segbench.profiles/1"
CONVENTION = "mac-mm-conv/1"
"""One multiply-accumulate per product of a convolution or a matrix product, padding included, biases and element-wise work not."""

Count = Annotated[int, Meta(ge=0)]
Nanoseconds = Annotated[int, Meta(ge=0)]
Ratio = float


class Base(Struct, kw_only=True, forbid_unknown_fields=True):
    """What all parts of a record share."""


class Tensor(Base, kw_only=True):
    """One input, batch included."""

    name: str | None = None
    shape: tuple[Count, ...]
    dtype: str


class Model(Base, kw_only=True):
    """Which model. `name` joins it to accuracy results; `weights` is `random` or a digest of the file."""

    name: str
    target: str
    family: str | None = None
    task: str | None = None
    weights: str | None = None


class Workload(Base, kw_only=True):
    """What was asked of it. `detections` are the numbers of synthetic detections the post-processing was given."""

    batch: Count
    inputs: list[Tensor]
    post: str = "none"
    output_size: tuple[int, int] | None = None
    detections: list[Count] | None = None
    scenario: str = "single_stream"
    seed: int = 0


class Runtime(Base, kw_only=True):
    """What executed it. `compute_dtype` is what the products ran in, as asked from the runtime, not what was wished for."""

    backend: str
    version: str | None = None
    mode: str | None = None
    device: str = "cpu"
    providers: list[str] | None = None
    requested_dtype: str = "float32"
    compute_dtype: str | None = None
    threads: int | None = None
    isolated: bool = True
    options: dict[str, Any] = {}


class Split(Base, kw_only=True):
    """Which modules are the backbone and the neck, and how that was decided: `option`, `family` or `name`."""

    backbone: list[str]
    neck: list[str] = []
    decided: str
    neck_in: str = "head"


class Compute(Base, kw_only=True):
    """Multiply-accumulates. `flops` is always `2 * macs`. What was not counted is listed: op to number of calls."""

    macs: Count
    flops: Count
    convention: str = CONVENTION
    method: Annotated[str, Meta(description="`dispatch` (torch operators as executed) or `onnx-graph`")]
    macs_backbone: Count | None = None
    macs_neck: Count | None = None
    macs_head: Count | None = None
    macs_post: Count | None = None
    uncounted_ops: dict[str, Count]
    suspicious_ops: Annotated[list[str], Meta(description="uncounted ops that may hold products; where any, macs is a lower bound")] = []
    by_module: dict[str, Count] = {}
    element_ops: Annotated[Count | None, Meta(description="elements written by uncounted operators")] = None
    bytes_moved: Annotated[Count | None, Meta(description="read and written by all operators, run one by one: an upper bound")] = None


class Parameters(Base, kw_only=True):
    """Numbers of values, each storage once: tied weights count once."""

    total: Count
    trainable: Count | None = None
    buffers: Count | None = None
    backbone: Count | None = None
    neck: Count | None = None
    head: Count | None = None


class Latency(Base, kw_only=True):
    """Order statistics of the samples, which are kept; percentiles are null where so few samples would only show the maximum."""

    n: Count
    p50: Nanoseconds
    p50_interval: tuple[Nanoseconds, Nanoseconds] | None
    confidence: float
    p90: Nanoseconds | None = None
    p95: Nanoseconds | None = None
    p99: Nanoseconds | None = None
    p90_mlperf: Nanoseconds | None = None
    p99_mlperf: Nanoseconds | None = None
    min: Nanoseconds
    max: Nanoseconds
    mean: float
    variation: float | None = None
    spread: float
    drift: float
    slow_outliers: Count
    noisy: bool
    stopped: str
    clock: str
    samples: list[Nanoseconds]
    device_p50: Annotated[Nanoseconds | None, Meta(description="median of the device's own event time")] = None
    first_call: Annotated[Nanoseconds | None, Meta(description="cold start: the first call, of graph runtimes with loading")] = None
    warmup_runs: Count | None = None
    steady: bool | None = None
    input_sets: Annotated[Count, Meta(description="so many random inputs were taken by turns")] = 1


class Stage(Base, kw_only=True):
    """Time of one part. `method`: `in-situ` (inside the whole run), `counterfactual` (alone, by turns with the whole), `alone`."""

    p50: Nanoseconds
    interval: tuple[int, int] | None = None
    n: Count
    method: str
    implementation: str | None = None


class Ratios(Base, kw_only=True):
    """One comparison in each currency; null where that was not measured."""

    macs: Ratio | None = None
    parameters: Ratio | None = None
    latency: Ratio | None = None
    latency_interval: tuple[Ratio, Ratio] | None = None
    memory: Ratio | None = None


class Overhead(Base, kw_only=True):
    """`head_over_backbone`: (network - backbone) / backbone; `head_share`: (network - backbone) / network; neck as `neck_in` says."""

    method: str
    head_over_backbone: Ratios
    head_share: Ratios
    neck_over_backbone: Ratios | None = None
    post_over_network: Annotated[dict[str, Ratio], Meta(description="by stage: `post`, or `post 10` of ten detections")] = {}
    beyond_backbone: Ratio | None = None
    others: Annotated[dict[str, Ratios], Meta(description="head_over_backbone by other estimators")] = {}


class Throughput(Base, kw_only=True):
    """Calls in a row with one wait at the end; MLPerf's name for that is `offline`."""

    images_per_s: float
    calls: Count
    scenario: str = "offline"


class Memory(Base, kw_only=True):
    """Bytes. `rss_peak` is the process's maximum in one call, `rss_base` its size before; `backbone_*` the same of the backbone alone."""

    rss_base: Count | None = None
    rss_peak: Count | None = None
    backbone_base: Count | None = None
    backbone_peak: Count | None = None
    process_peak: Count | None = None
    cuda_base: Annotated[Count | None, Meta(description="what tensors took before the call, weights included")] = None
    cuda_allocated: Annotated[Count | None, Meta(description="what tensors took at most during it")] = None
    backbone_cuda_allocated: Count | None = None
    cuda_reserved: Count | None = None
    device_used: Count | None = None
    method: str | None = None


class Energy(Base, kw_only=True):
    """From counters, never estimated; `window_s` is how long they were read over."""

    joules_per_image: float
    source: str
    window_s: float


class Roof(Base, kw_only=True):
    """What this machine reaches in a large matrix product and in a copy, and how near the model comes."""

    flops_per_s: float
    bytes_per_s: float
    achieved_flops_per_s: float | None = None
    of_peak: Ratio | None = None
    intensity: Annotated[float | None, Meta(description="FLOPs per byte moved")] = None


class Quality(Base, kw_only=True):
    """What may have disturbed the measurement."""

    noisy: bool
    load_before: float | None = None
    load_after: float | None = None
    involuntary_switches: int | None = None
    waited: Annotated[Ratio | None, Meta(description="of the time it could have run, the share it waited for a CPU")] = None
    stolen: float | None = None
    gpu_before: dict[str, Any] | None = None
    gpu_after: dict[str, Any] | None = None


class Check(Base, kw_only=True):
    """Output against that of another backend on the same input."""

    reference: str
    max_abs_error: float | None
    argmax_agreement: float | None = None


class Failure(Base, kw_only=True):
    """Why there is no measurement. `kind`: `memory`, `timeout`, `crash`, `export`, `input`, `unsupported`."""

    kind: str
    message: str
    stage: str | None = None


class Record(Base, kw_only=True):
    """One measurement of one model, workload, runtime and machine."""

    id: str = ""
    started: str
    segbench: str
    model: Model
    workload: Workload
    runtime: Runtime
    hardware: Hardware
    split: Split | None = None
    compute: Compute | None = None
    parameters: Parameters | None = None
    latency: Latency | None = None
    stages: dict[str, Stage] = {}
    overhead: Overhead | None = None
    throughput: Throughput | None = None
    memory: Memory | None = None
    energy: Energy | None = None
    roof: Roof | None = None
    quality: Quality | None = None
    check: Check | None = None
    warnings: list[str] = []
    error: Failure | None = None

    def __post_init__(self) -> None:
        if not self.id:
            self.id = self.digest()

    @property
    def noisy(self) -> bool | None:
        """Whether other work or a changing clock disturbed it; None where nothing was timed."""
        if self.latency is None:
            return None
        return self.latency.noisy or (self.quality is not None and self.quality.noisy)

    def digest(self) -> str:
        """Identity of the measurement: model, workload, runtime, machine and when."""
        parts = (self.model, self.workload, self.runtime, self.hardware, self.started)
        return f"sha256:{hashlib.sha256(msgspec.json.encode(parts)).hexdigest()}"


class Document(Base, kw_only=True):
    """The file. Schema `segbench.profiles/1`."""

    schema: Annotated[str, Meta(pattern=r"^segbench\.profiles/1$")] = SCHEMA
    segbench: str
    command: str
    records: list[Record]


def json_schema() -> bytes:
    """`profiles.schema.json`, derived from the types above."""
    document = msgspec.json.schema(Document)
    named = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": SCHEMA, "title": "Profiles", **document}
    return msgspec.json.format(msgspec.json.encode(named), indent=1) + b"\n"
