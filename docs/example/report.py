"""Code under test: it hands a table to a sandbox and has a program there sum it up."""

from __future__ import annotations

from sandlot import Sandbox

PROGRAM = """
import csv, collections
sums = collections.Counter()
for city, amount in csv.reader(open("table.csv")):
    sums[city] += int(amount)
for city, amount in sums.most_common():
    print(city, amount)
"""


def summarise(sandbox: Sandbox, table: str) -> list[str]:
    """Return one line for each city, the largest sum first; raises CommandExitException for a table that is none."""
    sandbox.files.write("table.csv", table)
    sandbox.files.write("sum.py", PROGRAM)
    return sandbox.commands.run("python3 sum.py").stdout.splitlines()
