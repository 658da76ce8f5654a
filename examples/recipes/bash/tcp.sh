#!/usr/bin/env bash
set -euo pipefail
export LC_ALL=C # so that ${#1} counts bytes
address="${NATS_URL#nats://}"
exec 3<>"/dev/tcp/${address%:*}/${address##*:}"
printf 'CONNECT {"verbose":false}\r\n' >&3
tell() { printf 'PUB tenant.%s.job.%s.progress %d\r\n%s\r\n' "$MILEPOST_TENANT" "$MILEPOST_JOB" ${#1} "$1" >&3; }

tell '{"status":"running","name":"Import in bash"}'
for rows in 1000 2000 3000 4000 5000; do
  tell '{"nodeId":1,"nodeName":"DB Input","status":"running","rowCount":'$rows',"message":"Processing rows..."}'
  sleep 0.1 # the work
done
tell '{"nodeId":1,"status":"completed"}'
tell '{"kind":"log","message":"a row had no date"}'
tell '{"status":"completed"}'

printf 'PING\r\n' >&3 # its answer says that the server has read everything before it
while read -r -t 5 line <&3; do
  case "$line" in PONG*) exit 0 ;; -ERR*) echo "$line" >&2 && exit 1 ;; esac
done
exit 1
