"""A scorer as files that need neither RecBole nor this package: scorer.pt2 and scorer.onnx.

Each file is asked for the scores of given rows before it counts as written.
"""

import importlib.util
import logging
import platform
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from recbole_cold.errors import UserError, told
from recbole_cold.paths import sha256
from recbole_cold.serving.graph import OUTPUT, Feed, Input, Scorer
from recbole_cold.store import whole_file, write_bytes

FORMAT_VERSION = 1
ONNX_PACKAGES = ("onnx", "onnxruntime", "onnxscript")
# A protocol buffer holds no more, and the graph needs a little of it.
MOST_ONNX_BYTES = 2**31 - 2**24
# Rows and lengths of the example that is traced; sizes of 0 and 1 would be taken for constants.
_ROWS, _LENGTH = 4, 3

Answers = Callable[[Feed], Tensor]  # inputs by name -> probabilities [b]


class Format(NamedTuple):
    """One kind of file.

    Attributes:
        file: its name.
        reader: the module whose text is a stand-alone reader of it.
        limit: the largest difference of a probability that it may have.
        packages: what writing and checking it needs beyond torch.
        write: writes a traced scorer to a path; what the description says of it.
        load: reads a file; a function from inputs by name to probabilities [b].
    """

    file: str
    reader: str
    limit: float
    packages: tuple[str, ...]
    write: Callable[[Scorer, Any, Path], dict[str, Any]]
    load: Callable[[Path, Sequence[Input]], Answers]


# ------------------------------------------------------------------------------- tracing
@contextmanager
def _quiet() -> Iterator[None]:
    """Torch's exporters warn of their own code, and of packages that nobody needs here."""
    registration = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = registration.level
    registration.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        registration.setLevel(level)


def _dimensions(each: Input) -> dict[int, torch.export.Dim]:
    names = enumerate(each.shape)
    return {axis: torch.export.Dim(word) for axis, word in names if isinstance(word, str)}


def traced(scorer: Scorer) -> Any:
    """The scorer as torch.export's program, for any number of rows and any length of sequences.

    Raises:
        UserError: its forward pass cannot be traced.
    """
    sizes = [[_size(axis) for axis in each.shape] for each in scorer.inputs]
    example = tuple(
        torch.zeros(size, dtype=getattr(torch, each.dtype))
        for size, each in zip(sizes, scorer.inputs, strict=True)
    )
    shapes = (tuple(_dimensions(each) for each in scorer.inputs),)
    try:
        with _quiet(), torch.no_grad():
            program = torch.export.export(scorer, example, dynamic_shapes=shapes, strict=False)
    except Exception as error:  # whatever torch makes of a model that it cannot trace
        raise UserError(
            f"backbone '{scorer.backbone}' cannot be exported: torch.export does not follow its "
            f"forward pass ({told(error).split('. ')[0]}); score with `recbole-cold predict`"
        ) from error
    for module in program.graph_module.modules():
        for node in getattr(getattr(module, "graph", None), "nodes", ()):
            node.meta.pop("stack_trace", None)  # names the folders of this machine
    return program


def _size(axis: str | int) -> int:
    if isinstance(axis, int):
        return axis
    return _ROWS if axis == "batch" else _LENGTH


# ------------------------------------------------------------------------------- scorer.pt2
def _write_pt2(_scorer: Scorer, program: Any, path: Path) -> dict[str, Any]:
    with _quiet(), whole_file(path) as file:
        torch.export.save(program, file)
    return {}


def _load_pt2(path: Path, inputs: Sequence[Input]) -> Answers:
    with _quiet():
        module = torch.export.load(path).module()

    def answer(feed: Feed) -> Tensor:
        with torch.no_grad():
            found: Tensor = module(*(feed[each.name] for each in inputs))
        return found

    return answer


# ------------------------------------------------------------------------------- scorer.onnx
def _write_onnx(scorer: Scorer, program: Any, path: Path) -> dict[str, Any]:
    state = scorer.state_dict().values()
    size = sum(tensor.numel() * tensor.element_size() for tensor in state)
    if size > MOST_ONNX_BYTES:
        raise UserError(
            f"the scorer has {size / 1e9:.1f} GB of weights and an ONNX file holds 2 GB; export it "
            "with --format=pt2, or without its vectors (--bake=off)"
        )
    with _quiet():
        model = torch.onnx.export(
            program,
            dynamo=True,
            input_names=[each.name for each in scorer.inputs],
            output_names=[OUTPUT],
            external_data=False,
            verbose=False,
        ).model_proto
    for owner in (model.graph, *model.functions):
        for node in owner.node:
            del node.metadata_props[:]
    write_bytes(path, model.SerializeToString())
    (opset,) = (each.version for each in model.opset_import if each.domain in ("", "ai.onnx"))
    return {"opset": opset}


