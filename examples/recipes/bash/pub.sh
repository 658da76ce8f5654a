#!/usr/bin/env bash
set -euo pipefail

milepost pub --status running --name "Import with milepost pub"
for rows in 1000 2000 3000 4000 5000; do
  milepost pub --node 1 --name "DB Input" --status running --rows "$rows" --message "Processing rows..."
  sleep 0.1 # the work
done
milepost pub --node 1 --status completed
milepost pub --kind log --message "a row had no date"
milepost pub --status completed
