#!/usr/bin/env bash
# Writes the report as a comment on the pull request, in place of the one that an earlier run wrote.
set -euo pipefail
report=$FOLDER/report/report.md
if [ "${WHEN:-on-change}" = on-change ] && python -c 'import json, sys; sys.exit(not all(item["identical_predictions"] for item in json.load(open(sys.argv[1]))["comparisons"]))' "$FOLDER/report/report.json"; then
    echo "the predictions are those of the base branch: no comment"
    exit 0
fi
marker=$(head -n 1 "$report")
old=$(gh api "repos/$REPOSITORY/issues/$NUMBER/comments" --paginate --jq '.[] | select(.user.type == "Bot") | [.id, (.body | split("\n")[0] | rtrimstr("\r"))] | @tsv' | awk -F '\t' -v marker="$marker" '$2 == marker { print $1; exit }')
if [ -n "$old" ]; then
    gh api --silent -X PATCH "repos/$REPOSITORY/issues/comments/$old" -F body=@"$report"
else
    gh api --silent "repos/$REPOSITORY/issues/$NUMBER/comments" -F body=@"$report"
fi
