"""Every engine runs as a script in a process of its own, so that one that fails costs nothing but its own result."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path


def run_script(script: Path, job: dict, name: str, out: Path, timeout: float, **environment: str) -> dict:
    """The result of `script` on `job`, or {'error': its last line}. Files in `out`: <name>.job.json, .json, .log."""
    given, found, log = (out / f"{name}.{end}" for end in ("job.json", "json", "log"))
    given.write_text(json.dumps(job))
    found.unlink(missing_ok=True)
    variables = os.environ | {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"} | environment
    with log.open("w") as file:
        try:
            subprocess.run(
                [sys.executable, str(script), str(given), str(found)],
                env=variables, stdout=file, stderr=subprocess.STDOUT, timeout=timeout, check=True,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return {"error": f"stopped after {timeout:.0f} s"}
        except subprocess.CalledProcessError as error:
            lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
            return {"error": f"exit {error.returncode}: {lines[-1].strip()[:300] if lines else 'no output'}"}
    return json.loads(found.read_text())
