#!/usr/bin/env bash
# Compares FOLDER/candidate with the baseline and writes FOLDER/report. A failed gate is told by exit-code, so that reports are uploaded first.
set -euo pipefail
baseline=${BASELINE:-}
baseline=${baseline:-$FOLDER/baseline}
report=$FOLDER/report
mkdir -p "$report"
options=(--fail-on "${FAIL_ON:-fail}" --markdown "$report/report.md" --html "$report/report.html" --junit "$report/junit.xml" --csv "$report/rows.csv")
[ -z "${CONFIG:-}" ] || options+=(--config "$CONFIG")
code=0
# status, exit-code and the others are written to GITHUB_OUTPUT by the command itself
python -m segbench compare "$baseline" "$FOLDER/candidate" "${options[@]}" --json > "$report/report.json" || code=$?
case $code in
    0 | 1 | 5) ;;
    *)
        cat "$report/report.json" >&2
        exit "$code"
        ;;
esac
{
    echo "exit-code=$code"
    echo "report=$report"
    echo "json=$report/report.json"
} >> "$GITHUB_OUTPUT"
