"""The manifest: everything that makes the samples again, and what was measured while they were made."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from backbone.sampling.sampler import Sampler
from solvers.errors import explain

__all__ = ["FORMAT", "read_manifest", "table", "written"]

FORMAT = "interpolants samples, 1"


def written(
    sampler: Sampler, facts: Sequence[Mapping[str, Any]], files: Mapping[str, str], content: Mapping[str, Any]
) -> dict[str, Any]:
    """Return a manifest.

    Args:
        sampler: what made the samples.
        facts: of each part: evaluations, rows seen by the network, seconds, environment.
        files: the digest of each file; of a folder that of what ``sha256sum *`` prints in it.
        content: shape, dtype and digests of the samples and labels themselves, whatever file they are in.
    """
    counts = sorted({fact["nfe"] for fact in facts})
    places: list[Any] = []
    for fact in facts:
        if fact["environment"] not in places:
            places.append(fact["environment"])
    seconds, num = sum(fact["seconds"] for fact in facts), sampler.config.num
    return {
        "format": FORMAT,
        **sampler.plan,
        "parameters": sampler.parameters,
        "nfe": counts[0] if len(counts) == 1 else {"least": counts[0], "most": counts[-1]},
        "network_evaluations_per_sample": sum(fact["rows"] for fact in facts) / num,
        "seconds": round(seconds, 3),
        "samples_per_second": round(num / seconds, 3),
        "environments": places,
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "files": dict(files),
        "content": dict(content),
    }


def read_manifest(file: Path) -> dict[str, Any]:
    """Return a manifest.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is none.
    """
    if not file.is_file():
        raise FileNotFoundError(explain("a manifest", f"{file}, which is no file", "pass OUT/manifest.json"))
    try:
        found = json.loads(file.read_text())
    except ValueError as error:
        raise ValueError(explain("a manifest in JSON", f"{file}: {error}", "pass OUT/manifest.json")) from error
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        received = f"{file}, which is another JSON"
        raise ValueError(explain(f'a manifest with the format "{FORMAT}"', received, "pass OUT/manifest.json"))
    return found


def table(manifest: Mapping[str, Any], out: Path) -> str:
    """Return what was run, a line for each thing, to print."""
    config, sampler, content = manifest["config"], manifest["sampler"], manifest["content"]
    times, nfe = sampler["times"], manifest["nfe"]
    steps = f"{len(times) - 1} ({config['grid']}, {times[0]:g} to {times[-1]:g})"
    if sampler["method"].startswith("Adaptive"):
        steps = f"its own choice, {times[0]:g} to {times[-1]:g}"
    per_sample = manifest["network_evaluations_per_sample"]
    counted = str(nfe) if isinstance(nfe, int) else f"{nfe['least']} to {nfe['most']}"
    place = manifest["environments"][0]
    lines = {
        "checkpoint": f"{manifest['checkpoint']['path']} (sha256 {manifest['checkpoint']['sha256'][:12]}…)",
        "parameters": f"{manifest['parameters']:,}",
        "schedule": f"{manifest['schedule']['name']}, prediction {manifest['prediction']}",
        "method": sampler["method"],
        "steps": steps,
        "w": sampler["w"] or "none, the ODE",
        "guidance": sampler["guidance"] or "none",
        "NFE": f"{counted}, the network {per_sample:g} times for a sample",
        "labels": manifest["labels"],
        "samples": f"{content['shape'][0]:,} of {content['shape'][1:]}, {content['dtype']}, seed {config['seed']}",
        "VAE": manifest["vae"] and f"{manifest['vae']['path']}, scale {manifest['vae']['scale']}",
        "precision": f"{config['precision']} on {place['device']}, {place['threads']} threads",
        "time": f"{manifest['seconds']:.1f} s, {manifest['samples_per_second']:.4g} samples/s",
        "files": ", ".join(str(out / name) for name in [*manifest["files"], "manifest.json"]),
    }
    return "\n".join(f"{name:11} {value}" for name, value in lines.items() if value)
