#!/bin/sh
# A night's work. By itself a script like any other; `milepost run -- sh examples/nightly.sh` makes it a job, and each
# step that it runs by `milepost run` a node of that job.
set -e

milepost run --name Extract -- sh -c 'for table in customers orders; do echo "$table: exported"; done'
milepost run --name Check -- sh -c 'echo "orders: 2 rows have no date" >&2; exit 3' || echo "the check found something"
milepost run --name Load -- sh -c 'echo "both tables are loaded"'
