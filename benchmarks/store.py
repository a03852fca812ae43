r"""How fast are latents read, how light is a store of ImageNet's length, and what does encoding spend its time on?

``read``: records of SiT's size (4 × 32 × 32, mean and deviation, half precision) in batches of 256 in random order,
from page cache on one thread: what a store reads, with and without its draws, one ``np.load`` for each file of a
record, and torch's DataLoader over such files. ``open``: 1.28 million records in 313 shards, the names of one file.
``encode``: JPEG of 500 × 375 pixels to squares of 256, with their mirror images, by a small ``AutoencoderKL`` and by
one of sd-vae-ft-ema's size, both with random weights, and the share of the time that is the VAE's.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from record import RESULTS, arguments, save_rows, show

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from backbone import EncodeConfig, Store
from backbone.data.images import decode
from backbone.data.order import Order
from backbone.data.shard import PROGRESS, encode_shard
from backbone.data.sources import find_images
from backbone.data.vae import Autoencoder, load_encoder
from backbone.draws import Draws
from tests.support.imagenet_tree import jpeg, photographs, write_vae
from tests.support.stores import file_of, write_store

Row = dict[str, Any]
SHAPE, BATCH = (4, 32, 32), 256


def main() -> None:
    """Measure the parts that were asked for and print them, or save them beside the parts that were saved before."""
    known: dict[str, Callable[[Path, bool], list[Row]]] = {"read": reading, "open": opening, "encode": encoding}
    options = arguments(__doc__ or "", tuple(known))
    torch.set_num_threads(1)
    file = RESULTS / "store.json"
    before = json.loads(file.read_text())["rows"] if file.exists() else []
    rows = []
    for part, measure in known.items():
        if part in options.parts:
            with tempfile.TemporaryDirectory() as folder:
                found = measure(Path(folder), options.smoke)
            for row in found:
                show({"part": part, **row})
            rows += [{"part": part, **row} for row in found]
        else:
            rows += [row for row in before if row["part"] == part]
    if options.save:
        save_rows("store", rows, ("numpy", "torch", "pillow", "diffusers"))


def records(count: int) -> NDArray[np.float16]:
    """Return records of about unit variance, without flips."""
    rng = np.random.default_rng(0)
    data = rng.standard_normal((count, 1, 2, *SHAPE), dtype=np.float32)
    data[:, :, 1] = 0.05 + 0.01 * np.abs(data[:, :, 1])
    return data.astype(np.float16)


def per_second(run: Callable[[int], Any], batches: int, repeats: int) -> float:
    """Return records per second of processor time, the best of some repeats: other programs share the machine."""
    best = 0.0
    for _ in range(repeats + 1):
        began = time.process_time()
        for step in range(batches):
            run(step)
        best = max(best, batches * BATCH / (time.process_time() - began))
    return best


class Files(torch.utils.data.Dataset[tuple[torch.Tensor, int]]):
    """A file for each record, as fast-DiT's and REPA's readers of features have."""

    def __init__(self, folder: Path, count: int) -> None:
        self.folder, self.count = folder, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int) -> tuple[torch.Tensor, int]:
        return torch.from_numpy(np.load(self.folder / f"{number}.npy")), number % 1000


def reading(root: Path, smoke: bool) -> list[Row]:
    """Measure reading: 512 MiB of records, a fourth of them also as files, all in page cache."""
    count = 1024 if smoke else 32_768
    data = np.tile(records(count // 8), (8, 1, 1, 1, 1, 1))
    store = Store(write_store(root / "read", data, np.arange(count) % 1000, per_shard=count // 16))
    (root / "files").mkdir()
    files = Files(root / "files", count // 4)
    for number in range(files.count):
        np.save(root / "files" / f"{number}.npy", data[number, 0])
    order, some, none = Order(count, 0), Order(files.count, 0), np.zeros(BATCH, np.bool_)
    loader = torch.utils.data.DataLoader(files, BATCH, sampler=some(torch.arange(files.count)).tolist())
    endless = chain.from_iterable(repeat(loader))

    def ids(step: int) -> torch.Tensor:
        return torch.arange(step * BATCH, (step + 1) * BATCH)

    def loads(step: int) -> Any:
        return np.stack([files[number][0] for number in some(ids(step)).tolist()])

    cases: dict[str, tuple[Callable[[int], Any], int]] = {
        "store, as stored": (lambda step: store.read(order(ids(step)).numpy(), none), count),
        "store, drawn": (lambda step: store.batch(order(ids(step)), Draws(0, ids(step))), count // 64),
        "np.load of a file per record": (loads, files.count),
        "DataLoader over a file per record": (lambda _: next(endless), files.count),
    }
    repeats = 1
    rates = {name: per_second(run, max(1, number // BATCH), repeats) for name, (run, number) in cases.items()}
    return [{"reader": name, "records_per_core_second": rate} for name, rate in rates.items()]


OPEN = """
import json, os, sys, time
import numpy as np
from backbone import Store
def held(kind):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) / 1024 for line in file if line.startswith(kind))
before, began = held("RssAnon"), time.perf_counter()
store = Store(sys.argv[1])
opened, after = time.perf_counter() - began, held("RssAnon")
for step in range(40):
    store.read(np.random.default_rng(step).integers(0, store.count, 256), np.zeros(256, bool))
