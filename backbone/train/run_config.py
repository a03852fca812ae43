"""A whole training as data: what is learned from what, how, and what is kept. From a file, flags or Python alike."""

from __future__ import annotations

import dataclasses
import json
import tomllib
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from backbone.checks import check_choice, check_count, check_text, is_number
from backbone.config import SiTConfig
from backbone.sizes import DIT_SIZES, SIZES, named_config
from backbone.train.config import TrainConfig
from backbone.train.record import Record
from solvers.errors import closest, explain

__all__ = ["ObjectiveConfig", "ProbeConfig", "RunConfig", "read_config"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ObjectiveConfig:
    """What the network learns, spelt out.

    Args:
        schedule: a built-in name such as linear, or a class with arguments such as "VP(beta_max=10)".
        prediction: velocity, score, noise, data or vprediction.
        weight: of the loss, such as "Uniform()" or "MinSNR(5)", from interpolants.weights.
        times: law of the training times, such as "LogitNormal(0, 1)", from interpolants.times.
        loss: Interpolation, what the four fields above describe; Chain, that of DDPM and DiT over a schedule of
            discrete rates such as ddpm-linear, with "Chain(learned=False)" for variances that are not learned; or
            MeanFlow, ImprovedMeanFlow, Shortcut or Consistency, of few steps, with arguments of their own.
    """

    schedule: str = "linear"
    prediction: str = "velocity"
    weight: str = "Uniform()"
    times: str = "Uniform()"
    loss: str = "Interpolation"

    def __post_init__(self) -> None:
        for name in ("schedule", "prediction", "weight", "times", "loss"):
            check_text(f"objective.{name}", getattr(self, name))


@dataclass(frozen=True, slots=True)
class ProbeConfig:
    """What is measured on samples of the averaged network, as often as the record says.

    Args:
        samples: how many images to draw, of all processes together.
        steps: steps of Heun's method, of two evaluations each, or of the midpoint rule where the flow is infinite at an
            end; for a network of timesteps twice as many of DDIM.
        guidance: scale of classifier-free guidance; None is none.
        held_out: a store of images that are not trained on, for the Fréchet distance; for digits it is built in.

    Raises:
        ValueError: a field is out of range.
    """

    samples: int = 200
    steps: int = 25
    guidance: float | None = None
    held_out: str | None = None

    def __post_init__(self) -> None:
        # A covariance needs two.
        check_count("probe.samples", self.samples, 2)
        check_count("probe.steps", self.steps)
        if self.guidance is not None and not is_number(self.guidance):
            raise ValueError(explain("a finite probe.guidance", repr(self.guidance), "1 is no guidance, 1.5 is usual"))
        if self.held_out is not None:
            check_text("probe.held_out", self.held_out)


@dataclass(frozen=True, slots=True)
class RunConfig:
    """A training from data to checkpoints.

    Args:
        out: folder of the run. Where a run was interrupted in it, it goes on.
        data: digits, or the folder of a store that sit encode wrote.
        model: the network.
        objective: what it learns.
        training: how.
        record: what is kept, and how often.
        probe: what is measured on samples.
        device: cpu or cuda; cuda where there is one, when absent.
        seed: of the initial weights.

    Raises:
        ValueError: a field is out of range.
    """

    out: Path = Path("out/run")
    data: str = "digits"
    model: SiTConfig = field(default_factory=SiTConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    training: TrainConfig = field(default_factory=TrainConfig)
    record: Record = field(default_factory=Record)
    probe: ProbeConfig = field(default_factory=ProbeConfig)
    device: str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.out, Path):
            raise ValueError(explain("a folder out", repr(self.out), "pass a Path, or its name in a file"))
        check_text("data", self.data)
        check_count("seed", self.seed, 0)
        if self.device is not None:
            check_text("device", self.device)
            check_choice("device", self.device.partition(":")[0], ("cpu", "cuda"))

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain JSON values, from which :func:`from_dict` builds the same."""
        return typing.cast("dict[str, Any]", _plain(self))

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> RunConfig:
        """Build a config from nested dictionaries; what is absent keeps its default.

        ``model`` may have a ``name``, such as ``"SiT-XL/2"``, whose fields the others replace.

        Raises:
            ValueError: a key is not a field (the closest are named), or a value is out of range.
        """
        return _built(cls, fields, "")


def read_config(file: Path) -> RunConfig:
    """Read a config from a TOML or JSON file.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is neither, or a key or value is wrong; the file is named.
    """
    try:
        text = file.read_text(encoding="utf-8")
        fields = json.loads(text) if file.suffix == ".json" else tomllib.loads(text)
    except ValueError as error:
        raise ValueError(explain("a TOML or JSON file", f"{file}: {error}", "see the recipes in configs/")) from error
    try:
        return RunConfig.from_dict(fields)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{file}: {error}") from error


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return {item.name: _plain(getattr(value, item.name)) for item in dataclasses.fields(value)}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def _built(cls: type[T], fields: object, where: str) -> T:
    if not isinstance(fields, Mapping):
        raise ValueError(
            explain(f"a table for {where.rstrip('.') or 'the config'}", repr(fields), "write [section] and its keys")
        )
    types = typing.get_type_hints(cls)
    if cls is SiTConfig and "name" in fields:
        rest = {key: value for key, value in fields.items() if key != "name"}
        name = str(fields["name"])
        base = named_config(name, DIT_SIZES if name.startswith("DiT") else SIZES)
        _expect_known(rest, types, where)
        return dataclasses.replace(base, **_tuples(rest))  # type: ignore[return-value]
    _expect_known(fields, types, where)
    values = {}
    for key, value in fields.items():
        kind = types[key]
        if dataclasses.is_dataclass(kind):
            values[key] = _built(typing.cast("type[Any]", kind), value, f"{where}{key}.")
        else:
            values[key] = Path(value) if kind is Path and isinstance(value, str) else value
    return cls(**_tuples(values))


def _expect_known(fields: Mapping[str, Any], known: Mapping[str, Any], where: str) -> None:
    for key in fields:
        if key not in known:
            received = f"{where}{key}"
            remedy = f"did you mean {closest(str(key), known)}?"
            raise ValueError(explain(f"a field of the config, one of {', '.join(known)}", repr(received), remedy))


def _tuples(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields with tuples for lists, which is what files have."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in fields.items()}
