#!/usr/bin/env bash
# Evaluates the predictions into FOLDER/candidate.
set -euo pipefail
options=()
[ -z "${DATASET:-}" ] || options+=(--dataset "$DATASET")
[ -z "${PROTOCOL:-}" ] || options+=(--protocol "$PROTOCOL")
if [ -n "${ARGUMENTS:-}" ]; then
    # words as on a command line, quotes understood, nothing expanded
    while IFS= read -r word; do options+=("$word"); done < <(python -c 'import os, shlex; print("\n".join(shlex.split(os.environ["ARGUMENTS"])))')
fi
python -m segbench evaluate "$PREDICTIONS" "$GROUND_TRUTH" "${options[@]}" -o "$FOLDER/candidate"
