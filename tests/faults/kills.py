"""Ingestion that is killed, or runs out of disk or memory: what every fault must leave behind.

``python tests/faults/kills.py calls`` kills an ingestion at every call that touches the store's files in turn
(``calls 3`` at every third), ``first`` the one that makes the store; ``moments 3000 [SEED]`` kills at so many random
moments; ``disk 4`` gives it a file system of its own with 0, 4, 8 … kB left, ``inodes 1`` one with 0, 1, 2 … names
left; ``filesize 20`` lets no file grow beyond every 20th size; ``memory`` limits the engine's memory and ``process``
that of the whole process. After each fault: the newest snapshot is whole and is the old one or the new one, row for
row; a second run completes; the new snapshot has the same bytes as one that was never disturbed, and nothing
half-written is left.
"""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import subprocess
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
MORE_PEOPLE = PEOPLE + b"p40,1970-01-01,female\n"
LATER = b"ID,DAY,CODE\np1,2020-03-01,E119\np40,2020-03-01,E119\n"


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


def links_of(store: Path) -> Path:
    """Return the private folder beside a store."""
    links = store.with_name(f"{store.name}-links")
    if not links.exists():
        links.mkdir(mode=0o700)
    return links


class World:
    """A store with one snapshot, the extract that adds the next one, and what it must become.

    The store keeps its lines and the caller wants a link table, so that a run writes every kind of file.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.layout = write_layout(folder / "tiny")
        first = write_extract(folder / "first", PEOPLE, VISITS)
        write_extract(folder / "second", visits=LATER)
        (folder / "second" / "people.csv").write_bytes(MORE_PEOPLE)
        assert in_a_child(lambda: self.ingest(first, folder / "before")) == 0
        shutil.copytree(folder / "before", folder / "expected")
        assert in_a_child(lambda: self.ingest(folder / "second", folder / "expected")) == 0

    def ingest(self, extract: Path, store: Path, **options: str) -> None:
        """Ingest as a user does."""
        from cohort.ingest.load import ingest

        link_table = links_of(store) / f"{extract.name}.parquet"
        ingest(extract, self.layout, store, buckets=2, add=True, threads=1, link_table=link_table, **options)

    def fresh(self, parent: Path | None = None) -> Path:
        """Return the store before the fault."""
        store = (parent or self.folder) / "store"
        for folder in (store, links_of(store)):
            shutil.rmtree(folder, ignore_errors=True)
        links_of(store)
        return Path(shutil.copytree(self.folder / "before", store))

    def check(self, store: Path) -> None:
        """Assert what must hold after any fault, then run again and assert what must hold after that."""
        self.check_readable(store)
        self.check_rerun(store)

    def check_readable(self, store: Path) -> None:
        """Assert that the store is what it was before the run, or what it must become."""
        from cohort.store.store import Store
        from cohort.store.verify import verify

        left = Store.open(store)
        wanted = Store.open(self.folder / ("expected" if left.manifest.number == 2 else "before"))
        assert not verify(store).problems
        assert left.manifest.holds_same_rows(wanted.manifest)
        assert left.scan("diagnosis").collect().equals(wanted.scan("diagnosis").collect())

    def check_rerun(self, store: Path) -> None:
        """Assert that a second run completes and leaves what an undisturbed one leaves."""
        from cohort.store.store import Store
        from cohort.store.verify import verify

        self.ingest(self.folder / "second", store)
        expected, again = Store.open(self.folder / "expected"), Store.open(store)
        assert again.manifest.number == 2
        assert again.manifest.holds_same_rows(expected.manifest)
        assert again.account == expected.account
        assert not verify(store).problems
        assert (links_of(store) / "second.parquet").is_file()
        self.check_clean(store)

    def check_clean(self, store: Path) -> None:
        """Assert that nothing half-written is left but what is swept by age."""
        assert not list((store / "private").glob("work-*"))
        hidden = [*store.rglob(".*"), *links_of(store).rglob(".*")]
        assert not [path for path in hidden if not path.name.endswith(".writing")], hidden


def killed_at_every_call(world: World, step: int) -> Iterator[int]:
    """Kill before the n-th call that touches the store, n = 1, 1 + step, … until a run is not killed any more."""
    number, ended = 1 - step, -signal.SIGKILL
    while ended != 0:
        number += step
        store = world.fresh()
        ended = in_a_child(lambda store=store, number=number: _until_call(world, "second", store, number))
        assert ended in (0, -signal.SIGKILL), ended
        assert in_a_child(lambda store=store: world.check(store)) == 0, f"killed at call {number}"
        yield number


def killed_at_every_call_of_the_first(world: World, step: int) -> Iterator[int]:
    """Kill likewise the run that makes the store and its key; what it leaves is no store, or a whole one."""
    number, ended = 1 - step, -signal.SIGKILL
    while ended != 0:
        number += step
        store = world.fresh()
        shutil.rmtree(store)
        ended = in_a_child(lambda store=store, number=number: _until_call(world, "first", store, number))
        assert ended in (0, -signal.SIGKILL), ended
        assert in_a_child(lambda store=store: _check_first(world, store)) == 0, f"killed at call {number}"
        yield number


def _check_first(world: World, store: Path) -> None:
    from cohort.errors import InputRefusedError
    from cohort.store.store import Store
    from cohort.store.verify import verify

    try:
        Store.open(store)
        assert not verify(store).problems
    except InputRefusedError as error:
        assert "holds no store" in str(error), error
    world.ingest(world.folder / "first", store)
    made, expected = Store.open(store), Store.open(world.folder / "before")  # under keys of their own
    assert not verify(store).problems
    assert made.account == expected.account
    assert made.scan("diagnosis").collect().height == expected.scan("diagnosis").collect().height
    world.check_clean(store)


def _until_call(world: World, extract: str, store: Path, number: int) -> None:
    left = number

    def count(*_: object) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        # the folder of the links has a name that starts as the store's
        if event in EVENTS and isinstance(arguments[0], str | Path) and str(arguments[0]).startswith(str(store)):
            count()

    synced = os.fsync  # the audit does not report it

    def fsync(handle: int) -> None:
        count()
        synced(handle)

    os.fsync = fsync
    sys.addaudithook(hook)
    world.ingest(world.folder / extract, store)


def killed_at_moments(world: World, moments: int, seed: int) -> Iterator[int]:
    """Kill at random moments, evenly over the time that a run takes."""
    store, start = world.fresh(), time.perf_counter()
    assert in_a_child(lambda: world.ingest(world.folder / "second", store)) == 0
    lasts, chance = time.perf_counter() - start, random.Random(seed)  # noqa: S311 -- no secret
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


def refused_for(world: World, store: Path, *words: str, **options: str) -> None:
    """Ingest; end with exit code 6 if the loader says that what ``words`` name has run out."""
    from cohort.errors import ResourceError

    try:
        world.ingest(world.folder / "second", store, **options)
    except ResourceError as error:
        assert any(word in str(error) for word in words), error
        os._exit(6)


_AMPLE = {"size": 64 << 20, "nr_inodes": 10_000}


class Volume:
    """A small file system of the store's own, in memory, in the name space that `in_a_namespace` made."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=700", "none", folder], check=True)

    def __enter__(self) -> Volume:
        return self

    def __exit__(self, *_: object) -> None:
        subprocess.run(["umount", self.folder], check=True)

    def limit(self, **limits: int) -> None:
        """Set its size in bytes (``size``) or number of names (``nr_inodes``)."""
        wanted = ",".join(f"{name}={number}" for name, number in limits.items())
        subprocess.run(["mount", "-o", f"remount,{wanted}", self.folder], check=True)

    def used(self, what: str) -> int:
        """Return the bytes (``size``) or names (``nr_inodes``) in use."""
        seen = os.statvfs(self.folder)
        return (seen.f_blocks - seen.f_bfree) * seen.f_frsize if what == "size" else seen.f_files - seen.f_ffree


