"""Settings of the whole test run."""

from __future__ import annotations

import os

from hypothesis import settings

# A busy machine is no reason to fail, and continuous integration tries the same examples every time.
settings.register_profile("segbench", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("segbench")
