"""A notebook in a real browser: what a person sees of it, and when it stops behind them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.support.browser import chromium, tab
from tests.support.notebooks import TRAINING, Notebooks
from tests.support.plugin import Person
from tests.support.web import Web
from tools.stages import LOGS

#: Longer than anybody's patience here, with what a stop takes.
_SECONDS = 100
_CELL = f"""
import pathlib, time
time.sleep({_SECONDS})
pathlib.Path("finished.txt").touch()
"""
_COMMAND = f"touch began.txt; sleep {_SECONDS}; touch finished.txt"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as one:
        yield one


@pytest.fixture
def picture(request: pytest.FixtureRequest) -> Path:
    """Where a page is painted that is not as it should be."""
    return LOGS / f"{request.node.name}.png"


@pytest.mark.full
@pytest.mark.e2e(seconds=150)
def test_a_person_trains_forgets_it_and_finds_all_of_it_at_the_next_visit(
    notebooks: Notebooks, browser: Browser, person: Person, picture: Path
) -> None:
    notebooks.submit("alice", idleSeconds=60)
    notebooks.starts("alice")
    with notebooks.before_a_browser("alice") as jupyter, tab(browser, jupyter.url, picture) as lab:
        lab.log_in(jupyter.token)
        lab.new_notebook()
        lab.run(TRAINING)
        lab.printed("trained 10 rounds").wait_for()
        lab.save_as("flights.ipynb")
        lab.file("model.ubj").wait_for()
        # Where there is no way to the world outside, neither is anything asked of it nor a person about it.
        lab.quiet().wait_for()
        assert lab.strangers == set()
        # The tab stays open: it is no use.
        assert notebooks.until("alice", phase="Stopped")["reason"] == "Idle"

    person.say("start", "nb/alice")
    with person.opened("alice") as (url, _), tab(browser, url, picture) as lab:
        lab.come_by(url)
        lab.file("model.ubj").wait_for()
        lab.open_file("flights.ipynb")
        lab.printed("trained 10 rounds").wait_for()


@pytest.mark.timeout(480)
@pytest.mark.full
@pytest.mark.e2e(seconds=240)
def test_a_cell_without_a_browser_and_a_command_in_a_terminal_run_to_their_end(
    notebooks: Notebooks, browser: Browser, picture: Path
) -> None:
    names = ("cell", "terminal")
    for name in names:
        notebooks.submit(name, idleSeconds=60)
    for name in names:
        notebooks.starts(name)
    with notebooks.before_a_browser("cell") as jupyter, tab(browser, jupyter.url, picture) as lab:
        lab.log_in(jupyter.token)
        lab.new_notebook()
        lab.run(_CELL)
        lab.kernel("Busy").wait_for()
    with notebooks.before_a_browser("terminal") as jupyter, tab(browser, jupyter.url, picture) as lab:
        lab.log_in(jupyter.token)
        lab.new_terminal()
        lab.type(_COMMAND)
        lab.file("began.txt").wait_for()
        for name in names:
            # Also with the tab of the terminal open, once its command is over.
            assert notebooks.until(name, phase="Stopped", seconds=300)["reason"] == "Idle"

    for name in names:
        notebooks.ask_to_start(name)
        notebooks.starts(name)
        with notebooks.before_a_browser(name) as jupyter, tab(browser, jupyter.url, picture) as lab:
            lab.log_in(jupyter.token)
            lab.file("finished.txt").wait_for()


@pytest.mark.full
@pytest.mark.e2e(seconds=35)
def test_pages_of_others_can_do_nothing_in_it(
    notebooks: Notebooks, browser: Browser, picture: Path, tmp_path: Path
) -> None:
    notebooks.submit("alice")
    notebooks.starts("alice")
    with notebooks.before_a_browser("alice") as jupyter, tab(browser, jupyter.url, picture) as lab:
        lab.log_in(jupyter.token)
        assert lab.post("/api/kernels") == 403
        assert lab.post("/api/kernels", **{"X-XSRFToken": lab.xsrf()}) == 201
        assert lab.connects("/api/events/subscribe")
        # Another port is another origin, and yet gets the cookies of this one.
        with Web(tmp_path) as other:
            page = other.file("page.html", b"<html></html>")
            assert not lab.stranger(page).connects("/api/events/subscribe")