def _load_onnx(path: Path, _inputs: Sequence[Input]) -> Answers:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    # By name: an optimiser may have dropped inputs that move nothing.
    names = [each.name for each in session.get_inputs()]

    def answer(feed: Feed) -> Tensor:
        (found,) = session.run([OUTPUT], {name: feed[name].numpy() for name in names})
        return torch.from_numpy(found)

    return answer


FORMATS = {
    "pt2": Format("scorer.pt2", "score_pt2", 1e-6, (), _write_pt2, _load_pt2),
    "onnx": Format("scorer.onnx", "score_onnx", 1e-5, ONNX_PACKAGES, _write_onnx, _load_onnx),
}


# ------------------------------------------------------------------------------- all of it
def check_formats(formats: Sequence[str], known: Sequence[str] = tuple(FORMATS)) -> None:
    """Raise a ``UserError`` for a format that is unknown or that lacks a package, before any work.

    Args:
        formats: keys of ``FORMATS``.
        known: what there is to choose from, for the message.
    """
    for name in formats:
        if name not in FORMATS:
            raise UserError(f"format '{name}' is unknown; it is one of {', '.join(known)}")
        lacking = [
            each for each in FORMATS[name].packages if importlib.util.find_spec(each) is None
        ]
        if lacking:
            raise UserError(
                f"--format={name} needs {', '.join(FORMATS[name].packages)}, of which "
                f"{', '.join(lacking)} cannot be imported; install them with "
                f"`pip install 'recbole-cold[{name}]'`"
            )


def loaded(name: str, folder: Path, scorer: Scorer) -> Answers:
    """The answers of an exported file, by the runtime that its format is for.

    Args:
        name: the format.
        folder: where its file is.
        scorer: what was written there, for the order of its inputs.
    """
    return FORMATS[name].load(folder / FORMATS[name].file, scorer.inputs)


def parity(answers: Answers, feed: Feed, expected: Tensor) -> float:
    """The largest difference between what an exported file answers and what is right.

    Args:
        answers: of the file (``loaded``).
        feed: inputs by name, at least one row.
        expected: probabilities [b] of the method itself.
    """
    found = answers(feed)
    if found.shape != expected.shape:
        return float("inf")
    difference = (found.double() - expected.cpu().double()).abs().max()
    return float(difference.nan_to_num(nan=float("inf")))


def write_scorer(
    scorer: Scorer, folder: Path, formats: Sequence[str], feed: Feed, expected: Tensor
) -> dict[str, Any]:
    """Write the files of ``formats``, with a stand-alone reader of each, and check every one.

    Args:
        scorer: the network.
        folder: where the files go.
        formats: keys of ``FORMATS``.
        feed: inputs by name (``Scorer.feed``) of the rows of the check.
        expected: their probabilities [b] by the method itself.

    Returns:
        The description, to be written as export.json beside them.

    Raises:
        UserError: a package is missing, the network cannot be traced, or a file's probabilities
            differ by more than its limit. Nothing is left then.
    """
    check_formats(formats)
    program, files = traced(scorer), {}
    folder.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    try:
        for name in formats:
            kind = FORMATS[name]
            written += [folder / kind.file, folder / f"{kind.reader}.py"]
            said = kind.write(scorer, program, folder / kind.file)
            difference = parity(loaded(name, folder, scorer), feed, expected)
            if difference > kind.limit:
                raise UserError(
                    f"{kind.file} gives probabilities that differ by {difference:.1e} from those "
                    f"of the model ({scorer.backbone}), more than {kind.limit:.0e}, and is not "
                    "kept; score with `recbole-cold predict`"
                )
            text = Path(__file__).with_name(f"{kind.reader}.py").read_bytes()
            write_bytes(folder / f"{kind.reader}.py", text)
            files[name] = {
                "file": kind.file,
                "sha256": sha256(folder / kind.file),
                "rows_checked": len(expected),
                "largest_difference": difference,
                "limit": kind.limit,
                **said,
            }
    except BaseException:
        for path in written:
            path.unlink(missing_ok=True)
        raise
    return description(scorer, files)


def description(scorer: Scorer, files: Mapping[str, Any]) -> dict[str, Any]:
    """What a reader must know of a scorer, ready for json.

    Args:
        scorer: the network.
        files: by format, what is known of its file.
    """
    return {
        **heading(files),
        "backbone": scorer.backbone,
        "id_field": scorer.id_field,
        "embedding_size": scorer.embedding_size,
        "bake": "on" if scorer.baked else "off",
        "inputs": [asdict(each) for each in scorer.inputs],
        "output": {"name": OUTPUT, "dtype": "float64", "shape": ["batch"]},
    }


def heading(files: Mapping[str, Any]) -> dict[str, Any]:
    """What stands in every export.json, one without a scorer too."""
    return {
        "format_version": FORMAT_VERSION,
        "files": dict(files),
        "versions": _versions("recbole-cold", "recbole", "torch", "numpy", *ONNX_PACKAGES),
    }


def _versions(*packages: str) -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # an extra that is not installed
            continue
    return found
