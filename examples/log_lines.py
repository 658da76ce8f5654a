"""Log records as the job's log lines: `python examples/log_lines.py`."""

import logging

from milepost_reporter import LogHandler

logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[logging.StreamHandler(), LogHandler()])
log = logging.getLogger("import")

log.info("reading %s", "customers.csv")
log.warning("row %d has no date", 17)
try:
    int("seventeen")
except ValueError:
    log.exception("row %d cannot be read", 18)
log.info("done")