print(json.dumps({"records": store.count, "seconds": opened, "opening_mib": after - before,
                  "reading_mib": held("RssAnon") - after}))
"""


def opening(root: Path, smoke: bool) -> list[Row]:
    """Measure opening, in a process of its own: the best of some repeats, and memory without the mapped pages."""
    per_shard, shards = (64, 5) if smoke else (4096, 313)
    folder = write_store(root / "open", records(per_shard), np.zeros(per_shard), per_shard=per_shard)
    manifest = json.loads((folder / "manifest.json").read_text())
    pieces = [manifest["shards"][0] | {"name": f"shard-{number:05d}.npy"} for number in range(shards)]
    for piece in pieces[1:]:
        os.link(folder / pieces[0]["name"], folder / piece["name"])
    count = per_shard * shards
    np.save(folder / "labels.npy", np.zeros(count, np.int32))
    changes = {"shards": pieces, "records": count, "labels": file_of(folder / "labels.npy", count)}
    (folder / "manifest.json").write_text(json.dumps(manifest | changes))
    found = []
    for _ in range(1 if smoke else 5):
        environment = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[1])}
        said = subprocess.run([sys.executable, "-c", OPEN, folder], capture_output=True, check=True, env=environment)
        found.append(json.loads(said.stdout))
    return [min(found, key=lambda row: float(row["seconds"]))]


class Timed:
    """An encoder that adds up its time."""

    def __init__(self, encoder: Any) -> None:
        self.encoder, self.seconds = encoder, 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.encoder, name)

    def encode(self, images: torch.Tensor) -> Any:
        """Encode, and time it: the other threads of the process decode meanwhile."""
        began = time.thread_time()
        found = self.encoder.encode(images)
        self.seconds += time.thread_time() - began
        return found


def encoding(root: Path, smoke: bool) -> list[Row]:
    """Measure encoding and decoding of JPEG of ImageNet's usual size."""
    from diffusers import AutoencoderKL

    files = [jpeg(photo.resize((500, 375))) for photo in photographs()]
    (root / "images" / "class").mkdir(parents=True)
    for number in range(8 if smoke else 128):
        (root / "images" / "class" / f"{number:05d}.jpg").write_bytes(files[number % 2])
    entries = list(find_images(root / "images")[1])
    blocks = {"down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4}
    published = AutoencoderKL(block_out_channels=(128, 256, 512, 512), layers_per_block=2, **blocks)
    encoders = {"small": (load_encoder(str(write_vae(root / "vae"))), len(entries))}
    encoders["of sd-vae-ft-ema's size"] = Autoencoder("random", published), 1
    rows = []
    for name, (encoder, count) in encoders.items():
        config = EncodeConfig(out=root / name, size=64 if smoke else 256)
        (config.out / PROGRESS).mkdir(parents=True)
        timed, began = Timed(encoder), time.process_time()
        encode_shard(config, root / "images", 0, entries[:count], timed, lambda _: None)
        spent = time.process_time() - began
        rows.append({"vae": name, "images_per_core_second": count / spent, "share_of_vae": timed.seconds / spent})
    began = time.process_time()
    for number in range(len(entries)):
        decode(files[number % 2], 256)
    return [*rows, {"vae": "", "images_per_core_second": len(entries) / (time.process_time() - began)}]


if __name__ == "__main__":
    main()
