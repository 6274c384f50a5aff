"""Publish a run to a local Hub with the line cut at every request: resumed whole, nothing sent twice, a tag only on the whole.

    python -m benchmarks.publish

Each request is cut before it is read and after it was carried out; one with a body also in the middle of it. The files are
small: what is measured is the order of the requests, not the speed. Uploads over Xet are not measured.
"""

import logging
import os
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest import mock

from benchmarks.report import report
from her.errors import HerError
from tests.hub import WRITER, Hub, When, running_hub
from tests.hub_runs import model_files, tensors, write_run

POINTS = 10
"""Fewest points that the bar asks for."""
RUN = "player"


def main() -> None:
    began = time.monotonic()
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder, running_hub(Path(folder) / "hub") as hub:
        # Read once by huggingface_hub, which is imported later.
        os.environ |= {"HF_ENDPOINT": hub.address, "HF_TOKEN": WRITER, "HF_HUB_DISABLE_XET": "1", "HF_HUB_OFFLINE": "0"}
        os.environ |= {"HF_HOME": f"{folder}/hf", "HER_HOME": f"{folder}/home", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
        files = model_files() | {"adapter/adapter_model.safetensors": tensors(bytes(range(256)) * 64)}
        write_run(Path(folder) / "home", RUN, files)
        with mock.patch("huggingface_hub.utils._http.time.sleep"):  # the client waits 23 s until it gives up
            requests = count_requests(hub)
            points = [(at, when) for at, request in enumerate(requests, 1) for when in whens(request)]
            rows = [cut_and_resume(hub, f"ada/cut-{i}", at, when) for i, (at, when) in enumerate(points)]
    faults = [row for row in rows if row["twice"] or row["tag_on_a_part"] or not (row["whole"] and row["cut"])]
    passed = not faults and len(rows) >= POINTS
    sums = {key: sum(bool(row[key]) for row in rows) for key in ("cut", "whole", "twice", "tag_on_a_part")}
    measured = {"requests": len(requests), "points": len(rows), **sums, "faults": faults}
    bar = {"points": POINTS, "whole": "all", "twice": 0, "tag_on_a_part": 0}
    report("publish", bar, {**measured, "seconds": round(time.monotonic() - began, 1)}, passed)


def send(repository: str) -> Any:
    from her.deploy.hub.publishing import PublicationOptions, prepare, publish

    return publish(prepare(RUN, repository, PublicationOptions()))


def count_requests(hub: Hub) -> list[str]:
    """Return the requests of an undisturbed upload."""
    send("ada/undisturbed")  # the first one of a process also looks around
    hub.requests.clear()
    send("ada/counted")
    return list(hub.requests)


def whens(request: str) -> tuple[When, ...]:
    return ("before", "after") if request.startswith("GET") else ("before", "middle", "after")


def cut_and_resume(hub: Hub, repository: str, at: int, when: When) -> dict[str, Any]:
    """Cut one upload, look at what readers would see, and start it again."""
    from her.deploy.hub.pulling import pull

    hub.kept.clear()
    hub.cut(at, when)
    error = ""
    try:
        send(repository)
    except HerError as cut:
        error = str(cut)
    request = hub.requests[at - 1] if len(hub.requests) >= at else ""
    hub.mend()
    tagged = hub.exists("models", repository) and hub.repository("models", repository).state["tags"]
    early = False
    if tagged:
        early = not readable(repository)
    send(repository)
    folder, manifest, _ = pull(f"{repository}@{RUN}")
    return {
        "request": request.split("?")[0],
        "when": when,
        "cut": bool(error),
        "tag_on_a_part": early,
        "twice": hub.twice(),
        "whole": len(manifest.files) == sum(1 for path in folder.rglob("*") if path.is_file()) - 1,
    }


def readable(repository: str) -> bool:
    from her.deploy.hub.pulling import pull

    try:
        pull(f"{repository}@{RUN}")
    except HerError:
        return False
    return True


if __name__ == "__main__":
    main()
