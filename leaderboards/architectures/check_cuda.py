"""On a CUDA machine: `python leaderboards/architectures/check_cuda.py FILE` measures some architectures and checks what only it shows.

(a) macs on the device are those on the CPU; (b) event time does not exceed wall time; (c) in-situ and counterfactual overheads agree;
(d) torch.compile gives the same counts and a counterfactual split; (e) the driver's energy counter is read; (f) copies between host and
device are timed. Under ten minutes.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
NAMES = ("segformer_b0", "mask2former_swin_t", "segmenter_s_mask", "unet_r34", "fcn_r50", "segnet")
TOLERANCE = 0.15
"""How far the two estimators of the head's share of latency may be apart, as a difference of shares."""


def main() -> None:
    """Prints one line per check and exits with 1 where one fails."""
    from segbench.profiling import Policy, Profiles, profile

    counts = {row["name"]: row for row in json.loads((HERE / "counts.json").read_text(encoding="utf-8"))}
    policy = Policy(max_time_s=5.0, min_time_s=1.0)
    parts, failed = [], False
    for name in NAMES:
        for backend in ("torch", "torch.compile"):
            estimator = "both" if backend == "torch" else "auto"
            found = profile(
                f"{HERE / 'zoo.py'}:{name}", device="cuda:0", backend=backend, estimator=estimator, policy=policy, name=name, time_limit=200
            )
            parts.append(found)
            record = found[0]
            if record.latency is None or record.compute is None:
                print(f"{name} {backend}: {record.error.kind}: {record.error.message}", flush=True)
                failed |= backend == "torch"
                continue
            checks = {
                "macs": record.compute.macs == counts[name]["macs"],
                "events": (record.latency.device_p50 or 0) <= record.latency.p50 * 1.001,
                "copies": record.stages["h2d"].p50 > 0 and record.stages["d2h"].p50 > 0,
                "energy": record.energy is not None and record.energy.source == "nvml",
            }
            if backend == "torch" and record.overhead is not None:
                inside, outside = record.overhead.head_share.latency, record.overhead.others["counterfactual"].latency
                checks["estimators"] = abs(inside - outside / (1 + outside)) < TOLERANCE
            failed |= not all(checks.values())
            print(name, backend, f"{record.latency.p50 / 1e6:.3f} ms", checks, flush=True)
    Profiles.merge(parts).save(sys.argv[1])
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
