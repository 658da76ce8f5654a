#!/usr/bin/env bash
set -euo pipefail
job="tenant.$MILEPOST_TENANT.job.$MILEPOST_JOB"
tell() { nats pub "$job.progress" "$1"; }

tell '{"status":"running","name":"Import with the NATS CLI"}'
for rows in 1000 2000 3000 4000 5000; do
  tell '{"nodeId":1,"nodeName":"DB Input","status":"running","rowCount":'$rows',"message":"Processing rows..."}'
  sleep 0.1 # the work
done
tell '{"nodeId":1,"status":"completed"}'
tell '{"kind":"log","message":"a row had no date"}'
nats request "$job.end.1" '{"status":"completed"}' -H Nats-Expected-Last-Subject-Sequence:0 --raw
