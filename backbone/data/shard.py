"""One shard of a latent store, from images to a file: the unit of work, whole or not there."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from backbone.data.encode_config import EncodeConfig
from backbone.data.images import CorruptImageError, decode
from backbone.data.manifest import Piece
from backbone.data.sources import Entry, read_image
from backbone.data.sums import Sums
from backbone.data.vae import Encoder
from backbone.files import replaced, sha256, write_text
from solvers.errors import explain

__all__ = ["PROGRESS", "Done", "Stopped", "encode_shard", "finished"]

#: Folder of what is known of each complete shard.
PROGRESS = "progress"


class Stopped(Exception):  # noqa: N818 - not an error: another process had one
    """The work is to end."""


@dataclass(frozen=True, slots=True)
class Done:
    """What is known of a complete shard.

    Attributes:
        piece: its file.
        labels: of its records.
        skipped: path and reason of each image that is not in it.
        sums: over its records.
    """

    piece: Piece
    labels: list[int]
    skipped: list[tuple[str, str]]
    sums: Sums

    @classmethod
    def read(cls, file: Path) -> Done:
        """Return what a file of ``progress/`` says."""
        data = json.loads(file.read_text(encoding="utf-8"))
        skipped = [(path, reason) for path, reason in data["skipped"]]
        return cls(Piece(**data["piece"]), data["labels"], skipped, Sums(**data["sums"]))


def shard_name(number: int) -> str:
    """Return the name of a shard."""
    return f"shard-{number:05d}.npy"


def note_of(out: Path, number: int) -> Path:
    """Return the file that says a shard is complete; it is written after the shard."""
    return out / PROGRESS / f"shard-{number:05d}.json"


def finished(out: Path, number: int) -> Done | None:
    """Return what is known of a shard, or None where it is not complete."""
    note = note_of(out, number)
    if not note.exists():
        return None
    done = Done.read(note)
    file = out / done.piece.name
    return done if file.exists() and file.stat().st_size == done.piece.size else None


def encode_shard(
    config: EncodeConfig,
    source: Path,
    number: int,
    entries: list[Entry],
    encoder: Encoder,
    tick: Callable[[int], None],
) -> None:
    """Encode the images of a shard and write it, then its note.

    Args:
        config: of the whole store.
        source: where the images are.
        number: of the shard.
        entries: its images.
        encoder: on its device.
        tick: called after each batch with its number of images; may raise :class:`Stopped`.

    Raises:
        ValueError: an image is corrupt and none may be, or a latent is not finite; the image is named.
        OSError: an image cannot be read, or the shard not written.
    """
    shape = 1 + config.flips, len(encoder.parts), *encoder.shape(config.size)
    data = np.empty((len(entries), *shape), encoder.dtype)
    count, labels, sums, skipped = 0, [], [], list[tuple[str, str]]()
    good = _good(config, source, entries, skipped)
    # Only images that were decoded fill batches, so a batch depends on the images alone: the sums of a convolution may
    # be rounded differently in a batch of another size.
    while batch := list(islice(good, config.batch_size)):
        encoded = _encode(encoder, np.stack([pixels for _, pixels in batch]), config.flips)
        bad = ~np.isfinite(encoded).all(axis=tuple(range(1, encoded.ndim)))
        if bad.any():
            remedy = "see whether the VAE is damaged; half precision ends at 65504"
            raise ValueError(
                explain("finite latents", f"NaN or infinity of {batch[int(bad.argmax())][0].path}", remedy)
            )
        data[count : count + len(batch)] = encoded
        count += len(batch)
        labels += [entry.label for entry, _ in batch]
        sums.append(Sums.of(encoded))
        tick(len(batch))
    tick(len(skipped))
    piece = _write(config.out / shard_name(number), data[:count])
    done = Done(piece, labels, skipped, Sums.total(sums) if sums else Sums.of(data[:0]))
    write_text(note_of(config.out, number), json.dumps(asdict(done)) + "\n")


def _encode(encoder: Encoder, pixels: NDArray[np.uint8], flips: bool) -> NDArray[Any]:
    """Return what is stored, (N, flips, parts, C, h, w), of pixels (N, H, W, 3)."""
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()
    versions = [images, images.flip(-1)] if flips else [images]
    return np.stack([encoder.encode(version) for version in versions], axis=1)


def _good(
    config: EncodeConfig, source: Path, entries: list[Entry], skipped: list[tuple[str, str]]
) -> Iterator[tuple[Entry, NDArray[np.uint8]]]:
    """Yield images in order with their pixels, decoded ahead by threads; append the others to ``skipped``."""
    with _ahead(config, source, entries) as futures:
        for entry, future in futures:
            try:
                yield entry, future.result()
            except CorruptImageError as error:
                if config.corrupt == "fail":
                    remedy = "mend or remove it, or pass --corrupt skip to leave such images out and list them"
                    raise ValueError(explain("images that can be decoded", f"{entry.path}: {error}", remedy)) from error
                skipped.append((entry.path, str(error)))


@contextmanager
def _ahead(
    config: EncodeConfig, source: Path, entries: list[Entry]
) -> Iterator[Iterator[tuple[Entry, Future[NDArray[np.uint8]]]]]:
    """Begin to decode two batches ahead, and no more, so that memory does not grow with the shard."""
    with ThreadPoolExecutor(config.decoders) as pool:

        def futures() -> Iterator[tuple[Entry, Future[NDArray[np.uint8]]]]:
            waiting: deque[tuple[Entry, Future[NDArray[np.uint8]]]] = deque()
            for entry in entries:
                waiting.append((entry, pool.submit(_pixels, source, entry, config.size)))
                if len(waiting) > 2 * config.batch_size:
                    yield waiting.popleft()
            yield from waiting

        try:
            yield futures()
        finally:
            pool.shutdown(cancel_futures=True)


def _pixels(source: Path, entry: Entry, size: int) -> NDArray[np.uint8]:
    """Return the square of an image; a file that cannot be read is no corrupt image, and is never skipped."""
    try:
        data = read_image(source, entry)
    except ValueError as error:
        raise CorruptImageError(str(error)) from error
    return decode(data, size)


def _write(file: Path, data: NDArray[Any]) -> Piece:
    """Write a shard whole or not at all, first removing what killed processes left of it."""
    for draft in file.parent.glob(f".{file.name}.*.part"):
        draft.unlink(missing_ok=True)
    try:
        with replaced(file) as draft:
            with draft.open("wb") as stream:
                # numpy's own writing of the values would not say that the disk is full.
                np.lib.format.write_array_header_1_0(stream, np.lib.format.header_data_from_array_1_0(data))
                stream.write(data.data)
            piece = Piece(file.name, draft.stat().st_size, sha256(draft), len(data))
    except OSError as error:
        remedy = f"make room for {data.nbytes / 2**20:.4g} MiB and more, and run it again: complete shards are kept"
        raise OSError(error.errno, explain("a shard to be written", f"{file}: {error.strerror}", remedy)) from error
    return piece
