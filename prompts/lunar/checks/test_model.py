"""The contract of the step model: what the network answers, learns and leaves alone."""

import ast
import math
import re

import numpy as np
import pytest

STAGES = ("stem", "layer1", "layer2", "layer3", "layer4")
FROZEN, THAWED = STAGES[:3], STAGES[3:]
PATIENCE_S = 90  # a forward pass takes 0.2 s, and ten times that on a busy machine
DEVICE = re.compile(r"(cuda|mps|xpu|hip)(:\d+)?")


@pytest.fixture(scope="session")
def stages(candidate):
    return candidate.ask("probes_model.stages", PATIENCE_S)


@pytest.fixture(scope="session")
def default_dropout(candidate):
    return candidate.ask("probes_model.dropout", PATIENCE_S, probability=None)


@pytest.fixture(scope="session")
def step(candidate):
    return candidate.ask("probes_model.training_step", PATIENCE_S)


@pytest.fixture(scope="session")
def imagenet(candidate, fresh):
    """Return what became of pretrained weights, and the value that all of them had."""
    value = fresh("imagenet").uniform(0.01, 0.02)
    return candidate.ask("probes_model.pretrained", PATIENCE_S, value=value), value


@pytest.fixture(scope="session")
def layers(candidate):
    return candidate.ask("probes_model.samples", PATIENCE_S, count=4096)["layers"]


@pytest.fixture(scope="session")
def network(candidate, fresh):
    """Return the answers to images of all promised sizes, and the number of classes."""
    classes = fresh("network").randint(6, 40)
    return candidate.ask("probes_model.sizes", PATIENCE_S, kind="hybrid", classes=classes), classes


# backbone


@pytest.mark.requirement("backbone", grade="introspected")
@pytest.mark.about("model.py", r"resnet")
def test_the_stages_of_resnet50_drive_the_logits(stages, evidence):
    moved = stages["moved"]
    missing = [name for name in STAGES if name not in moved]
    idle = [name for name in STAGES if name in moved and not moved[name] > 1e-6]
    if missing:
        evidence(f"{', '.join(missing)} of torchvision's resnet50 (3 channels) not found")
    elif idle:
        evidence(f"the logits do not depend on {', '.join(idle)} of the ResNet-50")
    else:
        evidence("all 5 stages of torchvision's resnet50 are there, and the logits depend on each")
    assert not missing
    assert not idle


@pytest.mark.requirement("backbone", grade="introspected")
@pytest.mark.about("model.py", r"weights|pretrained")
def test_weights_are_loaded_if_they_are_asked_for(imagenet, stages, evidence):
    asked, unasked = imagenet[0]["fetched"], stages["fetched"]
    evidence(
        f"weights were {'' if asked else 'not '}fetched with pretrained=True "
        f"and {'' if unasked else 'not '}without"
    )
    assert asked
    assert not unasked


# frozen


@pytest.mark.requirement("frozen", grade="introspected")
@pytest.mark.about("model.py", r"requires_grad")
def test_a_step_of_the_optimiser_leaves_the_first_layers_alone(step, evidence):
    moved = step["step"]
    missing = [name for name in FROZEN if name not in moved]
    changed = [name for name in FROZEN if moved.get(name, {}).get("weights", 0)]
    still = [name for name in THAWED if name in moved and not moved[name]["weights"]]
    if missing:
        evidence(f"there is no {', '.join(missing)} of a ResNet-50 that could be frozen")
    elif changed:
        evidence(f"one step of AdamW moved weights of {', '.join(changed)}")
    elif still:
        evidence(f"{', '.join(still)} did not move in a step; only the first 3 layers are frozen")
    else:
        evidence("one step of AdamW left stem, layer1, layer2 as they were and moved the others")
    assert not missing
    assert not changed
    assert not still


@pytest.mark.requirement("frozen", grade="introspected")
@pytest.mark.about("model.py", r"def train|\.eval\(\)")
def test_running_statistics_of_the_first_layers_stay_put(step, evidence):
    moved = {
        name: step[when][name]["statistics"]
        for name in FROZEN
        for when in ("step", "modes")
        if step[when].get(name, {}).get("statistics")
    }
    if moved:
        evidence(f"running statistics of {', '.join(moved)} moved in train mode")
    else:
        evidence("running statistics of stem, layer1 and layer2 stayed put in train mode")
    assert not moved


