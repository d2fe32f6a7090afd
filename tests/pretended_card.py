"""A card for machines that have none: tensors that say they are on it, and are computed here.

Every operation runs on the CPU, on the tensors inside. What CUDA would refuse is refused: operands
on two devices, a numpy array of what is on the card. What would wait for the card is written down
with the line that asked for it. It says nothing about speed, or about sums in another order.
"""

import contextlib
import linecache
import os
import sys
from collections import Counter
from pathlib import Path

import recbole
import torch
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_flatten, tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

import recbole_cold
from recbole_cold import compat

_setup_privateuseone_for_python_backend("card")
CARD = torch.device("card", 0)
aten = torch.ops.aten
# Their folders: a checkout, and what is installed in it, may lie in a folder of the same name.
PACKAGES = {
    each.__name__: f"{Path(each.__file__).parent}{os.sep}" for each in (recbole_cold, recbole)
}
# Their results have a size, or are a number, that only the card knows.
WAITS = {
    "_local_scalar_dense", "nonzero", "masked_select", "equal", "is_nonzero", "_unique2",
    "unique_dim", "unique_consecutive", "bincount",
}  # fmt: skip
# They take indices, or a source, of another device.
MIXED = {"copy_", "_to_copy", "index", "index_put", "index_put_", "_index_put_impl_"}


class OnCard(torch.Tensor):
    """A tensor ``inside`` on the CPU that claims to be on the card."""

    @staticmethod
    def __new__(cls, inside):
        return torch.Tensor._make_wrapper_subclass(
            cls, inside.shape, strides=inside.stride(), storage_offset=inside.storage_offset(),
            dtype=inside.dtype, layout=inside.layout, device=CARD,
        )  # fmt: skip

    def __init__(self, inside):
        self.inside = inside

    def __repr__(self):
        return f"OnCard({self.inside})"

    def numpy(self, *args, **kwargs):
        raise TypeError("can't convert card:0 device type tensor to numpy. Use Tensor.cpu()")

    def __array__(self, *args, **kwargs):
        return self.numpy()

    def tolist(self):
        return self.cpu().tolist()

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return computed(func, args, kwargs or {}, Notes())


class Notes:
    """What was asked of the card, as (operation, line of the package).

    Attributes:
        waits: what it had to be waited for.
        sent: copies from the host, those that nobody waits for among them.
        recorder: is told of each operation, before and after it, while a graph is recorded.
    """

    def __init__(self):
        self.waits, self.sent, self.recorder = [], [], None


def _on_host(value, least=0):
    return (
        isinstance(value, torch.Tensor) and not isinstance(value, OnCard) and value.dim() >= least
    )


def _is_sent(name, args, ours, asked):
    """Whether an operation copies from the host: numbers among operands are none."""
    if name == "_to_copy":
        return not ours and asked is not None and asked.type == "card"
    if name == "copy_":
        return isinstance(args[0], OnCard) and _on_host(args[1])
    if name in ("index", "index_put", "index_put_", "_index_put_impl_"):
        return ours and any(_on_host(each, 1) for each in args[1])
    return False


def computed(func, args, kwargs, notes):
    """The result of an operation on tensors of the card, or of one that makes such."""
    flat = [each for each in tree_flatten((args, kwargs))[0] if isinstance(each, torch.Tensor)]
    ours = any(isinstance(each, OnCard) for each in flat)
    asked = kwargs.get("device")
    asked = None if asked is None else torch.device(asked)
    name = func.overloadpacket.__name__
    if not ours and (asked is None or asked.type != "card"):
        return func(*args, **kwargs)
    if ours and name not in MIXED:
        strangers = [each for each in flat if not isinstance(each, OnCard) and each.dim()]
        if strangers:
            raise RuntimeError(f"{func}: tensors on two devices, card:0 and {strangers[0].device}")

    def inside(value):
        if isinstance(value, OnCard):
            return value.inside
        # A number of the host is part of what is recorded, and is not read again.
        host = notes.recorder is not None and isinstance(value, torch.Tensor)
        return value.clone() if host else value

    inner_args, inner = tree_map(inside, (args, kwargs))
    inner = dict(inner)
    if asked is not None and asked.type == "card":
        inner["device"] = torch.device("cpu")
    mask = name in ("index", "index_put", "index_put_", "_index_put_impl_") and any(
        each is not None and each.dtype in (torch.bool, torch.uint8) for each in args[1]
    )
    moved = name == "_to_copy" and asked is not None and ours != (asked.type == "card")
    copied = name == "copy_" and isinstance(args[0], OnCard) != isinstance(args[1], OnCard)
    free = kwargs.get("non_blocking") or (name == "copy_" and len(args) > 2 and args[2])
    if name in WAITS or mask or ((moved or (copied and args[1].dim())) and not free):
        notes.waits.append((name, where()))
    if _is_sent(name, args, ours, asked):
        notes.sent.append((name, where()))
    if notes.recorder is None:
        out = func(*inner_args, **inner)
    else:
        out = notes.recorder.run(func, inner_args, inner)
    if name == "_to_copy" and asked is not None and asked.type == "cpu":
        return out
    if copied and not isinstance(args[0], OnCard):
        return args[0]
    out = tree_map(lambda x: OnCard(x) if isinstance(x, torch.Tensor) else x, out)
    if name in ("detach", "alias", "lift_fresh"):
        return out
    return return_and_correct_aliasing(func, args, kwargs, out)


def where() -> str:
    """The innermost line of the package or of RecBole, as ``folder/file.py: the line``."""
    frame = sys._getframe()
    while frame is not None:
        path = frame.f_code.co_filename
        for package, folder in PACKAGES.items():
            if path.startswith(folder):
                line = linecache.getline(path, frame.f_lineno).strip()
                return f"{package}/{Path(path[len(folder) :]).as_posix()}: {line}"
        frame = frame.f_back
    return "outside"


class Watching(TorchDispatchMode):
    """Makes tensors on the card where one is asked for, and keeps what was asked of it."""

    def __init__(self):
        super().__init__()
        self.notes = Notes()

    @property
    def waits(self):
        return self.notes.waits

    @classmethod
    def _should_skip_dynamo(cls):
        return False  # True imports the compiler: seconds, and nothing here is compiled

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return computed(func, args, kwargs or {}, self.notes)

    def counted(self) -> Counter:
        return Counter(self.waits)


@contextlib.contextmanager
def pretended_card(patch):
    """Context: every configuration is for the card; gives what was waited for.

    Args:
        patch: a ``MonkeyPatch``.
    """
    patch.setattr(compat, "choose_device", lambda *_: (CARD, ""))
    patch.setattr(torch.cuda, "device", contextlib.nullcontext)
    patch.setattr(torch.Tensor, "pin_memory", lambda self: self)
    # torch.tensor makes its result on the CPU, and sends it.
    before = torch._C._only_lift_cpu_tensors()
    torch._C._set_only_lift_cpu_tensors(True)
    try:
        with Watching() as watching:
            yield watching
    finally:
        torch._C._set_only_lift_cpu_tensors(before)
