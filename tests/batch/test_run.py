"""How requests of a batch take turns, with a client and a describer of the test's own."""

import asyncio
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from musicgen_service.batch.client import Reply
from musicgen_service.batch.clips import Describer
from musicgen_service.batch.items import Item
from musicgen_service.batch.manifest import Manifest, Shard, records
from musicgen_service.batch.progress import BatchProgress
from musicgen_service.batch.run import Batch

AT_ONCE = 2


class Client:
    """Makes empty files; notes how many it has begun, and how many at the same time at most."""

    at_once = AT_ONCE

    def __init__(self) -> None:
        self.begun = self.running = self.most = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Nothing is to be released."""

    def problems(self, item: Item) -> list[str]:
        return []

    async def make(self, item: Item, folder: Path) -> Reply:
        self.begun += 1
        self.running += 1
        self.most = max(self.most, self.running)
        await asyncio.sleep(0.01)
        self.running -= 1
        (folder / "clip.wav").touch()
        return Reply([folder / "clip.wav"], {})

    async def rate(self, items: Sequence[Item]) -> float | None:
        return None


class SlowDescriber(Describer):
    """Describes nothing before it may."""

    def __init__(self) -> None:
        super().__init__(listens=False)
        self.may = threading.Event()

    def describe(self, file: Path) -> dict[str, Any]:
        assert self.may.wait(60)
        return {"seconds": 1.0, "recipe": {}}


def test_slots_are_used_while_clips_are_described(tmp_path: Path) -> None:
    items = [Item(number, str(number), f"clip-{number}", {}, "demo", 1.0) for number in range(10)]
    client, describer, manifest = Client(), SlowDescriber(), Manifest(tmp_path, Shard())

    async def run() -> None:
        batch = Batch(tmp_path, Shard(), manifest, describer)
        running = asyncio.create_task(batch.run(items, client, BatchProgress(10, 10.0)))
        while client.begun < 2 * AT_ONCE:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        assert client.begun == 2 * AT_ONCE  # no more are held than that
        describer.may.set()
        await running

    asyncio.run(asyncio.wait_for(run(), 60))
    manifest.close()
    assert client.most == AT_ONCE and len(list(records(tmp_path))) == 10


def test_a_record_says_how_many_requests_shared_the_time(tmp_path: Path) -> None:
    describer, manifest = SlowDescriber(), Manifest(tmp_path, Shard())
    describer.may.set()
    batch = Batch(tmp_path, Shard(), manifest, describer)
    items = [Item(1, "1", "clip-1", {}, "demo", 1.0)]
    asyncio.run(batch.run(items, Client(), BatchProgress(1, 1.0)))
    manifest.close()
    [record] = records(tmp_path)
    assert record["timings"]["at_once"] == 1 < AT_ONCE
