"""Requirements of prompt 2: backbone, freezing, transformer, ASPP, gates, init, dropout, norm."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torchvision.models import resnet50

from reference_impl.lunar.backbone import Backbone
from reference_impl.lunar.model import (
    ASPP,
    DIM,
    AttentionGate,
    Hybrid,
    Join,
    create_model,
    positions,
)


@pytest.fixture(scope="module")
def hybrid() -> Hybrid:
    torch.manual_seed(1)
    model = create_model(output_stride=32)
    assert isinstance(model, Hybrid)
    return model


def test_the_backbone_computes_what_torchvision_s_resnet50_computes() -> None:
    torch.manual_seed(3)
    ours = Backbone(pretrained=False, frozen_stages=0, output_stride=32).eval()
    torch.manual_seed(3)
    theirs = resnet50(weights=None).eval()
    images = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        x = theirs.maxpool(theirs.relu(theirs.bn1(theirs.conv1((images - 0.5) / 0.25))))
        layer2 = theirs.layer2(theirs.layer1(x))
        layer4 = theirs.layer4(theirs.layer3(layer2))
        ours2, _, ours4 = ours(images)
    torch.testing.assert_close(ours2, layer2)
    torch.testing.assert_close(ours4, layer4)


@pytest.mark.parametrize(("stride", "cells"), [(16, 8), (32, 4)])
def test_output_stride_decides_how_many_cells_the_transformer_sees(stride, cells: int) -> None:
    backbone = Backbone(pretrained=False, frozen_stages=3, output_stride=stride).eval()
    with torch.no_grad():
        half, quarter, deep = backbone(torch.rand(1, 3, 128, 128))
    assert half.shape == (1, 512, 16, 16)
    assert quarter.shape == (1, 1024, 8, 8)
    assert deep.shape == (1, 2048, cells, cells)


def test_stem_layer1_and_layer2_stay_as_they_are_through_a_training_step(hybrid: Hybrid) -> None:
    frozen = ("backbone.stem.", "backbone.layer1.", "backbone.layer2.")
    before = {name: value.clone() for name, value in hybrid.state_dict().items()}
    hybrid.train()
    optimizer = torch.optim.SGD([p for p in hybrid.parameters() if p.requires_grad], lr=0.1)
    nn.functional.cross_entropy(hybrid(torch.rand(2, 3, 64, 64)), torch.tensor([0, 1])).backward()
    optimizer.step()
    after = hybrid.state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert not [name for name in moved if name.startswith(frozen)]
    for part in ("layer3.0.conv1.weight", "layer3.0.bn1.running_mean", "layer4.2.conv3.weight"):
        assert f"backbone.{part}" in moved
    assert all(p.grad is None for p in hybrid.backbone.layer2.parameters())
    hybrid.load_state_dict(before)


@pytest.mark.parametrize("stages", [0, 1, 5])
def test_other_numbers_of_frozen_stages_can_be_asked_for(stages: int) -> None:
    backbone = Backbone(pretrained=False, frozen_stages=stages, output_stride=32)
    trains = [any(p.requires_grad for p in stage.parameters()) for stage in backbone.stages()]
    assert trains == [False] * stages + [True] * (5 - stages)


def test_training_on_frozen_random_weights_is_warned_of_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    first, second = (
        Backbone(pretrained=False, frozen_stages=3, output_stride=32) for _ in range(2)
    )
    second.load_state_dict(first.state_dict())
    first.eval()
    second.train()
    assert not caplog.text
    first.train()
    first.train()
    assert caplog.text.count("random weights") == 1


def test_there_are_four_transformer_blocks_of_512_which_look_everywhere(hybrid: Hybrid) -> None:
    layers = [m for m in hybrid.modules() if isinstance(m, nn.TransformerEncoderLayer)]
    assert [layer.self_attn.embed_dim for layer in layers] == [512] * 4
    hybrid.eval()
    features = torch.randn(1, 512, 4, 4, requires_grad=True)
    hybrid.transformer(features)[0, 0, 0, 0].backward()  # the sum of a layer norm is constant
    assert features.grad is not None
    assert bool((features.grad[0].abs().sum(0) > 0).all())  # the far corner too


def test_positions_differ_everywhere_and_fit_any_map() -> None:
    here = positions(5, 7, 512)[0]
    assert here.shape == (35, 512)
    assert torch.cdist(here, here).fill_diagonal_(1).min() > 0.1


@pytest.mark.parametrize("side", [2, 3], ids=["rows", "columns"])
def test_a_cell_means_something_else_elsewhere(hybrid: Hybrid, side: int) -> None:
    hybrid.eval()
    features = torch.randn(1, 512, 4, 4)
    with torch.no_grad():
        found, turned = (hybrid.transformer(each) for each in (features, features.flip(side)))
    assert float((turned.flip(side) - found).abs().max()) > 0.1  # attention alone sees a set


def test_aspp_reaches_exactly_as_far_as_6_12_and_18_cells() -> None:
    aspp = ASPP(4, 8, (6, 12, 18), 0.0).eval()
    image = torch.zeros(1, 4, 41, 41)
    image[..., 20, 20] = 1.0
    reaches = []
    for branch in aspp.dilated:
        with torch.no_grad():
            conv = branch[0]
            nn.init.ones_(conv.weight)
            hit = conv(image)[0, 0].nonzero() - 20
        reaches.append(sorted({abs(int(step)) for step in hit.flatten()}))
    assert reaches == [[0, 6], [0, 12], [0, 18]]


def test_a_gate_lets_through_a_share_that_the_deeper_map_decides() -> None:
    gate = AttentionGate(8)
    nn.init.normal_(gate.mask.weight, std=2)
    skip, deeper = torch.rand(1, 8, 6, 6) + 0.5, torch.randn(1, 8, 6, 6)
    share = (gate(skip, deeper) / skip).detach()
    assert 0 < float(share.min()) < float(share.max()) < 1
    torch.testing.assert_close(share, share[:, :1].expand_as(share))  # one mask for all channels
    assert not torch.allclose(share, gate(skip, -deeper) / skip)


def test_a_gate_decides_what_joins_and_without_one_all_does() -> None:
    gated, plain = (Join(8, gated=gated).eval() for gated in (True, False))
    plain.load_state_dict({n: v for n, v in gated.state_dict().items() if "gate" not in n})
    earlier, deeper = torch.randn(2, 8, 8, 8), torch.randn(1, DIM, 4, 4).expand(2, -1, -1, -1)
    with torch.no_grad():
        gated.gate.mask.bias.fill_(100.0)
        torch.testing.assert_close(gated(earlier, deeper), plain(earlier, deeper))
        gated.gate.mask.bias.fill_(-100.0)
        shut = gated(earlier, deeper)
        torch.testing.assert_close(shut[0], shut[1])
        assert not torch.allclose(*plain(earlier, deeper))


@pytest.mark.parametrize(
    ("flag", "part"),
    [("use_gates", AttentionGate), ("use_transformer", nn.TransformerEncoderLayer)],
)
def test_a_part_can_be_left_out(hybrid: Hybrid, flag: str, part: type[nn.Module]) -> None:
    without = create_model(**{flag: False}).eval()
    found = [any(isinstance(each, part) for each in m.modules()) for m in (hybrid, without)]
    assert found == [True, False]
    with torch.no_grad():
        assert without(torch.rand(1, 3, 64, 64)).shape == (1, 5)


def test_new_layers_are_drawn_from_he_s_normal_distribution(hybrid: Hybrid) -> None:
    weights = {**dict(hybrid.named_parameters()), **dict(create_model("simple").named_parameters())}
    drawn = {
        name: weight.detach()
        for name, weight in weights.items()
        if weight.dim() > 1 and weight.numel() > 5_000 and not name.startswith("backbone.")
    }
    assert {"features.2.0.weight", "transformer.blocks.3.self_attn.in_proj_weight"} < drawn.keys()
    for name, weight in drawn.items():
        expected = math.sqrt(2 / weight[0].numel())
        assert abs(float(weight.std()) / expected - 1) < 0.05, name
        share_beyond_2_sigma = float((weight.abs() > 2 * expected).float().mean())
        assert 0.035 < share_beyond_2_sigma < 0.055, name  # normal: 0.0455; uniform: 0


@pytest.mark.parametrize("model_type", ["hybrid", "simple"])
def test_without_high_pass_views_only_the_image_is_seen(model_type: str) -> None:
    model = create_model(model_type, use_high_pass=False, output_stride=32).eval()
    images = torch.rand(2, 3, 64, 64)
    other_views, other_image = images.clone(), images.clone()
    other_views[:, 1:], other_image[:, 0] = torch.rand(2, 2, 64, 64), torch.rand(2, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(model(images), model(other_views))
        assert not torch.allclose(model(images), model(other_image))


def test_dropout_follows_its_argument_and_is_off_in_eval_mode() -> None:
    assert {m.p for m in create_model(dropout_prob=0.7).modules() if isinstance(m, nn.Dropout)} == {
        0.7
    }
    model = create_model("simple", dropout_prob=0.5)
    images = torch.rand(2, 3, 64, 64)
    model.eval()
    assert torch.equal(model(images), model(images))
    model.train()
    assert not torch.equal(model(images), model(images))


def test_every_batch_norm_that_trains_is_affine(hybrid: Hybrid) -> None:
    frozen = {id(m) for stage in hybrid.backbone.frozen for m in stage.modules()}
    norms = [m for m in hybrid.modules() if isinstance(m, nn.BatchNorm2d) and id(m) not in frozen]
    assert len(norms) > 30
    assert all(norm.affine and norm.weight.requires_grad for norm in norms)


@pytest.mark.parametrize(("size", "batch"), [(64, 3), (256, 1), (512, 1)])
def test_any_size_and_batch_gives_logits(hybrid: Hybrid, size: int, batch: int) -> None:
    hybrid.eval()
    with torch.no_grad():
        assert hybrid(torch.rand(batch, 3, size, size)).shape == (batch, 5)


def test_recomputing_blocks_gives_the_same_gradients(hybrid: Hybrid) -> None:
    hybrid.train()
    images, grads = torch.rand(2, 3, 64, 64), []
    state = {name: value.clone() for name, value in hybrid.state_dict().items()}
    for saves in (False, True):
        hybrid.load_state_dict(state)
        hybrid.transformer.saves_memory = saves
        hybrid.zero_grad()
        torch.manual_seed(5)
        hybrid(images).square().sum().backward()
        grads.append(hybrid.transformer.blocks[0].linear1.weight.grad.clone())
    hybrid.transformer.saves_memory = False
    torch.testing.assert_close(grads[0], grads[1])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"num_classes": 1}, "at least 2"),
        ({"dropout_prob": 1.5}, "dropout_prob"),
        ({"model_type": "vgg"}, "hybrid and simple"),
        ({"frozen_stages": 9}, "there are 0 to 5"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        create_model(**arguments)
