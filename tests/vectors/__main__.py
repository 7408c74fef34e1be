"""`python -m tests.vectors DIR`: runs every vector file of a folder.

Exits with 1 when a case differs.
"""

import argparse
import sys
from pathlib import Path

from tests.vectors.runner import run_file, table


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.vectors", description=__doc__)
    parser.add_argument("folder", type=Path, metavar="DIR", help="a folder of *.json vector files")
    paths = sorted(parser.parse_args().folder.glob("*.json"))
    if not paths:
        parser.error("no *.json files there")
    reports = [run_file(path) for path in paths]
    print(table(reports))
    return int(any(report.with_verdict("differ") for report in reports))


if __name__ == "__main__":
    sys.exit(main())
