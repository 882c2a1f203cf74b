"""What holds whatever comes. Hypothesis draws the examples, the same ones every time (see conftest.py)."""

import collections
import io
import itertools
import json
import math
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import ROOT, load_params
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from sklearn import metrics as sklearn_metrics

from facemask.core.errors import UserError
from facemask.core.files import write_json
from facemask.core.params import Section
from facemask.data.archive import Archive
from facemask.data.augmentation import Augment, alter
from facemask.data.faces import simple
from facemask.data.near_duplicates import candidates, features
from facemask.data.near_duplicates.search import connected
from facemask.data.sources.synthetic import Synthetic
from facemask.data.splits import SPLITS, Split
from facemask.evaluation import decision, metrics
from stages.__main__ import Params
from stages.split import assign, place

SEEDS = st.integers(0, 2**32 - 1)
ASCII = st.characters(min_codepoint=32, max_codepoint=126)
NUMBERS = {"min_value": -1e6, "max_value": 1e6}


# --- params: example from the types and the limits that params.py declares


def limits(notes: Iterable[Any]) -> dict[str, Any]:
    """What the annotations of a field allow: ge, gt, le, lt, pattern."""
    found = {}
    for note in notes:
        inner = limits(note.metadata) if isinstance(note, FieldInfo) else {}
        names = ("ge", "gt", "le", "lt", "pattern")
        found |= inner | {name: getattr(note, name) for name in names if getattr(note, name, None) is not None}
    return found


def valid(kind: Any, notes: Iterable[Any] = ()) -> st.SearchStrategy:
    """Values that a field of this type and these annotations takes."""
    parts, allowed = get_args(kind), limits(notes)
    match get_origin(kind) or kind:
        case found if found is Annotated:
            return valid(parts[0], parts[1:])
        case found if found in (Union, UnionType):
            return st.one_of([valid(part, notes) for part in parts])
        case found if found is Literal:
            return st.sampled_from(parts)
        case found if found is list:
            return st.lists(valid(parts[0]), max_size=3)
        case found if found is dict:
            return st.dictionaries(valid(parts[0]), valid(parts[1]), max_size=3)
        case found if issubclass(found, BaseModel):
            fields = found.model_fields.items()
            return st.fixed_dictionaries({name: valid(field.annotation, field.metadata) for name, field in fields})
        case found if found is int:
            return st.integers(allowed.get("ge", -(10**6)), min(allowed.get("le", 10**6), allowed.get("lt", 10**6) - 1))
        case found if found is float:
            low, high = allowed.get("ge", allowed.get("gt")), allowed.get("le", allowed.get("lt"))
            return st.floats(
                low,
                high,
                exclude_min="gt" in allowed,
                exclude_max="lt" in allowed,
                allow_infinity=False,
                allow_nan=False,
            )
        case found if "pattern" in allowed:
            return st.from_regex(allowed["pattern"].replace("$", r"\Z"), alphabet=ASCII)
        case found:
            return {str: st.text(max_size=8), bool: st.booleans(), NoneType: st.none()}[found]


def told_apart(classes: dict[str, list[str]]) -> bool:
    """Whether every class has a name, and no name is that of two."""
    names = [{simple(name) for name in (label, *aliases)} for label, aliases in classes.items()]
    alone = sum(map(len, names)) == len(set.union(*names))
    return alone and all(label.strip() and label.isprintable() for label in classes)


@st.composite
def trees(draw: st.DrawFn) -> dict[str, Any]:
    """Whole params trees, with what one value asks of another seen to."""
    tree = draw(valid(Params))
    tree["datasets"] = {name: one for name, one in tree["datasets"].items() if name not in SPLITS}
    assume(any(one["use"] == "split" for one in tree["datasets"].values()))
    fractions = draw(st.tuples(*[st.integers(1, 98)] * len(SPLITS)))
    tree["split"] |= {name: fraction / sum(fractions) for name, fraction in zip(SPLITS, fractions, strict=True)}
    classes = st.dictionaries(st.text(min_size=1, max_size=8), st.lists(st.text()), min_size=2, max_size=3)
    tree["survey"]["classes"] = draw(classes.filter(told_apart))
    tree["decision"]["label"] = draw(st.sampled_from(list(tree["survey"]["classes"])))
    tree["head"]["dropout"] = [draw(st.floats(0, 1, exclude_max=True)) for _ in tree["head"]["units"]]
    if tree["weights"] == "none":
        tree["train_from"] = "input"
    return tree


