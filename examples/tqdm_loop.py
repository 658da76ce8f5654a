"""Loops with tqdm's bars, which are nodes of a job as well: `python examples/tqdm_loop.py`."""

import time

from milepost_reporter.tqdm import tqdm

for _ in tqdm(range(3), "Days"):
    for _ in tqdm(range(100), "Rows", unit="rows", leave=False):
        time.sleep(0.002)
