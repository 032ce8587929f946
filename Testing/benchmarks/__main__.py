"""Runs all benchmarks, or those named (`python Testing/benchmarks margins`), each in its own process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

_FOLDER = Path(__file__).resolve().parent


def main(names: list[str]) -> int:
    """Run the benchmarks one after the other; 0 when all ended well, 2 for an unknown name."""
    available = {path.stem.removeprefix("bench_"): path.stem for path in sorted(_FOLDER.glob("bench_*.py"))}
    unknown = [name for name in names if name not in available]
    if unknown:
        print(f"no benchmark named {', '.join(unknown)}; there are: {', '.join(available)}", file=sys.stderr)
        return 2
    places = (_FOLDER.parent, _FOLDER.parents[1] / "NETAblation")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, places))}
    failed = []
    for name in names or available:
        print(f"\n{name}\n{'=' * len(name)}", flush=True)
        code = f"from benchmarks.{available[name]} import main; main()"
        if subprocess.run([sys.executable, "-c", code], env=environment).returncode:
            failed.append(name)
    if failed:
        print(f"\nfailed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
