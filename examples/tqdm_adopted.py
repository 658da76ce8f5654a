"""A program whose bars are tqdm's own, and report since one line: `python examples/tqdm_adopted.py`."""

import time
from concurrent.futures import ThreadPoolExecutor

from milepost_reporter.tqdm import adopt_tqdm
from tqdm import tqdm

adopt_tqdm()


def convert(_: int) -> None:
    """What a thread does with one file."""
    time.sleep(0.01)


with ThreadPoolExecutor(4) as pool:
    list(tqdm(pool.map(convert, range(40)), desc="Convert", total=40, unit="files"))

with tqdm(total=2_000_000, desc="Upload", unit="B", unit_scale=True) as bar:
    for _ in range(20):
        time.sleep(0.01)
        bar.update(100_000)
    bar.set_postfix(parts=20)