def full_volume(world: World, what: str, step: int) -> Iterator[int]:
    """Let the volume be full after so many more bytes or names: every multiple of ``step`` until a run completes."""
    left, ended = 0, 6
    with Volume(world.folder / "volume") as volume:
        while ended != 0:
            volume.limit(**_AMPLE)
            store = world.fresh(volume.folder)
            volume.limit(**{what: volume.used(what) + left})
            ended = in_a_child(lambda store=store: refused_for(world, store, "disk is full", "check the disk"))
            assert ended in (0, 6), f"{left} {what} left: {ended}"
            assert in_a_child(lambda store=store: world.check_readable(store)) == 0, f"{left} {what} left"
            volume.limit(**_AMPLE)
            assert in_a_child(lambda store=store: world.check_rerun(store)) == 0, f"{left} {what} left"
            yield left
            left += step


def limited_files(world: World, step: int) -> Iterator[int]:
    """Let no file grow beyond so many bytes, for every multiple of ``step`` until a run completes."""

    def limited(store: Path, size: int) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
        refused_for(world, store, "disk is full", "check the disk")

    size, ended = 0, 6
    while ended != 0:
        store = world.fresh()
        ended = in_a_child(lambda store=store, size=size: limited(store, size))
        assert ended in (0, 6), f"no file beyond {size} bytes: {ended}"
        assert in_a_child(lambda store=store: world.check(store)) == 0, f"no file beyond {size} bytes"
        yield size
        size += step