@pytest.mark.requirement("frozen", grade="introspected")
@pytest.mark.about("model.py", r"requires_grad")
def test_the_first_layers_require_no_gradient(step, evidence):
    trainable = {name: step["trainable"].get(name, 0) for name in FROZEN}
    evidence(f"{sum(trainable.values())} parameters of the first 3 layers require a gradient")
    assert not any(trainable.values())


# transformer


@pytest.mark.requirement("transformer", grade="introspected")
@pytest.mark.about("model.py", r"[Aa]ttention|softmax|Transformer")
def test_four_blocks_of_width_512_attend_over_positions(candidate, evidence):
    heads = candidate.ask("probes_model.blocks", PATIENCE_S)["attentions"]
    heads = [head for head in heads if head["matters"]]
    counts = dict.fromkeys((head["tokens"] for head in heads), 0)
    for head in heads:
        counts[head["tokens"]] += 1
    tokens = min(counts, key=lambda each: abs(counts[each] - 4), default=0)
    chain = [head for head in heads if head["tokens"] == tokens]
    widths = sorted({head["width"] or head["inner_width"] or 512 for head in chain})
    blocks = {head["block"] for head in chain if head["block"] is not None}
    narrow = [head for head in chain if head["reached"] != head["positions"]]
    told = f"{len(chain)} blocks with self-attention over {tokens} positions, width "
    told += ", ".join(map(str, widths))
    if blocks and len(blocks) < len(chain):
        told += f", of which {len(blocks)} distinct"
    if narrow:
        told += f"; an output depends on {narrow[0]['reached']} of {narrow[0]['positions']} inputs"
    bare = sum(not head["mlp"] for head in chain)
    lost = sum(not head["added"] for head in chain)
    if bare:
        told += f"; {bare} of them without an MLP after attention"
    if lost:
        told += f"; {lost} of them without x + attention or y + MLP"
    evidence(f"{told}; 4 of width 512 asked")
    assert len(chain) == 4
    assert widths == [512]
    assert len(blocks) in (0, 4)
    assert not narrow
    assert not bare
    assert not lost


# aspp


@pytest.mark.requirement("aspp", grade="introspected")
@pytest.mark.about("model.py", r"dilation|rates")
def test_parallel_convolutions_reach_6_12_and_18(candidate, evidence):
    found = candidate.ask("probes_model.pyramid", PATIENCE_S)["convolutions"]
    by_input = {}
    for each in found:
        reach = each["rows"][-1] if each["rows"] == each["columns"] else None
        is_plain = each["rows"] == [0, reach] and each["matters"]
        by_input.setdefault(each["input"], []).append(reach if is_plain else None)
    rates = [sorted({r for r in group if r}) for group in by_input.values()]
    best = max(rates, key=lambda group: len({6, 12, 18} & set(group)), default=[])
    evidence(f"impulses are heard at distances {best or 'none'} side by side; 6, 12, 18 asked")
    assert {6, 12, 18} <= set(best)


# skip_attention


@pytest.mark.requirement("skip_attention", grade="introspected")
@pytest.mark.about("model.py", r"sigmoid|softmax|mask|gate|skip")
def test_layer2_joins_through_a_learned_mask(candidate, evidence):
    answer = candidate.ask("probes_model.skip", PATIENCE_S)
    assert answer["found"], "there is no layer2 of a ResNet-50 that could join later features"
    products = answer["products"]
    masks = [p for p in products if p["low"] >= -1e-6 and p["high"] <= 1 + 1e-6]
    good = [p for p in masks if p["learned"] and p["differs"] and p["high"] - p["low"] > 1e-4]
    if not answer["joins"]:
        evidence("layer2's output reaches the logits only through layer3")
    elif good:
        low, high = good[0]["low"], good[0]["high"]
        evidence(f"layer2's output passes a learned mask of {low:.2f} to {high:.2f}")
    elif masks:
        evidence("the mask that layer2's output passes does not depend on the image")
    elif products:
        low, high = products[0]["low"], products[0]["high"]
        evidence(f"layer2's output is multiplied by {low:.2f} to {high:.2f}; 0 to 1 asked")
    else:
        evidence("layer2's output joins later features without a mask")
    assert answer["joins"]
    assert good


