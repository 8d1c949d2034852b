#!/usr/bin/env bash
# Fetches the last run of the base branch into FOLDER/baseline; without one this is a first run.
set -euo pipefail
run=$(gh run list --workflow "$WORKFLOW" --branch "$BASE" --status success --limit 1 --json databaseId --jq '.[0].databaseId' || true)
if [ -n "$run" ] && gh run download "$run" --name segbench-run --dir "$FOLDER/baseline"; then
    echo "compared with run $run of $BASE"
else
    echo "::notice title=segbench::$BASE has no run to compare with yet"
    rm -rf "$FOLDER/baseline"
fi
