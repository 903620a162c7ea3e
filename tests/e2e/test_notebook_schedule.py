"""A document of a notebook on real machines: run without anybody, in turns with the notebook itself."""

from __future__ import annotations

from datetime import datetime

import pytest

from tests.support.notebooks import Notebooks
from tests.support.training import Object
from tests.support.waiting import wait_for
from tools.kubectl import Kubectl
from tools.quickstart.follow import condition

#: Writes the document that the schedule names.
WRITE = """
import pathlib, nbformat
from nbformat.v4 import new_code_cell, new_notebook
cells = [new_code_cell("rounds = 1", metadata={"tags": ["parameters"]}),
         new_code_cell("print('share', 60 // rounds, 'on', day)"),
         new_code_cell("open('made.txt', 'w').write(str(rounds))")]
pathlib.Path("reports").mkdir(exist_ok=True)
nbformat.write(new_notebook(cells=cells), "reports/daily.ipynb")
print("written")
"""
#: Prints what became of a run: how it ended, and what its cells printed.
READ = """
import nbformat
became = nbformat.read("runs/{run}/daily.ipynb", as_version=4)
print(became.metadata["mlpools"]["state"])
for cell in became.cells:
    for output in cell.outputs:
        print(output.get("text") or output.get("ename"))
print(open("reports/made.txt").read())
"""


@pytest.mark.full
@pytest.mark.e2e(seconds=150)
def test_a_document_runs_in_turns_with_its_notebook_and_leaves_what_it_became(
    notebooks: Notebooks, cluster: Kubectl
) -> None:
    schedule = {
        "cron": "* * * * *",
        "notebook": "reports/daily.ipynb",
        "parameters": {"day": "{date}", "rounds": 0},
    }
    notebooks.submit("reporter", schedule=schedule)
    notebooks.starts("reporter")
    with notebooks.opened("reporter") as jupyter:
        assert "written" in jupyter.run(jupyter.kernel(), WRITE)

    def scheduled() -> Object:
        return condition(notebooks.status("reporter"), "Scheduled")

    def runs() -> list[Object]:
        found = cluster.list("trainingjobs", selector="mlpools.dev/schedule=reporter", namespace="default")
        return sorted(found, key=lambda it: str(it["metadata"]["name"]))

    def ended() -> list[Object]:
        return [it for it in runs() if it.get("status", {}).get("phase") in ("Failed", "Succeeded")]

    wait_for("a run that waits", lambda: scheduled().get("reason") == "NotebookRuns", 90, every=0.5)
    assert runs() == []

    notebooks.change("reporter", suspend=True)
    (failed,) = wait_for("a run that failed", ended, 180, every=0.5)
    status = failed["status"]
    assert (status["phase"], status["reason"]) == ("Failed", "UserCodeError"), status
    assert (status["attempt"], status["restarts"]) == (1, 0), status
    words = condition(status, "Failed")["message"]
    assert "ZeroDivisionError in cell 3, line 1, of reports/daily.ipynb" in words, words

    notebooks.change("reporter", schedule={**schedule, "parameters": {"day": "{date}", "rounds": 20}})
    first = failed["metadata"]["name"]
    (second, *_) = wait_for(
        "the next run", lambda: [it["metadata"]["name"] for it in runs()][1:], 120, every=0.3
    )
    notebooks.change("reporter", suspend=False, schedule={"suspend": True})
    waiting = notebooks.until("reporter", reason="WorkspaceInUse", seconds=30)
    assert second in condition(waiting, "Ready")["message"]
    complete = wait_for("two runs that ended", lambda: len(ended()) == 2 and ended(), 180, every=0.5)
    status = complete[1]["status"]
    assert (status["phase"], status["attempt"]) == ("Succeeded", 1), status

    assert notebooks.starts("reporter")["attempt"] == 2
    assert not notebooks.status("reporter").get("run")
    assert len(runs()) == 2
    with notebooks.opened("reporter") as jupyter:
        kernel = jupyter.kernel()
        shown = jupyter.run(kernel, READ.format(run=second))
        assert shown.split("\n")[0] == "Complete", shown
        day = datetime.strptime(second, "nb-reporter-%Y%m%d%H%M")
        assert f"share 3 on {day:%Y-%m-%d}" in shown, shown
        assert shown.strip().endswith("20"), shown
        before = jupyter.run(kernel, READ.format(run=first))
        assert before.split("\n")[0] == "Failed", before
        assert "ZeroDivisionError" in before, before
