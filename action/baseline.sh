#!/usr/bin/env bash
# Fetches the last run of the base branch into FOLDER/baseline; without one this is a first run.
set -euo pipefail
if ! run=$(gh run list --workflow "$WORKFLOW" --branch "$BASE" --status success --limit 1 --json databaseId --jq '.[0].databaseId'); then
    # not a first run: without this, gates would be off and nobody would know
    echo "::error title=segbench::the runs of $BASE cannot be listed; the job needs permissions: actions: read"
    exit 1
fi
if [ -z "$run" ]; then
    echo "::notice title=segbench::$BASE has no run to compare with yet"
elif gh run download "$run" --name segbench-run --dir "$FOLDER/baseline"; then
    echo "compared with run $run of $BASE"
else
    echo "::warning title=segbench::run $run of $BASE has no artifact segbench-run any more: nothing is compared"
    rm -rf "$FOLDER/baseline"
fi
