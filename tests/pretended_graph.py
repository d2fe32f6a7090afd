"""A CUDA graph for machines that have no card: what is asked for is written down, and done again.

While it is recorded nothing happens, as on a card: what was changed is put back, and so is the
generator. A replay does the same operations on the same tensors, on what they hold by then. A step
that read anything else, such as a number of Python that has changed, has other numbers then.
"""

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

# They move running statistics, and their schemas do not say so.
MOVES_STATISTICS = ("native_batch_norm",)


def tensors(values):
    return [each for each in tree_leaves(values) if isinstance(each, torch.Tensor)]


def written(func, args, kwargs):
    """The tensors that an operation changes."""
    if func.overloadpacket.__name__ in MOVES_STATISTICS:
        return tensors(args[3:5])
    found = []
    for place, argument in enumerate(func._schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            value = args[place] if place < len(args) else kwargs.get(argument.name)
            found += tensors(value)
    return found


def at(tensor):
    return tensor.untyped_storage().data_ptr()


class Tape:
    """Operations with what they were given and what they gave.

    Attributes:
        replays: how often they were done again.
    """

    def __init__(self):
        self.calls, self.replays = [], 0
        self._before, self._made = {}, set()

    def run(self, func, args, kwargs):
        """Do an operation and write it down."""
        for each in written(func, args, kwargs):
            if at(each) not in self._made and at(each) not in self._before:
                storage = each.untyped_storage()
                self._before[at(each)] = storage, storage.clone()
        given = {at(each) for each in tensors((args, kwargs))}
        out = func(*args, **kwargs)
        fresh = [each for each in tensors(out) if at(each) not in given]
        self._made.update(at(each) for each in fresh)
        self.calls.append((func, args, kwargs, fresh))
        return out

    def put_back(self):
        for storage, content in self._before.values():
            storage.copy_(content)

    def replay(self):
        self.replays += 1
        for func, args, kwargs, fresh in self.calls:
            given = {at(each) for each in tensors((args, kwargs))}
            again = [each for each in tensors(func(*args, **kwargs)) if at(each) not in given]
            for held, value in zip(fresh, again, strict=True):
                held.copy_(value)


class _Written(TorchDispatchMode):
    """Every operation goes through a tape."""

    def __init__(self, tape):
        super().__init__()
        self._tape = tape

    @classmethod
    def _should_skip_dynamo(cls):
        return False

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return self._tape.run(func, args, kwargs or {})


class PretendedRecorder:
    """As ``CudaRecorder``, of steps on the CPU."""

    def __init__(self):
        self.tape = Tape()

    def aside(self, work):
        return work()

    def record(self, work):
        state = torch.get_rng_state()
        self.recording(work)
        with torch.no_grad():
            self.tape.put_back()
        torch.set_rng_state(state)

    def recording(self, work):
        with _Written(self.tape):
            work()

    def replay(self):
        with torch.no_grad():
            self.tape.replay()


class OfPretendedCard(PretendedRecorder):
    """Of steps on the pretended card; refuses what CUDA refuses in a recording.

    Args:
        notes: those of the card.
    """

    def __init__(self, notes):
        super().__init__()
        self._notes = notes

    def run(self, func, args, kwargs):
        self._refuse()
        return self.tape.run(func, args, kwargs)

    def _refuse(self):
        """Raise if the card was waited for, or sent something, since the recording began."""
        if self._notes.waits or self._notes.sent:
            line = (self._notes.waits + self._notes.sent)[0][1]
            raise RuntimeError(f"operation not permitted when stream is capturing\n{line}")

    def recording(self, work):
        self._notes.waits.clear()
        self._notes.sent.clear()
        self._notes.recorder = self
        try:
            work()
            self._refuse()  # what the last operation did
        finally:
            self._notes.recorder = None
