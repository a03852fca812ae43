"""A training that reads a latent store."""

import dataclasses

import pytest
import torch

from backbone import RunConfig, SiTConfig, Store, StoreError, TrainConfig
from backbone.draws import Draws
from backbone.train.run import open_data, run
from tests.support.stores import latents, write_store

MODEL = SiTConfig(input_size=(4, 2), patch_size=2, in_channels=4, hidden_size=8, depth=1, num_heads=2, num_classes=5)


@pytest.fixture
def config(tmp_path):
    for name, count, seed in (("latents", 23, 0), ("held out", 7, 1)):
        data, labels = latents(count, shape=(4, 4, 2), seed=seed)
        write_store(tmp_path / name, data, labels)
    return RunConfig(
        out=tmp_path / "run",
        data=str(tmp_path / "latents"),
        model=MODEL,
        training=TrainConfig(steps=6, batch_size=8, ema_decay=None),
        device="cpu",
    )


def test_a_store_is_opened(config, tmp_path):
    """The data of a config are its store, and what is held out is another; other classes and no folder are refused."""
    data, held_out = open_data(config)
    assert isinstance(data, Store)
    assert (data.count, held_out) == (23, None)
    probe = dataclasses.replace(config.probe, held_out=str(tmp_path / "held out"))
    _, held_out = open_data(dataclasses.replace(config, probe=probe))
    ids = torch.arange(7)
    assert torch.equal(held_out, Store(tmp_path / "held out").batch(ids, Draws(0, ids))[0])
    with pytest.raises(StoreError, match=r"expected 4 classes; received .* with 5"):
        open_data(dataclasses.replace(config, model=dataclasses.replace(MODEL, num_classes=4)))
    with pytest.raises(FileNotFoundError, match=r"expected data; received '.*nowhere'"):
        open_data(dataclasses.replace(config, data=str(tmp_path / "nowhere")))


@pytest.mark.slow
def test_a_training_goes_on_with_the_samples_it_would_have_had(config, tmp_path):
    """Six steps on a store end at the weights of two steps and, from their checkpoint, four more, bit for bit."""
    whole = run(dataclasses.replace(config, out=tmp_path / "whole"))
    run(dataclasses.replace(config, training=dataclasses.replace(config.training, steps=2)))
    found = run(config)
    assert len(whole.losses) == 6
    assert whole.losses[2:] == found.losses
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(tensor, found.model.state_dict()[name])