def load(content: bytes) -> Section:
    Path("params.yaml").write_bytes(content)
    return load_params()


def refusal(content: bytes) -> str:
    """The one line that a file is refused with."""
    with pytest.raises(UserError) as caught:
        load(content)
    line = str(caught.value)
    assert "\n" not in line
    assert line.startswith("params.yaml")
    return line


def dumped(tree: Any) -> bytes:
    return yaml.safe_dump(tree, sort_keys=False).encode()


def with_floats_as_text(node: Any) -> Any:
    """As PyYAML reads 1e-05, for every float at once."""
    if isinstance(node, dict):
        return {key: with_floats_as_text(part) for key, part in node.items()}
    if isinstance(node, list):
        return [with_floats_as_text(part) for part in node]
    return repr(node) if isinstance(node, float) else node


@pytest.mark.slow
@given(trees())
def test_a_valid_tree_comes_back_from_yaml_as_it_was(tree):
    read = load(dumped(tree))
    assert read.model_dump() == tree
    assert load(dumped(read.model_dump())) == read
    assert load(dumped(with_floats_as_text(tree))) == read


COMMITTED = (ROOT / "params.yaml").read_text()


def committed() -> dict[str, Any]:
    """The committed params."""
    return yaml.safe_load(COMMITTED)


def fields(model: type[BaseModel], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], FieldInfo]]:
    """Every key that a params file may hold, by path."""
    for name, field in model.model_fields.items():
        yield (*path, name), field
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from fields(field.annotation, (*path, name))


FIELDS = dict([*fields(Params), *fields(Synthetic, ("datasets", "synthetic"))])


def wrong(kind: Any, notes: Iterable[Any] = ()) -> list[Any]:
    """Values that a field of this type and these annotations does not take."""
    parts, allowed = get_args(kind), limits(notes)
    beyond = [step + allowed[name] for name, step in (("ge", -1), ("gt", 0), ("le", 1), ("lt", 0)) if name in allowed]
    match get_origin(kind) or kind:
        case found if found is Annotated:
            return wrong(parts[0], parts[1:])
        case found if found in (Union, UnionType):
            return [value for value in wrong(parts[0], notes) if value is not None]
        case found if found is str:
            return [None, 1, 0.5, True, [], {}, *(["no match!"] if "pattern" in allowed else [])]
        case found if found is int:
            return [None, "ten", "1", 1.5, True, [], {}, *beyond]
        case found if found is float:
            return [None, "fast", True, math.nan, math.inf, "nan", "-inf", [], {}, *beyond]
        case found if found is bool:
            return [None, "yes please", "true", 1, 0.0, [], {}]
        case found if found is list:
            return [None, "x", 1, {}]
        case _:
            return [None, "x", 1, []]


def replaced(path: tuple[str, ...], value: Any) -> dict[str, Any]:
    """The committed params with one value changed."""
    tree = branch = committed()
    for key in path[:-1]:
        branch = branch[key]
    branch[path[-1]] = value
    return tree


@settings(max_examples=300)
@given(st.sampled_from(sorted(FIELDS)), st.data())
def test_a_value_of_the_wrong_kind_is_refused_by_its_key(path, data):
    value = data.draw(st.sampled_from(wrong(FIELDS[path].annotation, FIELDS[path].metadata)))
    assert f"{'.'.join(path)}: " in refusal(dumped(replaced(path, value)))


SECTIONS = sorted({path[:-1] for path in FIELDS})


