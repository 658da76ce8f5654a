"""Runs cells in a real notebook's kernel, and prints what they put out, as JSON."""

from __future__ import annotations

import json
from typing import Final

import nbformat
from nbclient import NotebookClient

CELLS: Final = (
    """
from milepost_reporter import Reporter
from milepost_reporter.tqdm import adopt_tqdm, tqdm
import tqdm.notebook as notebook
from tqdm.std import tqdm as std

job = Reporter.recording()
adopt_tqdm(job)
""",
    "for _ in tqdm(range(5), 'imported'): pass",
    """
async def numbers():
    for number in range(3):
        yield number

async for _ in tqdm(numbers(), desc="asynchronous"): pass
""",
    "for _ in notebook.tqdm(range(4), 'widgets'): pass",
    "for _ in std(range(2), 'plain'): pass",
    "for node in job.state.snapshot()['nodes']: print(node['nodeName'], node['status'], node['rowCount'])",
)


def outputs() -> list[str]:
    """What each cell has put out: the names of its pictures, and its text."""
    book = nbformat.v4.new_notebook()  # type: ignore[no-untyped-call]
    book.cells = [nbformat.v4.new_code_cell(cell) for cell in CELLS]  # type: ignore[no-untyped-call]
    NotebookClient(book, timeout=60, kernel_name="python3").execute()
    return [
        "".join(" ".join(output.data) if "data" in output else output.text for output in cell.outputs)
        for cell in book.cells
    ]


if __name__ == "__main__":
    print(json.dumps(outputs()))  # noqa: T201 - for the test that has started it