# he_init


@pytest.mark.requirement("he_init", grade="introspected")
@pytest.mark.about("model.py", r"kaiming|nn\.init")
def test_new_layers_are_drawn_from_he_normal(layers, evidence):
    assert layers, "there is no convolution or linear layer beside the backbone"
    odd = [told for told in map(oddity, layers) if told]
    evidence(odd[0] if odd else f"{len(layers)} new layers: normal, sigma √(2/fan)")
    assert not odd


def oddity(layer):
    """Return what speaks against He's normal distribution, in one line; empty if nothing does."""
    weights, shape = np.asarray(layer["weights"], dtype=np.float64), layer["shape"]
    assert weights.ndim == 1, "the weights of a layer are no numbers"
    area, count, sigma = math.prod(shape[2:]), len(weights), weights.std()
    asked = [math.sqrt(2 / (fan * area)) for fan in (shape[1], shape[0])]  # fan_in, fan_out
    room = 0.02 + 5 / math.sqrt(2 * count)
    told = f"{layer['name']} {'×'.join(map(str, shape))}"
    if count >= 64 and not any(abs(sigma / each - 1) < room for each in asked):
        return f"{told}: sigma {sigma:.4f}, {asked[0]:.4f} asked"
    kurtosis = ((weights - weights.mean()) ** 4).mean() / max(sigma, 1e-12) ** 4
    if count >= 1024 and abs(kurtosis - 3) > 0.1 + 5 * math.sqrt(24 / count):
        return f"{told}: not normal, kurtosis {kurtosis:.1f}, 3.0 asked"
    if layer["bias"] != 0:
        return f"{told}: bias up to {layer['bias']:.3f}, 0 asked"
    return ""


@pytest.mark.requirement("he_init", grade="introspected")
@pytest.mark.about("model.py", r"kaiming|nn\.init")
def test_pretrained_weights_stay_as_they_are(imagenet, evidence):
    answer, value = imagenet
    held = answer["held"] if answer["fetched"] else []
    changed = [each for each in held if max(abs(edge - value) for edge in each) > 1e-6]
    evidence(f"{len(changed)} of {len(held)} pretrained convolutions were initialised anew")
    assert not changed


# dropout


@pytest.mark.requirement("dropout", grade="introspected")
@pytest.mark.about("model.py", r"[Dd]ropout")
def test_dropout_is_three_tenths_unless_asked_otherwise(default_dropout, evidence):
    judge_dropout(default_dropout, 0.3, evidence)


@pytest.mark.requirement("dropout", grade="introspected")
@pytest.mark.about("model.py", r"[Dd]ropout")
@pytest.mark.parametrize("asked", ["fresh", "none"])
def test_dropout_follows_dropout_prob(candidate, challenge, evidence, asked):
    probability = challenge.uniform(0.6, 0.75) if asked == "fresh" else 0.0
    answer = candidate.ask("probes_model.dropout", PATIENCE_S, probability=probability)
    judge_dropout(answer, probability, evidence)


def judge_dropout(answer, asked, evidence):
    shares = [each["share"] for each in answer["shares"]]
    off = [share for share in shares if abs(share - asked) > 0.1]
    told = f"{off[0] if off else np.mean(shares or [0]):.2f} of the values dropped"
    told += f", {asked:.2f} asked; eval mode {'drops, too' if answer['eval_differs'] else 'none'}"
    evidence(told)
    assert not off
    assert not answer["eval_differs"]
    assert answer["train_differs"] == (asked > 0)


@pytest.mark.requirement("dropout", grade="introspected")
@pytest.mark.about("model.py", r"[Dd]ropout")
def test_dropout_is_in_the_blocks_and_before_the_last_layer(default_dropout, evidence):
    inside = [each for each in default_dropout["shares"] if each["in_blocks"]]
    before = len(default_dropout["before_head"])
    evidence(f"{before} dropout before the last layer, {len(inside) - before} in the blocks")
    assert before
    assert len(inside) > before or not default_dropout["attends"]


# batchnorm


