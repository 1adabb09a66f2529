"""Podman in the place of Docker: images from Debian's packages alone, compose projects, and waiting with a limit."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
BASE = "localhost/pilechain-test/debian:bookworm"
"""Made by debootstrap: what the image named in the Dockerfile's FROM is made of too. No registry is asked."""
MIRROR = os.environ.get("PILECHAIN_DEBIAN_MIRROR", "http://deb.debian.org/debian")
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
"""What this machine trusts: pip inside a build asks by way of it, wherever it must."""
VERSION_LABEL = "org.opencontainers.image.version"
BUILD_LABEL = "pilechain.test"
"""On all layers that these tests build, so that old ones are found and removed."""
LOOK_S = 0.5

SETTINGS = """\
[containers]
default_ulimits = ["nofile=1024:4096", "nproc=2048:4096"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
[network]
network_backend = "netavark"
"""
"""For machines without systemd and with cgroups of both versions."""


class Podman:
    """Commands of podman and podman-compose, each with a limit of time."""

    def __init__(self, folder: Path, project: str, settings: dict[str, str]) -> None:
        """`settings` are those of docker-compose.yml; `folder` keeps files that podman is told by."""
        self.folder, self.project = folder, project
        conf = folder / "containers.conf"
        conf.write_text(SETTINGS, encoding="utf-8")
        self.environment = os.environ | settings | {"CONTAINERS_CONF": str(conf)}

    def run(self, *arguments: str, seconds: float = 60, check: bool = True) -> str:
        """What a podman command prints."""
        return self._run(["podman", *arguments], seconds, check)

    def compose(self, *arguments: str, seconds: float = 120) -> str:
        """What a podman-compose command prints."""
        compose = str(Path(sys.executable).with_name("podman-compose"))
        files = ("-f", "docker-compose.yml", "-f", "deploy/podman-compose.yml", "--profile", "newcomer")
        return self._run([compose, "-p", self.project, *files, *arguments], seconds, check=True)

    def up(self, *services: str, version: str = "test") -> None:
        """Start services, in the place of those that run."""
        self.environment["PILECHAIN_VERSION"] = version
        self.compose("up", "--detach", "--no-build", "--force-recreate", *services, seconds=180)

    def down(self) -> None:
        """Remove everything of the project, and the layers of builds that a newer one has taken the place of."""
        paused = self.run("ps", "--filter", "status=paused", "--format", "{{.Names}}").split()
        for name in (each for each in paused if each.startswith(f"{self.project}_")):
            self.run("unpause", name)  # what is paused cannot be removed
        self.compose("down", "--volumes", seconds=180)
        self.run("image", "prune", "--force", "--filter", f"label={BUILD_LABEL}", seconds=180)

    def name(self, service: str) -> str:
        """The container of a service."""
        return f"{self.project}_{service}_1"

    def inside(self, service: str, *command: str, seconds: float = 30) -> str:
        """What a command prints inside a service's container."""
        return self.run("exec", self.name(service), *command, seconds=seconds)

    def inspect(self, service: str) -> dict[str, Any]:
        """All about a service's container."""
        found: list[dict[str, Any]] = json.loads(self.run("inspect", self.name(service)))
        return found[0]

    def is_healthy(self, service: str) -> bool:
        """What the image's health check says now. Without systemd nobody asks by itself."""
        command = ["podman", "healthcheck", "run", self.name(service)]
        done = subprocess.run(command, env=self.environment, capture_output=True, timeout=30, check=False)
        return done.returncode == 0

    def build(self, target: str, image: str, version: str) -> None:
        """Build a target of the Dockerfile. Only pip and apt need a network, this machine's."""
        pip = self.folder / "pip.conf"
        pip.write_text("[global]\ncert = /run/ca.crt\n", encoding="utf-8")
        options = ["--format", "docker", "--network", "host", "--file", "deploy/Dockerfile", "--target", target]
        options += ["--volume", f"{pip}:/etc/pip.conf:ro", "--volume", f"{CERTIFICATES}:/run/ca.crt:ro"]
        options += ["--build-arg", f"DEBIAN={BASE}", "--build-arg", f"VERSION={version}"]
        # Beside the Dockerfile's own: this podman takes a label from its cache whatever the build argument says.
        options += ["--label", f"{VERSION_LABEL}={version}", "--label", BUILD_LABEL]
        self.run("build", "--quiet", *options, "--tag", f"localhost/{image}:{version}", ".", seconds=400)

    def make_base(self) -> None:
        """The base image, once per machine."""
        if self.run("images", "--quiet", BASE):
            return
        root = self.folder / "bookworm"
        self._run(["debootstrap", "--variant=minbase", "bookworm", str(root), MIRROR], 300, check=True)
        archive = self.folder / "bookworm.tar"
        self._run(["tar", "-C", str(root), "-cf", str(archive), "."], 60, check=True)
        self.run("import", "--quiet", str(archive), BASE)
        shutil.rmtree(root)
        archive.unlink()

    def save_logs(self, folder: Path) -> None:
        """What every container of the project has said."""
        folder.mkdir(parents=True, exist_ok=True)
        names = self.run("ps", "--all", "--format", "{{.Names}}").split()
        for name in (each for each in names if each.startswith(f"{self.project}_")):
            with (folder / f"{name}.log").open("wb") as file:
                command = ["podman", "logs", name]
                subprocess.run(command, env=self.environment, stdout=file, stderr=file, timeout=60, check=False)

    def left(self) -> list[str]:
        """Containers, volumes and networks of the project, and images that nothing needs."""
        kinds = (("ps", "--all", "--format", "{{.Names}}"), ("volume", "ls", "-q"), ("network", "ls", "-q"))
        names = (name for kind in kinds for name in self.run(*kind).split())
        images = self.run("images", "--quiet", "--filter", "dangling=true", "--filter", f"label={BUILD_LABEL}").split()
        return [name for name in names if name.startswith(f"{self.project}_")] + images

    def _run(self, command: list[str], seconds: float, check: bool) -> str:
        done = subprocess.run(
            command, cwd=ROOT, env=self.environment, capture_output=True, text=True, timeout=seconds, check=False
        )
        if check and done.returncode:
            message = f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
            raise RuntimeError(message)
        return done.stdout


def until(condition: Callable[[], bool], what: str, seconds: float) -> float:
    """Wait until it is so; returns how long that took. Fails with `what` when the time is over."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > seconds:
            raise AssertionError(f"not within {seconds:.0f} s: {what}")
        time.sleep(LOOK_S)
    return time.monotonic() - began