@given(st.sampled_from(SECTIONS), st.text(ASCII, min_size=1))
def test_an_unknown_key_is_refused_by_its_name(section, key):
    assume((*section, key) not in FIELDS)
    assert f"{'.'.join((*section, key))} is not a parameter" in refusal(dumped(replaced((*section, key), 1)))


@given(st.sampled_from(sorted(path for path, field in FIELDS.items() if field.is_required())))
def test_a_missing_key_is_named(path):
    tree = branch = committed()
    for key in path[:-1]:
        branch = branch[key]
    del branch[path[-1]]
    assert f"{'.'.join(path)} is missing" in refusal(dumped(tree))


@given(st.binary() | st.text().map(str.encode) | st.text(ASCII).map(lambda text: f"{COMMITTED}\nseed: {text}".encode()))
@example(b"\xff\xfes\0e\0e\0d\0")
@example(b"seed: 2024-13-45")
@example(b"seed: !!int seven")
def test_a_file_that_holds_no_params_is_refused_in_one_line(content):
    try:
        load(content)
    except UserError as error:
        assert "\n" not in str(error)


# --- split

SHARES = st.tuples(*[st.integers(1, 98)] * len(SPLITS)).map(
    lambda fractions: {name: fraction / sum(fractions) for name, fraction in zip(SPLITS, fractions, strict=True)}
)


@st.composite
def faces(draw: st.DrawFn, pure: bool = False, datasets: tuple[str, ...] = ("own",)) -> pd.DataFrame:
    """Faces with their groups; in `pure` groups all have the same label."""
    rows = draw(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 2), st.sampled_from(datasets)), min_size=1))
    assume(any(dataset == "own" for *_, dataset in rows))
    return pd.DataFrame(
        {
            "dataset": dataset,
            "member": f"{SPLITS[label]}/{number}.jpg",
            "label": f"class {group % 3 if pure else label}",
            "group": f"group {group}",
            "sha256": f"{number:064x}",
        }
        for number, (group, label, dataset) in enumerate(rows)
    )


@settings(max_examples=50)
@given(faces(), SHARES, SEEDS, SEEDS)
def test_groups_are_assigned_whole_and_their_order_does_not_matter(table, fractions, seed, order):
    chosen = assign(table, fractions, seed)
    assert chosen.index.equals(table.index)
    assert chosen.isin(SPLITS).all()
    assert len(set(zip(table.group, chosen, strict=True))) == table.group.nunique()
    shuffled = assign(table.sample(frac=1, random_state=order), fractions, seed)
    assert shuffled.sort_index().equals(chosen)


@settings(max_examples=50)
@given(faces(pure=True), SHARES, SEEDS)
def test_every_class_is_split_as_asked_to_within_its_largest_group(table, fractions, seed):
    """No split gets a group too much, so none can lack more than the groups that the two others have too much."""
    counts = pd.crosstab(table.label, assign(table, fractions, seed)).reindex(columns=SPLITS, fill_value=0)
    largest = table.groupby(["label", "group"]).size().groupby("label").max()
    ahead = counts.sub(np.outer(counts.sum(axis=1), list(fractions.values())))
    assert (ahead.max(axis=1) <= largest + 1e-9).all()
    assert (ahead.min(axis=1) >= -2 * largest - 1e-9).all()


DATASETS = {
    name: Synthetic(use=use, source="synthetic", images=30, size=40)
    for name, use in (("own", "split"), ("more", "train"), ("scenes", "test"))
}


