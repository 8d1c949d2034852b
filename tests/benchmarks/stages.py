"""Where segbench's engine spends its time on instances: CPU seconds by stage, one worker, one line of JSON.

    python tests/benchmarks/stages.py "$(generate.py coco500)" "$(generate.py small-instance)"

Functions are wrapped from outside, each counting its own time without that of the wrapped ones it calls.
"""

from __future__ import annotations

import functools
import json
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from peer import load_kernels, load_segbench

STAGES = {
    "ground truth: JSON": ("segbench.adapters.instance.coco_truth:read_truth", "segbench.adapters.instance.coco:ground_truth"),
    "results: JSON": ("segbench.adapters.instance.coco_json:read_results",),
    "results: sorting": ("segbench.adapters.instance.coco:predictions",),
    "ground truth: polygons": ("segbench.adapters.instance.polygons:read_outlines", "segbench.adapters.instance.polygons:polygon_masks"),
    "masks: decoding run lengths": ("segbench.adapters.instance.coco_masks:decode",),
    "batches": ("segbench.adapters.instance.coco_source:CocoInstances.read", "segbench.adapters.instance.coco_source:CocoInstances.part"),
    "overlaps (IoU)": ("segbench.metrics.instance.pairs:evidence_of",),
    "merging evidence": ("segbench.evidence:merge",),
    "matching": ("segbench.metrics.instance.matching:match",),
    "accumulation": ("segbench.metrics.instance.matching:curves",),
    "further metrics, tables": ("segbench.metrics.instance.scoring:scores", "segbench.metrics.tasks:suspicions"),
    "digests": ("segbench.adapters.instance.coco_source:CocoInstances.fingerprint", "segbench.results:dataset_digest"),
}
REST = "rest"


class Clock:
    """CPU seconds by stage; what a stage calls counts for itself alone."""

    def __init__(self) -> None:
        self.seconds = dict.fromkeys([*STAGES, REST], 0.0)
        self._stack = [REST]
        self._since = time.process_time()

    def _switch(self) -> None:
        now = time.process_time()
        self.seconds[self._stack[-1]] += now - self._since
        self._since = now

    def enter(self, stage: str) -> None:
        """Starts a stage."""
        self._switch()
        self._stack.append(stage)

    def leave(self) -> None:
        """Ends the last one started."""
        self._switch()
        self._stack.pop()

    def wrapped(self, stage: str, function: Callable) -> Callable:
        """The function, on this clock."""

        @functools.wraps(function)
        def timed(*arguments: Any, **named: Any) -> Any:
            self.enter(stage)
            try:
                return function(*arguments, **named)
            finally:
                self.leave()

        return timed


def install(clock: Clock) -> None:
    """Wraps every function of `STAGES`, wherever it was imported to.

    Raises:
        AttributeError: there is no such function any more.
    """
    for stage, names in STAGES.items():
        for name in names:
            module, _, path = name.partition(":")
            owner: Any = import_module(module)
            *classes, attribute = path.split(".")
            for item in classes:
                owner = getattr(owner, item)
            original = getattr(owner, attribute)
            timed = clock.wrapped(stage, original)
            setattr(owner, attribute, timed)
            for other in [value for key, value in sys.modules.items() if key.startswith("segbench")]:
                for key in [key for key, value in vars(other).items() if value is original]:
                    setattr(other, key, timed)


def main() -> None:
    """Prints the stages of a work, after a small one has loaded everything."""
    work, small = (json.loads(text) for text in sys.argv[1:])
    _, evaluate = load_segbench()
    evaluate(small)
    load_kernels("instance")
    clock = Clock()
    install(clock)
    clock.enter(REST)
    evaluate(work)
    clock.leave()
    print(json.dumps({stage: seconds for stage, seconds in clock.seconds.items() if seconds > 0}))


if __name__ == "__main__":
    main()