def out_of_memory(world: World) -> Iterator[int]:
    """Give the engine too little memory; the loader must say so."""
    for kilobytes in (1, 64, 512, 1_000, 2_000, 4_000, 8_000, 16_000, 64_000):
        store, limit = world.fresh(), f"{kilobytes}KB"
        ended = in_a_child(
            lambda store=store, limit=limit: refused_for(world, store, "out of memory", memory_limit=limit)
        )
        assert ended in (0, 6), f"{kilobytes} kB: {ended}"
        assert in_a_child(lambda store=store: world.check(store)) == 0, f"{kilobytes} kB"
        yield kilobytes


def out_of_process_memory(world: World) -> Iterator[int]:
    """Let the system refuse memory: a library may abort the process there, and the store must not mind."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()

    def limited(store: Path, more: int) -> None:
        resource.setrlimit(resource.RLIMIT_AS, (used + more, resource.RLIM_INFINITY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        world.ingest(world.folder / "second", store)

    for megabytes in (0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 4096):
        store = world.fresh()
        ended = in_a_child(lambda store=store, megabytes=megabytes: limited(store, megabytes << 20))
        assert in_a_child(lambda store=store: world.check(store)) == 0, f"{megabytes} MB, ended {ended}"
        yield megabytes
    assert ended == 0, "the last limit must be enough"


def in_a_namespace() -> None:
    """Run this program again where it may mount file systems that nobody else sees, as root of its own at least."""
    if "COHORT_NAMESPACE" in os.environ:
        return
    own = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--mount"]
    os.execvpe(own[0], [*own, sys.executable, *sys.argv], os.environ | {"COHORT_NAMESPACE": "1"})  # noqa: S606 -- itself


def main(kind: str, number: int = 1, seed: int = 7) -> None:
    """Run one kind of fault and say how many were survived."""
    if kind in ("disk", "inodes"):
        in_a_namespace()
    import cohort.ingest.load  # noqa: F401 -- imported once, before the children are forked

    with tempfile.TemporaryDirectory(prefix="cohort-faults-") as folder:
        world = World(Path(folder))
        faults = {
            "calls": lambda: killed_at_every_call(world, number),
            "first": lambda: killed_at_every_call_of_the_first(world, number),
            "moments": lambda: killed_at_moments(world, number, seed),
            "disk": lambda: full_volume(world, "size", max(number, 4) * 1024),
            "inodes": lambda: full_volume(world, "nr_inodes", number),
            "filesize": lambda: limited_files(world, number),
            "memory": lambda: out_of_memory(world),
            "process": lambda: out_of_process_memory(world),
        }
        survived = []
        for fault in faults[kind]():
            survived.append(fault)
            if len(survived) % 100 == 0:  # a long form that is ended early has not been in vain
                print(f"{kind}: {len(survived)} faults survived so far, seed {seed}", flush=True)
        print(f"{kind}: {len(survived)} faults survived, the last at {survived[-1]}")


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
