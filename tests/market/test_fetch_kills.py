"""A fetch that is killed again and again ends in the same store as one that is left alone.

The command runs as a process of its own. It is killed after a random number of answers, or a
random time, from one seed; what is checked is the store, the pages, and how little was asked
twice.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.market.fake_baostock import FakeBaostock
from tests.market.fake_tushare import FakeTushare
from tests.market.served_market import cut_market

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL"),
]

TOKEN = "c0ffee5ec2e7c0ffee5ec2e7"


class Killer:
    """Runs the command and kills it; counts answers through the server's hook."""

    def __init__(self, server: FakeTushare | FakeBaostock, environment: dict[str, str]) -> None:
        self.server = server
        self.environment = os.environ | environment | {"NO_PROXY": "127.0.0.1"}
        self._left: int | None = None
        self._running: subprocess.Popen | None = None
        self._lock = threading.Lock()
        server.before = self._answered

    def _answered(self) -> None:
        with self._lock:
            if self._left is not None and self._running is not None:
                self._left -= 1
                if self._left <= 0:
                    self._running.kill()
                    self._left = None

    def run(self, spec: str, out: Path, answers: int | None = None, seconds: float = 60.0) -> int:
        """Run an ingest; kill it before an answer, or after some seconds; return its code."""
        command = [sys.executable, "-m", "factorlab", "ingest", spec, "--out", str(out), "--quiet"]
        with self._lock:
            self._left = answers
            self._running = subprocess.Popen(
                command,
                env=self.environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        try:
            self.said = self._running.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            self._running.kill()
            self.said = self._running.communicate()
        return self._running.returncode


def manifest_of(out: Path) -> dict:
    return json.loads((out / "manifest.json").read_text(encoding="utf-8"))


def killed_and_undisturbed(
    killer: Killer, spec: str, folder: Path, kills: int, most: int
) -> tuple[int, int]:
    """Compare a killed ingest with an undisturbed one; return the calls that each needed."""
    rng = random.Random(7)
    server, out = killer.server, folder / "killed.store"
    assert killer.run(spec, folder / "whole.store") == 0, killer.said
    undisturbed = len(server.asked)
    (folder / "whole.store").rename(folder / "first.store")
    shutil.rmtree(folder / "whole.tables")
    began = time.perf_counter()
    assert killer.run(spec, folder / "whole.store") == 0, killer.said
    without_fetch = time.perf_counter() - began
    assert len(server.asked) == undisturbed
    server.asked.clear()
    late = max(2, kills // 5)
    for _ in range(kills - late):
        assert killer.run(spec, out, answers=rng.randint(1, most)) == -signal.SIGKILL
    # The rest falls into what follows the fetch, or into its last calls.
    assert killer.run(spec, out) == 0, killer.said
    done = tries = 0
    while done < late:
        tries += 1
        assert tries < 5 * late, "the processes end before they are killed"
        shutil.rmtree(out, ignore_errors=True)
        shutil.rmtree(out.with_suffix(".tables"), ignore_errors=True)
        seconds = without_fetch * rng.uniform(0.3, 0.9)
        done += killer.run(spec, out, seconds=seconds) == -signal.SIGKILL
    assert killer.run(spec, out) == 0, killer.said
    whole, killed = (manifest_of(folder / f"{n}.store") for n in ("whole", "killed"))
    assert killed["hash"] == whole["hash"]
    assert killed["field_hashes"] == whole["field_hashes"]
    assert manifest_of(folder / "first.store")["hash"] == whole["hash"]
    # The pages are the same, byte by byte, and so is what is said of them.
    assert killed["origin"] == whole["origin"]
    assert list(folder.rglob("*.partial")) == []
    return undisturbed, len(server.asked)


def test_tushare_killed_twenty_times(sim_tables, tmp_path):
    market = cut_market(sim_tables, "2021-07-19", "2021-09-03", every=6)
    with FakeTushare(market, TOKEN) as server:
        killer = Killer(server, {"TUSHARE_TOKEN": TOKEN, "FACTORLAB_TUSHARE_URL": server.url})
        spec = "tushare:2021-07-19..2021-09-03"
        undisturbed, killed = killed_and_undisturbed(killer, spec, tmp_path, kills=20, most=8)
    # At most the one call that each kill cut off is asked again.
    assert undisturbed <= killed <= undisturbed + 20


def test_baostock_killed_six_times(sim_tables, tmp_path):
    market = cut_market(sim_tables, "2021-07-19", "2021-09-03", every=3, beijing=False)
    with FakeBaostock(market) as server:
        killer = Killer(server, {"FACTORLAB_BAOSTOCK_SERVER": server.address})
        spec = "baostock:2021-07-19..2021-09-03"
        undisturbed, killed = killed_and_undisturbed(killer, spec, tmp_path, kills=6, most=12)
    # The cut call, and a login a process.
    assert undisturbed <= killed <= undisturbed + 2 * 6
