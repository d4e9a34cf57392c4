"""The files for systemd, Docker and Kubernetes: they parse, and what they start works until it is stopped as they say."""

import asyncio
import configparser
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from asyncjobs import settings
from asyncjobs.cli.supervising import MARGIN
from asyncjobs.settings import Settings
from tests.support.commands import run_here
from tests.support.probing import address_of, until_answered
from tests.support.sweeps import slowly
from tests.support.workers import ROOT, Workers

FILES = ROOT / "docs" / "production" / "deploy"
PAGE = FILES.with_suffix(".md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
[CONFIG] = [code for language, code in BLOCKS if language == "toml"]


def _unit() -> configparser.RawConfigParser:
    unit = configparser.RawConfigParser(comment_prefixes=("#", ";"), strict=True)
    unit.optionxform = str
    unit.read_string((FILES / "asyncjobs.service").read_text())
    return unit


def _dockerfile() -> list[tuple[str, str]]:
    lines = (FILES / "Dockerfile").read_text().replace("\\\n", " ").splitlines()
    return [tuple(line.split(" ", 1)) for line in lines if line and not line.startswith("#")]


def _manifests() -> list[dict]:
    return list(yaml.safe_load_all((FILES / "kubernetes.yaml").read_text()))


def _container(manifest: dict) -> dict:
    [container] = manifest["spec"]["template"]["spec"]["containers"]
    return container


def _started() -> dict[str, tuple[list[str], dict[str, str], signal.Signals, float]]:
    """What starts a worker: its words, what is told of the environment, the signal that stops it and the seconds it gets."""
    service = _unit()["Service"]
    docker = dict(_dockerfile())
    [deployment] = [each for each in _manifests() if each["kind"] == "Deployment"]
    told = {each["name"]: each["value"] for each in _container(deployment)["env"] if "value" in each}
    [grace] = re.findall(r"docker run --detach --stop-timeout (\d+)", PAGE)
    return {
        "systemd": (
            shlex.split(service["ExecStart"]),
            dict([service["Environment"].split("=")]),
            signal.Signals[service["KillSignal"]],
            float(service["TimeoutStopSec"]),
        ),
        "Docker": (
            json.loads(docker["CMD"]),
            dict([docker["ENV"].split("=")]),
            signal.Signals[docker["STOPSIGNAL"]],
            float(grace),
        ),
        "Kubernetes": (
            _container(deployment)["command"],
            told,
            signal.SIGTERM,
            float(deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]),
        ),
    }


@pytest.mark.parametrize("path", sorted(FILES.iterdir()), ids=lambda path: path.name)
def test_the_page_shows_a_file_as_it_is(path: Path) -> None:
    assert path.read_text() in [code for _, code in BLOCKS]


def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path) -> None:
    unit = _unit()
    assert unit.sections() == ["Unit", "Service", "Install"]
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd here")
    program = shlex.split(unit["Service"]["ExecStart"])[0]
    copy = tmp_path / "asyncjobs.service"
    copy.write_text((FILES / "asyncjobs.service").read_text().replace(program, sys.executable))
    done = subprocess.run(["systemd-analyze", "verify", copy], capture_output=True, text=True, timeout=60)
    assert (done.returncode, [line for line in done.stderr.splitlines() if copy.name in line]) == (0, [])


def test_the_dockerfile_has_known_instructions_and_ends_with_a_command_that_no_shell_runs() -> None:
    known = {"FROM", "RUN", "WORKDIR", "COPY", "USER", "ENV", "STOPSIGNAL", "HEALTHCHECK", "CMD"}
    instructions = _dockerfile()
    assert {name for name, _ in instructions} == known
    assert (instructions[0][0], instructions[-1][0]) == ("FROM", "CMD")
    assert isinstance(json.loads(instructions[-1][1]), list)


def test_the_manifests_fit_together() -> None:
    job, deployment = _manifests()
    assert (job["apiVersion"], job["kind"]) == ("batch/v1", "Job")
    assert (deployment["apiVersion"], deployment["kind"]) == ("apps/v1", "Deployment")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert deployment["spec"]["selector"]["matchLabels"] == labels
    assert _container(job)["image"] == _container(deployment)["image"]
    assert job["spec"]["template"]["spec"]["restartPolicy"] == "Never"


@pytest.mark.processes
@pytest.mark.parametrize("by", [*slowly("systemd"), "Docker", "Kubernetes"])
async def test_what_is_started_works_until_it_is_stopped_as_the_file_says(
    by: str, tmp_path: Path, database_url: str
) -> None:
    words, told, number, seconds = _started()[by]
    assert Path(words[0]).name == "asyncjobs"
    (tmp_path / "config.toml").write_text(CONFIG)
    (tmp_path / "app_jobs.py").write_text("from asyncjobs import job\n\n\n@job\nasync def nothing() -> None: ...\n")
    environment = {**told, "ASYNCJOBS_DATABASE_URL": database_url, "ASYNCJOBS_LOG_FORMAT": "text"}
    if "ASYNCJOBS_HTTP" in told:
        environment["ASYNCJOBS_HTTP"] = "127.0.0.1:0"
    async with Workers(tmp_path, environment=environment) as workers:
        worker = workers.start(command=[sys.executable, "-m", *_ours(words)], directory=tmp_path)
        assert "1 kinds" in await worker.wait_for_log("ready: worker")
        for path in _probed() if by == "Kubernetes" else ():
            await until_answered(await address_of(worker), path, 200)
        if by == "Docker":
            await asyncio.to_thread(_is_healthy, environment, tmp_path)
        worker.stop(number)
        await worker.wait_for_log("jobs may finish within 25 s")
        assert await worker.exit_code(seconds) == 0


def _probed() -> list[str]:
    """The paths of the probes of the manifest, at the port that the worker is given."""
    [deployment] = [each for each in _manifests() if each["kind"] == "Deployment"]
    container = _container(deployment)
    [port] = container["ports"]
    [http] = [each["value"] for each in container["env"] if each["name"] == "ASYNCJOBS_HTTP"]
    assert http == f":{port['containerPort']}"
    probes = [container[f"{name}Probe"]["httpGet"] for name in ("liveness", "readiness")]
    assert {probe["port"] for probe in probes} == {port["name"]}
    return [probe["path"] for probe in probes]


def _is_healthy(environment: dict[str, str], directory: Path) -> None:
    words = json.loads(dict(_dockerfile())["HEALTHCHECK"].partition(" CMD ")[2])
    done = run_here(words[1:], {**os.environ, **environment, "ASYNCJOBS_CONFIG": str(directory / "config.toml")})
    assert done.exit_code == 0, done.output


def _ours(words: list[str]) -> list[str]:
    return [Path(words[0]).name, *words[1:]]


def test_each_of_them_waits_longer_than_the_slowest_stop_takes(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text(CONFIG)
    timeout = settings.load(
        config, environment="production", database_url="postgresql://db.internal/app"
    ).shutdown_timeout
    assert timeout == Settings().shutdown_timeout
    for _, _, _, seconds in _started().values():
        assert seconds == timeout + 10 > timeout + MARGIN


def test_the_command_that_migrates_does(database_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    [job] = [each for each in _manifests() if each["kind"] == "Job"]
    done = run_here(_container(job)["command"][1:], {**os.environ, "ASYNCJOBS_DATABASE_URL": database_url})
    assert (done.exit_code, done.stdout.partition(":")[0]) == (0, "nothing to apply"), done.output
