"""Ingestion that is killed, or runs out of disk or memory: what every fault must leave behind.

``python tests/faults/kills.py calls`` kills an ingestion at every call that touches the store's files in turn,
``moments 3000`` at so many random moments, ``disk`` lets no file grow beyond n bytes for many n, ``memory`` limits
memory. After each fault: the newest snapshot is whole and is the old one or the new one, row for row; a second run
completes; the new snapshot has the same bytes as one that was never disturbed.
"""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "unit"))
from ingest_helpers import write_extract, write_layout

EVENTS = ("open", "os.rename", "os.link", "os.remove", "os.mkdir", "os.rmdir", "os.chmod", "os.truncate")
PEOPLE = b"ID,BORN,SEX\n" + b"".join(b"p%d,1960-01-01,male\n" % number for number in range(40))
VISITS = b"ID,DAY,CODE\n" + b"".join(b"p%d,2020-01-%02d,M545\n" % (n % 40, n % 28 + 1) for n in range(200))
LATER = VISITS + b"p1,2020-03-01,E119\n"


def in_a_child(work: Callable[[], None]) -> int:
    """Run in a forked child; return its exit code, negative for a signal.

    This process must not have started threads: it imports, forks and waits, and everything else is done by children.
    """
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException:  # noqa: BLE001 -- a child says everything to its parent, and ends
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


class World:
    """A store with one snapshot, the extract of the next one, and what it must become."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.layout = write_layout(folder / "tiny")
        first = write_extract(folder / "first", PEOPLE, VISITS)
        write_extract(folder / "second", PEOPLE, LATER)
        assert in_a_child(lambda: self.ingest(first, folder / "before")) == 0
        shutil.copytree(folder / "before", folder / "expected")
        assert in_a_child(lambda: self.ingest(folder / "second", folder / "expected")) == 0

    def ingest(self, extract: Path, store: Path, **options: str) -> None:
        """Ingest as a user does."""
        from cohort.ingest.load import ingest

        ingest(extract, self.layout, store, buckets=2, keep_ids=True, threads=1, **options)

    def fresh(self) -> Path:
        """Return the store before the fault."""
        store = self.folder / "store"
        shutil.rmtree(store, ignore_errors=True)
        return Path(shutil.copytree(self.folder / "before", store))

    def check(self, store: Path) -> None:
        """Assert what must hold after any fault, then run again and assert what must hold after that."""
        from cohort.store.store import Store
        from cohort.store.verify import verify

        before, expected = Store.open(self.folder / "before"), Store.open(self.folder / "expected")
        left = Store.open(store)
        wanted = expected if left.manifest.number == 2 else before
        assert not verify(store).problems
        assert left.manifest.holds_same_rows(wanted.manifest)
        assert left.scan("diagnosis").collect().equals(wanted.scan("diagnosis").collect())
        self.ingest(self.folder / "second", store)
        again = Store.open(store)
        assert again.manifest.number == 2
        assert again.manifest.holds_same_rows(expected.manifest)
        assert again.account == expected.account
        assert not list((store / "private").glob("work-*"))
        assert not verify(store).problems


def killed_at_every_call(world: World) -> Iterator[int]:
    """Kill before the n-th call that touches the store, n = 1, 2, … until a run is not killed any more."""
    number = 0
    while True:
        number += 1
        store = world.fresh()
        ended = in_a_child(lambda store=store, number=number: _until_call(world, store, number))
        assert ended in (0, -signal.SIGKILL), ended
        assert in_a_child(lambda store=store: world.check(store)) == 0, f"killed at call {number}"
        if ended == 0:
            return
        yield number


def _until_call(world: World, store: Path, number: int) -> None:
    left = number

    def count(*_: object) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if event in EVENTS and isinstance(arguments[0], str | Path) and str(arguments[0]).startswith(str(store)):
            count()

    synced = os.fsync  # the audit does not report it

    def fsync(handle: int) -> None:
        count()
        synced(handle)

    os.fsync = fsync
    sys.addaudithook(hook)
    world.ingest(world.folder / "second", store)


def killed_at_moments(world: World, moments: int) -> Iterator[int]:
    """Kill at random moments, evenly over the time that a run takes."""
    store, start = world.fresh(), time.perf_counter()
    assert in_a_child(lambda: world.ingest(world.folder / "second", store)) == 0
    lasts, chance = time.perf_counter() - start, random.Random(7)  # noqa: S311 -- no secret
    for number in range(moments):
        store = world.fresh()
        child = os.fork()
        if child == 0:
            world.ingest(world.folder / "second", store)
            os._exit(0)
        time.sleep(chance.uniform(0, lasts))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        assert in_a_child(lambda store=store: world.check(store)) == 0, f"moment {number}"
        yield number


def out_of_disk(world: World, sizes: range) -> Iterator[int]:
    """Let no file grow beyond so many bytes; the loader must say that the disk is full."""
    from cohort.errors import ResourceError

    def limited(store: Path, size: int) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
        try:
            world.ingest(world.folder / "second", store)
        except ResourceError as error:
            assert "disk is full" in str(error) or "check the disk" in str(error), error
            os._exit(6)

    ended = 6
    for size in sizes:
        store = world.fresh()
        ended = in_a_child(lambda store=store, size=size: limited(store, size))
        assert ended in (0, 6), f"no file beyond {size} bytes: {ended}"
        assert in_a_child(lambda store=store: world.check(store)) == 0, f"no file beyond {size} bytes"
        yield size
    assert ended == 0, "the last size must be enough"


def out_of_memory(world: World) -> Iterator[int]:
    """Give the engine too little memory; the loader must say so."""
    from cohort.errors import ResourceError

    def limited(store: Path, limit: str) -> None:
        try:
            world.ingest(world.folder / "second", store, memory_limit=limit)
        except ResourceError as error:
            assert "out of memory" in str(error), error
            os._exit(6)

    for kilobytes in (1, 64, 512, 1_000, 2_000, 4_000, 8_000, 16_000, 64_000):
        store = world.fresh()
        ended = in_a_child(lambda store=store, kilobytes=kilobytes: limited(store, f"{kilobytes}KB"))
        assert ended in (0, 6), f"{kilobytes} kB: {ended}"
        assert in_a_child(lambda store=store: world.check(store)) == 0, f"{kilobytes} kB"
        yield kilobytes


def main(kind: str, number: int = 20) -> None:
    """Run one kind of fault and say how many were survived."""
    import cohort.ingest.load  # noqa: F401 -- imported once, before the children are forked

    with tempfile.TemporaryDirectory(prefix="cohort-faults-") as folder:
        world = World(Path(folder))
        faults = {
            "calls": lambda: killed_at_every_call(world),
            "moments": lambda: killed_at_moments(world, number),
            "disk": lambda: out_of_disk(world, range(0, 10_000, number)),
            "memory": lambda: out_of_memory(world),
        }
        print(f"{kind}: {sum(1 for _ in faults[kind]())} faults survived")


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