@settings(max_examples=50)
@given(faces(datasets=tuple(DATASETS)), SHARES, st.sampled_from(["random", "given"]), SEEDS)
def test_nothing_is_tested_on_what_it_was_trained_on(table, fractions, method, seed):
    datasets = {name: dataset for name, dataset in DATASETS.items() if name in set(table.dataset)}
    try:
        placed, _ = place(table, datasets, Split(method=method, leaked="drop", **fractions), seed)
    except UserError as error:
        assert "datasets.scenes: all of its faces are near-duplicates" in str(error)
        return
    manifest = placed.dropna()
    own, more = manifest[manifest.dataset == "own"], manifest[manifest.dataset == "more"]
    assert len(own[["group", "split"]].drop_duplicates()) == own.group.nunique()
    assert set(own.group) == set(table.group[table.dataset == "own"])
    assert (more.split == "train").all()
    held_out = set(own.group[own.split != "train"])
    assert set(more.member) == set(table.member[(table.dataset == "more") & ~table.group.isin(held_out)])
    seen = set(manifest.group[manifest.split.isin(["train", "validation"])])
    external = table[table.dataset == "scenes"]
    assert set(manifest.member[manifest.split == "scenes"]) == set(external.member[~external.group.isin(seen)])


# --- archives

NAME_PARTS = (
    "..", ".", "", " ", "...", "a", "A", "ß", "ss", "C:", "~", "con", "a.jpg", "\n", "\x07", "..\\..", "\\\\server",
    "%2e%2e", "\N{FULLWIDTH FULL STOP}" * 2, "\N{RIGHT-TO-LEFT OVERRIDE}", "a\0/../b", "__MACOSX", ".DS_Store",
)  # fmt: skip
NAMES = st.lists(st.sampled_from(NAME_PARTS) | st.text(max_size=3), min_size=1, max_size=4).map("/".join)


