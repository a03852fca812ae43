"""Files that are damaged, of another kind or hostile are refused, and nothing in them is run."""

import argparse
import io
import os
import pickle
import zipfile
from pathlib import Path

import pytest
import torch
from backbone_support import TINY
from published_files import training, weights

from backbone import SiT, load_checkpoint
from backbone.checkpoints import CheckpointError


class Payload:
    """A pickle that creates a file when it is read by a reader that runs it."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.system, (f"touch {self.target}",)


def legacy(value):
    stream = io.BytesIO()
    torch.save(value, stream, _use_new_zipfile_serialization=False)
    return stream.getvalue()


def zipped(value):
    stream = io.BytesIO()
    torch.save(value, stream)
    return stream.getvalue()


@pytest.mark.parametrize("place", ["whole", "tensor", "args", "namespace"])
@pytest.mark.parametrize("write", [zipped, legacy, pickle.dumps], ids=["zip", "legacy", "pickle"])
def test_a_malicious_pickle_runs_nothing(write, place, tmp_path):
    """A payload anywhere in a file is refused by the name of what it asks for; its file never comes to be."""
    trap, file = tmp_path / "pwned", tmp_path / "x.pt"
    payload = Payload(trap)
    file.write_bytes(
        write(
            {
                "whole": payload,
                "tensor": {"pos_embed": payload},
                "args": {"ema": {}, "args": payload},
                "namespace": {"ema": {}, "args": argparse.Namespace(x=payload)},
            }[place]
        )
    )
    with pytest.raises(CheckpointError, match=r"expected .*; received .*; remedy: ") as caught:
        load_checkpoint(file, num_heads=4)
    assert not trap.exists()
    if write is not pickle.dumps:
        assert f"asks for {os.system.__module__}.system; it was refused and nothing of it was run" in str(caught.value)
    # The payload is a real one: a reader that trusts the file runs it.
    if write is pickle.dumps:
        pickle.loads(file.read_bytes())
        assert trap.exists()


@pytest.mark.parametrize(
    "value", [SiT(TINY), Path("x"), {"ema": {}, "args": pytest.approx(1)}], ids=["module", "path", "other"]
)
def test_other_classes_are_refused(value, tmp_path):
    """A pickled module, a path, any class but argparse.Namespace: refused by its name."""
    file = tmp_path / "x.pt"
    torch.save(value, file)
    with pytest.raises(CheckpointError, match=r"which asks for \S+\.\S+; it was refused"):
        load_checkpoint(file)


def test_namespace_is_allowed_for_the_reading_only(tmp_path):
    """torch's own list of allowed classes is as it was before."""
    before, file = set(torch.serialization.get_safe_globals()), tmp_path / "x.pt"
    torch.save(training(weights()), file)
    load_checkpoint(file, num_heads=4)
    assert argparse.Namespace not in before
    assert argparse.Namespace not in torch.serialization.get_safe_globals()


@pytest.mark.parametrize("kept", [4, 40, 2000, -1])
@pytest.mark.parametrize("write", [zipped, legacy], ids=["zip", "legacy"])
def test_a_truncated_pickle_is_refused(write, kept, tmp_path):
    """A .pt file cut anywhere is refused as such or as unreadable, with what to do."""
    file = tmp_path / "x.pt"
    file.write_bytes(write(weights())[:kept])
    message = "expected a whole file of" if write is zipped else "expected a (whole file|file of torch.save)"
    with pytest.raises(CheckpointError, match=message + ".*; remedy: copy or download the file again"):
        load_checkpoint(file)


def test_files_of_another_kind_are_refused(tmp_path):
    """Text, an archive, a tensor, and dicts without weights are refused with what they are."""
    file = tmp_path / "x.pt"
    file.write_bytes(b"<!DOCTYPE html><html>not found</html>")
    with pytest.raises(CheckpointError, match=r"begins with b'<!DOCTYPE'; remedy: .*error page or a Git LFS pointer"):
        load_checkpoint(file)
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("arr_0.npy", b"x")
    with pytest.raises(CheckpointError, match=r"expected a file of torch\.save; .* cannot read"):
        load_checkpoint(file)
    torch.save(torch.zeros(3), file)
    with pytest.raises(CheckpointError, match=r"expected a dict of tensors; received .* with a Tensor; remedy"):
        load_checkpoint(file)
    torch.save({"net": {}, "opt": {}}, file)
    with pytest.raises(CheckpointError, match=r"tensors by name; received .*'net' of type dict among net, opt; remedy"):
        load_checkpoint(file)
