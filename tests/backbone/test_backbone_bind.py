"""bind: a network with its labels fixed, with and without guidance."""

import pytest
import torch

from backbone import bind


def test_bind_swaps_the_arguments_and_expands_time(model, batch):
    """bind(model, y)(time, x) is model(x, time, y) for a number, a scalar tensor and a vector of times."""
    x, time, y = batch
    field = bind(model, y)
    assert torch.equal(field(time, x), model(x, time, y))
    assert torch.equal(field(0.3, x), model(x, torch.full((4,), 0.3), y))
    assert torch.equal(field(torch.tensor(0.3), x), model(x, 0.3, y))


def test_one_label_serves_every_batch(model, batch):
    """An int is the label of every image, whatever the length of the batch."""
    x, _, _ = batch
    field = bind(model, 4)
    assert torch.equal(field(0.3, x), model(x, 0.3, torch.full((4,), 4)))
    assert torch.equal(field(0.3, x[:1]), model(x[:1], 0.3, torch.tensor([4])))


@pytest.mark.parametrize("guidance", [0.0, 1.5, 4.0])
def test_guidance_is_the_formula(model, batch, guidance):
    """Guidance g gives v_u + g (v_y - v_u) over all channels, v_u for the null class."""
    x, time, y = batch
    v_y, v_u = model(x, time, y), model(x, time, torch.full((4,), 5))
    out = bind(model, y, guidance)(time, x)
    torch.testing.assert_close(out, v_u + guidance * (v_y - v_u), rtol=1e-5, atol=1e-5)


def test_guidance_costs_one_evaluation(model, batch):
    """Guidance evaluates the network once on a doubled batch; guidance 1 once on the batch itself."""
    x, time, y = batch
    seen = []
    model.register_forward_pre_hook(lambda module, inputs: seen.append(len(inputs[0])))
    bind(model, y, 2.0)(time, x)
    assert torch.equal(bind(model, y, 1.0)(time, x), bind(model, y)(time, x))
    assert seen == [8, 4, 4]


def test_no_label_is_dropped_in_training_mode(model, batch):
    """A bound field is the same in training mode, where the network itself would drop labels."""
    x, time, y = batch
    model.y_embedder.dropout = 1.0
    for guidance in (None, 3.0):
        wanted = bind(model.eval(), y, guidance)(time, x)
        assert torch.equal(bind(model.train(), y, guidance)(time, x), wanted)


def test_a_bound_field_keeps_gradients(model, batch):
    """Gradients with respect to x flow through a bound field, as a likelihood needs."""
    x, time, y = batch
    x = x.requires_grad_()
    bind(model, y, 2.0)(time, x).sum().backward()
    assert x.grad.any()


@pytest.mark.parametrize(
    ("labels", "guidance", "expected"),
    [
        (6, None, "within 0 … 5 .*; received labels from 6 to 6"),
        (-1, None, "within 0 … 5 .*; received labels from -1 to -1"),
        (torch.tensor([0, 9]), None, "within 0 … 5 .*; received labels from 0 to 9"),
        (torch.zeros(2, 2, dtype=torch.int64), None, r"shape \(N,\); received .* \(2, 2\)"),
        (2.0, None, r"y to be an int64 tensor.*; received 2\.0 \(float\)"),
        (2, float("nan"), "finite number as scale, or a function of time; received nan"),
    ],
)
def test_a_bad_binding_is_refused(model, labels, guidance, expected):
    """Labels out of range or of the wrong kind and a guidance that is not finite are refused at once."""
    with pytest.raises(ValueError, match="expected .*" + expected) as caught:
        bind(model, labels, guidance)
    assert "; remedy: " in str(caught.value)


def test_a_batch_of_another_length_is_refused(model, batch):
    """Labels for 4 images and a batch of 3 are refused with both numbers."""
    x, _, y = batch
    for guidance in (None, 2.0):
        with pytest.raises(ValueError, match=r"expected a batch of 4 .*; received x of shape \(3, 3, 8, 8\); remedy"):
            bind(model, y, guidance)(0.5, x[:3])