def packed(members: Iterable[tuple[str, bytes]], method: int = zipfile.ZIP_STORED) -> bytes:
    """A zip of members whose names are written as they are."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in members:
            info = zipfile.ZipInfo("x")
            info.filename, info.compress_type = name, method
            archive.writestr(info, content)
    return file.getvalue()


@pytest.mark.filterwarnings("ignore:Duplicate name")
@settings(max_examples=300)
@given(st.lists(st.tuples(NAMES, st.binary(max_size=8)), max_size=4))
def test_a_member_stays_inside_the_archive_or_is_refused(members):
    Path("photos.zip").write_bytes(packed(members))
    try:
        archive = Archive(Path("photos.zip"))
    except UserError as error:
        assert str(error).startswith(("photos.zip: member '", 'photos.zip: member "'))
        assert str(error).isprintable()
        return
    with archive:
        contents = {name.split("\0")[0]: content for name, content in members}
        for name in archive.names:
            for path in (PurePosixPath(name), PureWindowsPath(name)):
                assert not path.anchor
                assert ".." not in path.parts
            assert archive.read(name) == contents[name]


METHODS = zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA
INTACT = [packed([("é/one.jpg", b"ab" * 40), ("two.jpg", b"two")], method) for method in METHODS]


@settings(max_examples=500)
@given(
    st.sampled_from(INTACT), st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.binary(min_size=1, max_size=4)))
)
@example(INTACT[0], [(0.71875, b"\x80")])  # a name that is not UTF-8
@example(INTACT[3], [(0.7265625, b"\0@")])  # a version of the format that is not known
@example(INTACT[0], [(0.984375, b"\1")])  # a place before the file's beginning
@example(INTACT[2], [(0.5, b"\0")])  # what bzip2 raises
@example(INTACT[3], [(0.46875, b"\0")])  # what LZMA raises
def test_a_damaged_archive_is_read_or_refused_in_one_line(content, damages):
    for where, damage in damages:
        start = int(where * len(content))
        content = content[:start] + damage + content[start + len(damage) :]
    Path("photos.zip").write_bytes(content)
    try:
        with Archive(Path("photos.zip")) as archive:
            assert [name for name, *_ in archive.contents()] == archive.names
    except UserError as error:
        assert str(error).startswith("photos.zip")
        assert "\n" not in str(error)


# --- augmentation


@settings(max_examples=50)
@given(valid(Augment), st.integers(32, 48), SEEDS)
def test_an_altered_copy_is_a_photo_that_depends_on_the_seed_alone(augment, size, seed):
    photo = np.random.default_rng(seed).integers(0, 256, (size, size, 3), np.uint8)
    before = photo.copy()
    copy = alter(photo, Augment(**augment), np.random.default_rng(seed))
    assert (copy.shape, copy.dtype) == (photo.shape, np.uint8)
    assert (photo == before).all()
    assert (copy == alter(photo, Augment(**augment), np.random.default_rng(seed))).all()


# --- near-duplicates


def together(numbers: np.ndarray) -> np.ndarray:
    return numbers[:, None] == numbers[None, :]


PAIRS = st.integers(1, 12).flatmap(
    lambda count: st.tuples(
        st.just(count), st.lists(st.tuples(st.integers(0, count - 1), st.integers(0, count - 1)), max_size=12)
    )
)


@given(PAIRS)
def test_groups_hold_chains_of_pairs_and_nothing_else(known):
    count, pairs = known
    expected = np.eye(count, dtype=bool)
    for left, right in pairs:
        expected[left, right] = expected[right, left] = True
    for _ in range(count):
        expected = expected @ expected
    numbers = connected(count, np.array(pairs, int).reshape(-1, 2))
    assert (together(numbers) == expected).all()


@st.composite
def local_features(draw: st.DrawFn) -> list[np.ndarray]:
    """Those of a few photos, some of which share some, as they are or mirrored."""
    rng = np.random.default_rng(draw(SEEDS))
    base = np.zeros(12, features.FEATURE)
    base["code"] = rng.integers(0, 2**64, len(base), np.uint64)
    base["angle"] = rng.uniform(0, 360, len(base))
    base["size"] = rng.uniform(2, 40, len(base))
    photos = []
    for shared, flip in draw(st.lists(st.tuples(st.integers(0, 12), st.booleans()), max_size=6)):
        photo = features.mirrored(base) if flip else base.copy()
        photo["code"][shared:] = rng.integers(0, 2**64, len(base) - shared, np.uint64)
        photos.append(photo)
    return photos


def compared_one_by_one(photos: list[np.ndarray]) -> set[tuple[int, int, int]]:
    """The candidates by their definition: every pair, every feature."""

    bits = candidates.BITS[0]

    def keys(photo: np.ndarray) -> np.ndarray:
        halves = np.stack([photo["code"] % 2**32, photo["code"] >> np.uint64(32)])
        return np.stack([halves % 2**bits, (halves >> np.uint64(32 - bits)) % 2**bits + 2**32])  # two tables

    entries = collections.Counter(key for photo in photos for key in keys(photo).ravel().tolist())
    found = set()
    for right, left in itertools.product(range(len(photos)), repeat=2):
        for flip, other in enumerate((photos[right], features.mirrored(photos[right]))):
            votes = collections.Counter()
            for one, two in itertools.product(range(len(photos[left])), range(len(other))):
                here, there = photos[left][one], other[two]
                turned = float(np.float32(there["angle"]) - np.float32(here["angle"]))
                scaled = float(np.float32(np.log2(there["size"])) - np.float32(np.log2(here["size"])))
                equal = [a for a, b in zip(keys(here).ravel(), keys(there).ravel(), strict=True) if a == b]
                count = sum(2 if entries[int(key)] <= candidates.RARE else 1 for key in equal)
                for shift, half in itertools.product((0, 0.5), repeat=2):
                    sector = math.floor(turned * candidates.SECTORS / 360 + shift) % candidates.SECTORS
                    votes[shift, half, sector, math.floor(scaled + half)] += count
            if left < right and max(votes.values()) >= candidates.SHARED:
                found.add((left, right, flip))
    return found


@settings(max_examples=25)
@given(local_features())
def test_candidates_are_found_as_if_every_pair_was_compared(photos):
    pairs, expected = candidates.find(photos), compared_one_by_one(photos)
    assert set(map(tuple, pairs.tolist())) <= expected
    found, wanted = (
        together(connected(len(photos), some[:, :2]))
        for some in (pairs, np.array(sorted(expected), int).reshape(-1, 3))
    )
    assert (found == wanted).all()


@settings(max_examples=25)
@given(local_features(), SEEDS)
def test_what_is_verified_does_not_depend_on_which_photo_is_left(photos, seed):
    order = np.random.default_rng(seed).permutation(len(photos))
    pairs = candidates.find(photos)
    again = candidates.find([photos[index] for index in order])
    numbers = connected(len(photos), pairs[:, :2])
    assert (together(numbers[order]) == together(connected(len(photos), again[:, :2]))).all()


# --- scores

FRACTION = st.floats(0, 1, exclude_min=True)


@st.composite
def judged(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, probabilities as a network gives them, and predictions, of two to four classes."""
    classes, photos = draw(st.integers(2, 4)), draw(st.integers(1, 20))
    index = st.lists(st.integers(0, classes - 1), min_size=photos, max_size=photos).map(np.array)
    rows = np.array(draw(st.lists(st.lists(st.floats(0, 8), min_size=classes, max_size=classes),
                                  min_size=photos, max_size=photos)), np.float32)  # fmt: skip
    return draw(index), np.exp(rows) / np.exp(rows).sum(axis=1, keepdims=True), draw(index)


