"""A small checkpoint, and what the tests of sampling ask of the files made from it."""

import hashlib

import numpy as np
import torch
from backbone_support import TINY, perturb

from backbone import SampleConfig, SiT, save_checkpoint
from interpolants import Linear

EXTRA = {"schedule": Linear().to_dict(), "prediction": "Velocity"}
QUICK = {"steps": 3, "batch_size": 4, "threads": 1, "device": "cpu"}


def tiny(file, config=TINY, extra=EXTRA):
    """Write a checkpoint of a small network, and return its network."""
    torch.manual_seed(0)
    model = perturb(SiT(config)).eval()
    save_checkpoint(file, model, extra=extra)
    return model


def quick(**options):
    """A config of few steps."""
    return SampleConfig(**(QUICK | options))


def digests(folder):
    """The digest of each file in a folder and in those inside, but for the manifest, which has a date."""
    files = [file for file in folder.rglob("*") if file.is_file() and file.name != "manifest.json"]
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def arrays(file):
    """The two arrays of an npz."""
    with np.load(file) as found:
        return found["arr_0"], found["arr_1"]
