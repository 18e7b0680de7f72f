"""The image of examples/compose, and the manifest of examples/kubernetes that runs it."""

from __future__ import annotations

import asyncio
import json
import re
import tomllib
from typing import Any

import pytest
import yaml

from taskmanager import TaskManager
from tests.support.deployed import EXAMPLES, ROOT, arguments_of, longest_stop
from tests.support.processes import Spawner
from tests.support.servers import RedisServer
from tests.support.waiting import PATIENCE

APP = EXAMPLES / "compose"
POD_KEYS = {
    "terminationGracePeriodSeconds", "automountServiceAccountToken", "securityContext",
    "containers", "volumes",
}  # fmt: skip
CONTAINER_KEYS = {
    "name", "image", "command", "args", "env", "resources", "securityContext", "volumeMounts",
}  # fmt: skip


@pytest.fixture
def dockerfile() -> list[tuple[str, str]]:
    """The instructions, each with its arguments."""
    text = re.sub(r"^#.*\n", "", (APP / "Dockerfile").read_text(), flags=re.MULTILINE)
    lines = text.replace("\\\n", " ").splitlines()
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in lines if line]


@pytest.fixture
def pod() -> dict[str, Any]:
    (manifest,) = yaml.safe_load_all((EXAMPLES / "kubernetes" / "worker.yaml").read_text())
    assert (manifest["apiVersion"], manifest["kind"]) == ("apps/v1", "Deployment")
    labels = manifest["spec"]["selector"]["matchLabels"]
    assert manifest["spec"]["template"]["metadata"]["labels"] == labels
    found: dict[str, Any] = manifest["spec"]["template"]["spec"]
    return found


def test_the_image_copies_all_that_its_package_is_built_from(
    dockerfile: list[tuple[str, str]],
) -> None:
    ours, theirs = set[str](), set[str]()
    for instruction, arguments in dockerfile:
        if instruction == "COPY":
            *sources, _ = arguments.removeprefix("--from=taskmanager ").split()
            (theirs if arguments.startswith("--from") else ours).update(sources)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    about = project["project"]

    assert {*packages, about["readme"], *about["license-files"], "pyproject.toml"} <= theirs
    assert all((ROOT / it).exists() for it in theirs)
    assert {"requirements.txt", "app.py", "web.py"} == ours
    assert all((APP / it).exists() for it in ours)


def test_the_image_has_what_its_programs_import(dockerfile: list[tuple[str, str]]) -> None:
    ((_, image),) = [it for it in dockerfile if it[0] == "FROM"]
    installs = " ".join(arguments for instruction, arguments in dockerfile if instruction == "RUN")
    required = (APP / "requirements.txt").read_text().splitlines()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    least = project["requires-python"].removeprefix(">=3.")
    assert int(re.fullmatch(r"python:3\.(\d+)-slim", image)[1]) >= int(least)  # type: ignore[index]
    assert {"'/src[fast]'", "-r requirements.txt"} <= set(
        re.findall(r"pip install --no-cache-dir ('[^']+'|-r \S+)", installs)
    )
    # web.py imports the first, and the compose file starts the second.
    assert {re.split(r"[<>=~]", it)[0] for it in required} == {"fastapi", "uvicorn"}


def test_the_image_runs_a_worker_that_gets_the_signal_and_is_not_root(
    dockerfile: list[tuple[str, str]],
) -> None:
    (user,) = [int(arguments) for instruction, arguments in dockerfile if instruction == "USER"]
    (command,) = [arguments for instruction, arguments in dockerfile if instruction == "CMD"]

    assert user > 0
    assert json.loads(command) == ["python", "-m", "taskmanager", "worker", "app:tm"]
    assert {instruction for instruction, _ in dockerfile} <= {
        "FROM", "ENV", "COPY", "RUN", "WORKDIR", "USER", "CMD",
    }  # fmt: skip


def test_kubernetes_gives_a_worker_time_to_stop(pod: dict[str, Any]) -> None:
    (container,) = pod["containers"]
    settings = {it["name"]: it["value"] for it in container["env"] if "value" in it}

    assert longest_stop(settings) < pod["terminationGracePeriodSeconds"]


def test_a_pod_has_what_a_cluster_wants_and_no_probe(pod: dict[str, Any]) -> None:
    (container,) = pod["containers"]

    assert pod.keys() <= POD_KEYS
    assert container.keys() <= CONTAINER_KEYS
    assert pod["securityContext"]["runAsNonRoot"]
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert not container["securityContext"]["allowPrivilegeEscalation"]
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    # 512 alone would be bytes.
    assert all(it["memory"].endswith("Mi") for it in container["resources"].values())
    # Where temporary files go, with a root that is read-only.
    assert [it["mountPath"] for it in container["volumeMounts"]] == ["/tmp"]
    assert {it["name"] for it in container["volumeMounts"]} == {it["name"] for it in pod["volumes"]}


async def test_a_pod_runs_jobs_and_stops(
    spawn: Spawner, server: RedisServer, tm: TaskManager, pod: dict[str, Any]
) -> None:
    (container,) = pod["containers"]
    # What the Secret has is ours to say.
    env = {it["name"]: it.get("value", server.url) for it in container["env"]}
    arguments = [*arguments_of(container["command"]), *container["args"]]
    worker = spawn.python(*arguments, cwd=APP, env=env)

    handle = await tm.emit("make_invoice", data={"order": 7, "pages": 1})
    result = await handle.result(timeout=2 * PATIENCE)
    worker.terminate()
    code = await asyncio.to_thread(worker.wait)

    assert (result, code) == ("invoice-7.pdf", 0), worker.text
    lines = [json.loads(line) for line in worker.text.splitlines() if line.startswith("{")]
    assert "completed" in [line.get("outcome") for line in lines]