@given(judged(), FRACTION, st.sampled_from([np.float32, np.float64]))
@example((np.array([0]), np.array([[0.1234567, 0.8765433]]), np.array([0])), 1.0, np.float64)
def test_a_threshold_finds_its_fraction_of_what_it_was_read_from_also_when_read_back(example, recall, dtype):
    labels, probabilities, _ = example
    probabilities, positive = probabilities.astype(dtype), labels == 0
    assume(positive.any())
    threshold = decision.threshold_for(positive, probabilities[:, 0], recall)
    write_json(Path("decision.json"), {"threshold": threshold})
    read = json.loads(Path("decision.json").read_text())["threshold"]
    assert read == threshold
    classes = [f"class {index}" for index in range(probabilities.shape[1])]
    decided = decision.decide(probabilities, classes, "class 0", read)
    assert (decided[positive] == 0).mean() >= recall
    assert (probabilities[positive, 0].astype(float) >= threshold + 1.1e-6).mean() < recall


@given(judged(), st.none() | st.floats(0, 1))
def test_a_decision_is_the_argmax_that_the_threshold_leaves(example, threshold):
    _, probabilities, _ = example
    classes = [f"class {index}" for index in range(probabilities.shape[1])]
    decided = decision.decide(probabilities, classes, "class 0", threshold)
    rows = np.arange(len(probabilities))
    if threshold is None:
        assert (probabilities[rows, decided] == probabilities.max(axis=1)).all()
        return
    called = decided == 0
    assert (called == (probabilities[:, 0] >= threshold)).all()
    assert (probabilities[rows, decided] == probabilities[:, 1:].max(axis=1))[~called].all()


@given(judged())
def test_a_summary_says_what_scikit_learn_says(example):
    labels, probabilities, predicted = example
    classes = range(probabilities.shape[1])
    ours = metrics.summary(sklearn_metrics.confusion_matrix(labels, predicted, labels=classes))
    precision, recall, f1, _ = sklearn_metrics.precision_recall_fscore_support(
        labels, predicted, labels=np.unique(labels), average="macro", zero_division=0
    )
    expected = {
        "accuracy": sklearn_metrics.accuracy_score(labels, predicted),
        "balanced_accuracy": recall, "precision": precision, "f1": f1,
    }  # fmt: skip
    assert ours == pytest.approx(expected)


@settings(max_examples=20)
@given(judged(), SEEDS)
def test_the_headline_is_the_summary_and_lies_in_its_interval(example, seed):
    labels, probabilities, predicted = example
    assume(len(np.unique(labels)) > 1)
    names = [f"class {index}" for index in range(probabilities.shape[1])]
    result = metrics.score(labels, probabilities, predicted, np.arange(len(labels)), names, seed)
    summary = metrics.summary(sklearn_metrics.confusion_matrix(labels, predicted, labels=range(len(names))))
    assert {name: result[name] for name in summary} == pytest.approx(summary)
    assert 0 <= result["calibration_error"] <= 1
    json.dumps(result, allow_nan=False)
