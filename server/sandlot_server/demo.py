"""The demonstration: a stranger's script with the official E2B SDK, run against this server.

Started by `sandlot demo` as a program of its own; endpoint and key come from the environment.
"""
# ruff: noqa: T201 - what it prints is the point

from __future__ import annotations

import time

from e2b import Sandbox

SALES = "city,amount\nOslo,120\nLima,80\nOslo,45\nPune,200\nLima,15\n"

PROGRAM = """
import collections, csv, platform, time

totals = collections.Counter()
for row in csv.DictReader(open("sales.csv")):
    totals[row["city"]] += int(row["amount"])
    print(f"read {row['city']:>5} {row['amount']:>4}", flush=True)
    time.sleep(0.1)
with open("report.txt", "w") as report:
    for city, amount in totals.most_common():
        report.write(f"{city:>6} {'#' * (amount // 10)} {amount}\\n")
print("Python", platform.python_version(), "on", platform.freedesktop_os_release()["PRETTY_NAME"])
"""


def run() -> None:
    """Create a sandbox, run a program on uploaded data, read its result back, kill the sandbox."""
    started = time.perf_counter()
    with Sandbox.create() as sandbox:
        created = time.perf_counter()
        print(f"created sandbox {sandbox.sandbox_id} in {(created - started) * 1000:.0f} ms")

        sandbox.files.write("sales.csv", SALES)
        sandbox.files.write("summarise.py", PROGRAM)
        before = time.perf_counter()
        sandbox.commands.run("python summarise.py", on_stdout=lambda text: print("  |", text, end=""))
        print(f"ran the program in {(time.perf_counter() - before) * 1000:.0f} ms; it wrote report.txt:")
        print(sandbox.files.read("report.txt"), end="")
    print(f"killed the sandbox, {time.perf_counter() - started:.2f} s after the start")


if __name__ == "__main__":
    run()
