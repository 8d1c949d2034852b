#!/usr/bin/env bash
# Installs segbench and tells what compiled kernels depend on: the versions of Python, Numba and segbench, and the CPU.
set -euo pipefail
if [ -n "${VERSION:-}" ]; then
    python -m pip install --quiet "segbench==$VERSION"
elif [ -z "${SEGBENCH_INSTALLED:-}" ]; then
    python -m pip install --quiet "$ACTION"
fi
kernels=$(python - <<'PYTHON'
import hashlib
import platform

import llvmlite.binding
import numba

import segbench

features = llvmlite.binding.get_host_cpu_features().flatten()
parts = (platform.python_version(), numba.__version__, segbench.__version__, llvmlite.binding.get_host_cpu_name(), features)
print(f"{numba.__version__}-{llvmlite.binding.get_host_cpu_name()}-{hashlib.sha256(repr(parts).encode()).hexdigest()[:16]}")
PYTHON
)
echo "kernels=$kernels" >> "$GITHUB_OUTPUT"