@pytest.mark.requirement("batchnorm", grade="introspected")
@pytest.mark.about("model.py", r"BatchNorm|affine|momentum")
def test_new_batch_norms_learn(step, evidence):
    norms = step["norms"]
    dull = [norm for norm in norms if norm["weights"] < 2]
    stiff = [norm for norm in norms if norm["statistics"] < 2]  # mean and variance
    evidence(
        f"{len(norms)} new batch norms, {len(norms) - len(dull)} with weight and bias that learn, "
        f"{len(norms) - len(stiff)} with statistics that move"
    )
    assert norms
    assert not dull
    assert not stiff


@pytest.mark.requirement("batchnorm", grade="introspected")
@pytest.mark.about("model.py", r"Conv2d")
def test_new_convolutions_are_normalised(step, evidence):
    bare = ["×".join(map(str, shape)) for shape in step["bare"]]
    told = f"no batch norm after the convolution {bare[0]}" if bare else "batch norm after each"
    evidence(f"new convolutions: {told}")
    assert not bare


# gpu_ready


@pytest.mark.requirement("gpu_ready")
@pytest.mark.about("model.py", r"def forward")
def test_both_sizes_and_any_batch_give_logits(network, evidence):
    answer, classes = network
    wrong = {size: got for size, got in answer["here"].items() if got != [int(size[0]), classes]}
    logits = answer["logits"]
    assert isinstance(logits, np.ndarray), "the model returns no tensor"
    size, got = next(iter(wrong.items()), ("", ""))
    evidence(f"{size}: {got}" if wrong else f"logits 1×{classes} and 3×{classes} at 256 and 512 px")
    assert logits.shape == (1, classes)
    assert not wrong


@pytest.mark.requirement("gpu_ready", grade="introspected")
@pytest.mark.about("model.py", r"torch\.(arange|zeros|ones|tensor|linspace|empty|eye|rand)")
def test_nothing_stays_on_the_cpu(network, evidence):
    here, gpu = network[0]["here"], network[0]["gpu"]
    wrong = [str(got) for size, got in gpu.items() if got != here[size]]
    evidence(f"on a GPU: {wrong[0]}" if wrong else "a forward pass stays on a (simulated) GPU")
    assert not wrong


@pytest.mark.requirement("gpu_ready")
def test_the_simple_model_answers_too(candidate, challenge, evidence):
    classes = challenge.randint(6, 40)
    answer = candidate.ask("probes_model.sizes", PATIENCE_S, kind="simple", classes=classes)
    wrong = {size: got for size, got in answer["here"].items() if got != [int(size[0]), classes]}
    evidence(f"simple model: {wrong or 'logits for 256 and 512 px'}")
    assert answer["here"]
    assert not wrong


@pytest.mark.requirement("gpu_ready", grade="static")
@pytest.mark.about("model.py", r"cuda|mps")
def test_no_device_is_named(code, evidence):
    named = [told for path in sources(code.folder) for told in devices_of(path)]
    evidence(f"a device is named: {named[0]}" if named else "no device is named")
    assert not named


def sources(folder):
    """Return model.py and what it imports of the same folder."""
    found, waiting = [], ["model"]
    while waiting:
        path = folder / f"{waiting.pop()}.py"
        if path.exists() and path not in found:
            found.append(path)
            for node in ast.walk(ast.parse(path.read_text("utf-8-sig"))):
                names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
                names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
                waiting += [name.rpartition(".")[2] for name in names]
    return found


def devices_of(path):
    tree = ast.parse(path.read_text("utf-8-sig"))
    tried = {i for i in tree.body if isinstance(i, ast.If) and "__main__" in ast.dump(i.test)}
    nodes = outside(tree, tried)
    names = [n for n in nodes if isinstance(n, ast.Constant) and DEVICE.fullmatch(str(n.value))]
    called = [n.func for n in nodes if isinstance(n, ast.Call)]
    calls = [n for n in called if isinstance(n, ast.Attribute) and n.attr == "cuda"]
    return [f"{path.name}:{node.lineno}" for node in [*names, *calls]]


def outside(tree, tried):
    """Return the nodes that lie in no comparison and in none of `tried`, each once."""
    found, waiting = [], [tree]
    while waiting:
        node = waiting.pop()
        if not isinstance(node, ast.Compare) and node not in tried:
            found.append(node)
            waiting += reversed([*ast.iter_child_nodes(node)])
    return found
