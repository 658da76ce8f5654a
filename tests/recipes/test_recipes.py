"""Every recipe does what its page shows: the file is the page's, and so is what a watcher sees of it.

`make recipes` runs all of them whose language is on the machine; without it only those that need no toolchain.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import nats
import nats.errors
import pytest

from milepost.nats_server import NatsServer
from tests.docs.block import ROOT
from tests.docs.printed import printed
from tests.milepost.conftest import Service, serving
from tests.milepost.console import milepost, running
from tests.recipes.recipe import FOLDER, RECIPES, Recipe, as_told, chosen, ready

PAGE = "recipes.md"
TRIES = 5

# a compiler may have to come first
pytestmark = pytest.mark.timeout(1_200)


def named(recipe: Recipe) -> str:
    return f"{recipe.folder}/{recipe.file}"


@pytest.fixture(scope="module")
def service(shared_nats: NatsServer) -> Iterator[Service]:
    with serving(shared_nats.url) as under_way:
        yield under_way


def around(nats_url: str, job: str) -> dict[str, str]:
    return {"NATS_URL": nats_url, "MILEPOST_TENANT": "recipes", "MILEPOST_JOB": job}


def shown(path: str) -> str:
    """The block of the page that shows that file."""
    found = re.search(
        rf"<!-- file: {re.escape(path)} -->\n(?:<!-- notest[^\n]*\n)?```[^\n]*\n(.*?)^```",
        (ROOT / "docs" / PAGE).read_text("utf-8"),
        re.DOTALL | re.MULTILINE,
    )
    assert found is not None, f"docs/{PAGE} does not show examples/recipes/{path}"
    return found[1]


@pytest.mark.parametrize("recipe", RECIPES, ids=named)
def test_the_page_shows_the_file(recipe: Recipe) -> None:
    assert shown(named(recipe)) == recipe.path.read_text("utf-8")


@pytest.mark.parametrize("path", ["go/go.mod", "node/package.json", "rust/Cargo.toml"])
def test_the_page_names_the_versions(path: str) -> None:
    assert shown(path) == (FOLDER / path).read_text("utf-8")


def test_the_page_names_jnats() -> None:
    version = re.search(
        r"<artifactId>jnats</artifactId>\s*<version>(.*)</version>", (FOLDER / "java/pom.xml").read_text()
    )
    assert version is not None
    assert f"jnats {version[1]}" in (ROOT / "docs" / PAGE).read_text("utf-8")


@pytest.mark.parametrize("recipe", chosen(), ids=named)
def test_a_watcher_sees_what_the_page_shows(
    recipe: Recipe, service: Service, shared_nats: NatsServer, tmp_path: Path
) -> None:
    ready(recipe)
    job = re.sub(r"\W", "-", named(recipe))
    with running("watch", job, env=service.environment("recipes")) as watching:
        watching.until("connected")
        with recipe.start(tmp_path, around(shared_nats.url, job)) as process:
            said, _ = process.communicate(timeout=120)
        assert process.returncode == 0, said
        lines = watching.rest()
        assert watching.end() == 0
    assert as_told("\n".join(lines)) == as_told(expected(recipe)), "\n".join(lines)


def expected(recipe: Recipe) -> str:
    """What the page shows; of the one recipe that was not run for it, what it says of it."""
    if recipe.file == "natscli.sh":
        return printed(PAGE, "bash tcp.sh").replace("in bash", "with the NATS CLI")
    return printed(PAGE, recipe.command)


@pytest.mark.parametrize("recipe", [recipe for recipe in chosen() if recipe.hears], ids=named)
async def test_it_ends_as_cancelled_when_it_is_asked_to(
    recipe: Recipe, service: Service, shared_nats: NatsServer, tmp_path: Path
) -> None:
    ready(recipe)
    for number in range(TRIES):
        job = f"cancel-{recipe.folder}-{number}"
        with recipe.start(tmp_path / job, around(shared_nats.url, job)) as process:
            answer = await asked(shared_nats.url, job, process.poll)
            process.communicate(timeout=120)
        watched = milepost("watch", job, env=service.environment("recipes"))
        # a busy machine may have asked when all work was done
        if watched.returncode != 0:
            break
    assert answer == b'{"ok":true}'
    assert watched.returncode == 3, watched.stdout


async def asked(nats_url: str, job: str, ended: object) -> bytes:
    """What the job answers, as soon as there is somebody to ask; nothing when it has ended before."""
    assert callable(ended)
    client = await nats.connect(nats_url)
    try:
        while ended() is None:
            try:
                return (await client.request(f"tenant.recipes.job.{job}.control", b'{"action":"cancel"}')).data
            except nats.errors.NoRespondersError:
                continue
        return b""
    finally:
        await client.close()
