"""`python -m tests.vm.everywhere`: the same random programs under three hash seeds and by every Python from 3.11 on
that is installed here; the digest of all that they did must be one.

A Python that is not this one gets the few packages that contracts need into `.venv/others/VERSION`, as the lock file
pins them.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
LOCK = ROOT / "requirements.lock"
NEEDED = ("cffi", "msgspec", "pycparser", "pynacl", "typing-extensions")
"""What `ledger` and `contracts` import, with what that needs."""
HASH_SEEDS = ("0", "1", "4711")
OLDEST = (3, 11)
PROBE = "import sys; print(sys.implementation.name, *sys.version_info[:2])"


def installed() -> dict[tuple[int, int], Path]:
    """Other Pythons by version: commands on PATH, and pyenv's."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    names = [f"python3.{minor}" for minor in range(OLDEST[1], 30)]
    commands = [Path(path) for name in names if (path := shutil.which(name))]
    found: dict[tuple[int, int], Path] = {}
    for command in (*commands, *sorted(pyenv.glob("3.*/bin/python3"))):
        asked = subprocess.run([command, "-c", PROBE], capture_output=True, text=True, check=False)  # a shim may refuse
        match asked.stdout.split():
            case ["cpython", major, minor] if (version := (int(major), int(minor))) >= OLDEST:
                found.setdefault(version, command)
    found.pop(sys.version_info[:2], None)
    return found


def packages_for(python: Path, version: tuple[int, int]) -> Path:
    """A folder with what that Python needs."""
    folder = ROOT / ".venv" / "others" / ".".join(map(str, version))
    blocks = re.split(r"^(?=[a-z0-9-]+==)", LOCK.read_text(encoding="utf-8"), flags=re.MULTILINE)
    chosen = [block for block in blocks if block.split("==")[0] in NEEDED]
    if len(chosen) != len(NEEDED):
        raise SystemExit(f"{LOCK.name} does not pin all of {', '.join(NEEDED)}")
    lock = "".join(chosen)
    note = folder / "requirements.lock"
    if not note.is_file() or note.read_text(encoding="utf-8") != lock:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        wanted = folder / "wanted.lock"
        wanted.write_text(lock, encoding="utf-8")
        pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--only-binary", ":all:"]
        pip.append("--root-user-action=ignore")
        subprocess.run([*pip, "--require-hashes", "--target", str(folder), "-r", str(wanted)], check=True)
        wanted.rename(note)
    return folder


def digest_of(python: Path, packages: Path | None, seed: str, programs: int, jobs: int) -> str:
    """What one run says last."""
    path = os.pathsep.join(map(str, (*([packages] if packages else []), ROOT)))
    environ = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
    command = [str(python), "-m", "tests.vm", "--programs", str(programs), "--jobs", str(jobs)]
    done = subprocess.run(command, cwd=ROOT, env=environ, stdout=subprocess.PIPE, text=True, check=True)
    print(done.stdout, end="", flush=True)
    return done.stdout.split()[-1]


def main() -> int:
    """Exit code 0 if all runs did the same."""
    parser = argparse.ArgumentParser(prog="python -m tests.vm.everywhere", description=__doc__)
    parser.add_argument("--programs", type=int, default=10_000)
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    others = sorted(installed().items())
    runs: list[tuple[str, Path, Path | None]] = [(sys.version.split()[0], Path(sys.executable), None)]
    runs += [(".".join(map(str, version)), python, packages_for(python, version)) for version, python in others]
    while len(runs) < len(HASH_SEEDS):
        runs.append(runs[len(runs) % (len(others) + 1)])
    digests = set()
    for place, (version, python, packages) in enumerate(runs):
        seed = HASH_SEEDS[place % len(HASH_SEEDS)]
        print(f"Python {version}, hash seed {seed}:", flush=True)
        digests.add(digest_of(python, packages, seed, options.programs, options.jobs))
    if len(digests) > 1:
        print("a hash seed or a version of Python makes a difference", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
