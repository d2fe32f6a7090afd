"""Content vectors on the training device, and their scale by what may be seen.

The vectors stay as they were stored: on a CPU they are the pages of the mapped file, shared by all
models and processes. What models read is made from them row by row: the mean over the seen vectors
is taken off, and one factor brings the seen coordinates to root mean square 1, so that neither the
unit nor a common offset of the vectors matters, and their angles stay.
Shape letters: n codes, m width of the vectors, d size of a projection.
"""

from collections import OrderedDict
from functools import cached_property
from typing import Any

import numpy as np
import torch
from recbole.utils import FeatureType
from torch import Tensor

from recbole_cold.data._vectors import missing
from recbole_cold.data._visible import parts_of

_CHUNK = 1 << 14  # vectors in single precision at a time
_SAMPLE = 10_000  # seen vectors whose principal directions are taken
_BEYOND = 1e15  # beyond it the square of a length is inf
_MOST_SCALES = 16  # of splits that are kept


class Vectors:
    """The vectors of one field and, of each code, whether it has one.

    Args:
        field: the name of the field.
        values: float16 or float32 [n, m]; rows of zeros are missing vectors.
        codes: int64 [n, 1]: where each item's (user's, row's) vector is, 0 if it is missing.
        shift: the row of ``values`` of code c is ``c - shift``.
    """

    def __init__(self, field: str, values: Tensor, codes: Tensor, shift: int = 0) -> None:
        self.field, self.values, self.codes, self.shift = field, values, codes, shift
        self._scales: OrderedDict[str, Scaled] = OrderedDict()

    @property
    def width(self) -> int:
        """m."""
        return self.values.shape[1]

    def __deepcopy__(self, memo: dict[int, Any]) -> "Vectors":
        return self  # never written to: copies of a model share it

    def raw(self, code: Tensor) -> Tensor:
        """The vectors of codes as they were given, zeros for code 0: [..., m], float32."""
        return self.at(code) * (code != 0)[..., None]

    def at(self, code: Tensor) -> Tensor:
        """As ``raw``, but anything for code 0; a tensor of the caller's own."""
        place = (code.reshape(-1) - self.shift).clamp(min=0)
        rows = self.values.index_select(0, place)
        return rows.to(torch.float32, copy=False).view(*code.shape, self.width)

    def scaled(self, dataset: Any) -> "Scaled":
        """The vectors on the scale of those that the training part of a split has seen.

        Args:
            dataset: a ``ColdStartDataset`` with a split: the users and items of its part ``train``,
                or for a field of interactions its rows, are seen.
        """
        key = dataset.split.hash
        if key not in self._scales:
            if len(self._scales) >= _MOST_SCALES:
                self._scales.popitem(last=False)
            self._scales[key] = Scaled(self, self._seen(dataset))
        return self._scales[key]

    def _seen(self, dataset: Any) -> Tensor:
        """The codes [s] of all seen vectors."""
        ids = parts_of(dataset)[dataset.field2source[self.field].value].seen
        code = self.codes[torch.from_numpy(ids.astype(np.int64)).to(self.codes.device), 0].long()
        return code[code != 0]


class Scaled:
    """Vectors with the mean of the seen ones taken off, and seen coordinates of size 1.

    Args:
        vectors: the vectors as given.
        seen: int64 [s], codes of vectors that may be seen; none of them is 0.
    """

    def __init__(self, vectors: Vectors, seen: Tensor) -> None:
        self.vectors, self._seen = vectors, seen
        device, width, total = seen.device, vectors.width, max(len(seen), 1)
        mean = torch.zeros(width, dtype=torch.float64, device=device)
        for part in seen.split(_CHUNK):
            mean += vectors.raw(part).sum(dim=0, dtype=torch.float64)
        self.mean = (mean / total).float()
        square, longest = torch.zeros(2, dtype=torch.float64, device=device)
        for part in seen.split(_CHUNK):
            squares = (vectors.raw(part) - self.mean).double().square().sum(dim=1)
            square = square + squares.sum()
            longest = torch.cat([squares, longest[None]]).max()
        size = float(square / (total * width)) ** 0.5
        # Equal vectors differ by nothing but rounding, which is not to be blown up.
        tiny = 1e-6 * float(self.mean.abs().max())
        self.factor = 1.0 / size if size > tiny else 1.0
        # A little more, so that no rounding shortens what was seen.
        self.longest = 1.001 * self.factor * float(longest) ** 0.5 or width**0.5
        self._beyond = False
        self._size_n = self._sizes()

    def _sizes(self) -> Tensor:
        """The factor of each code [n], 0 for code 0; less for a vector beyond the longest."""
        n = len(self.vectors.values) + self.vectors.shift
        code = torch.arange(n, device=self.mean.device)
        size_n = torch.zeros(n, device=self.mean.device)
        for part in code.split(_CHUNK):
            centred = self.vectors.at(part).sub_(self.mean)
            self._beyond |= bool((centred.abs() > _BEYOND).any())
            length = torch.linalg.vector_norm(centred.clamp_(-_BEYOND, _BEYOND), dim=1)
            longer = (length * self.factor).clamp(min=self.longest) / self.longest
            size_n[part] = self.factor / longer
        size_n[0] = 0.0
        return size_n

    @property
    def width(self) -> int:
        """m."""
        return self.vectors.width

    def __call__(self, code: Tensor) -> Tensor:
        """The vectors of codes, zeros for code 0: [..., m], float32.

        One that is longer than all that were seen is made as long as the longest of them.
        """
        return self._centred(code) * self._size_n[code][..., None]

    def projected_raw(self, raw_bm: Tensor, mean_m: Tensor, weight_md: Tensor) -> Tensor:
        """As ``projected``, of vectors as they are given and not by their codes: [b, d].

        In the same order, so that the sums are the same to the last bit: a model may take the
        logarithm of what is nearly zero.

        Args:
            raw_bm: float32, zeros where a vector is missing.
            mean_m: ``self.mean``, on the device of the vectors.
            weight_md: the projection.
        """
        centred_bm = (raw_bm - mean_m).clamp(-_BEYOND, _BEYOND)
        length_b1 = torch.linalg.vector_norm(centred_bm, dim=1, keepdim=True)
        longer_b1 = (length_b1 * self.factor).clamp(min=self.longest) / self.longest
        present_b1 = (raw_bm != 0).any(dim=1, keepdim=True)
        return centred_bm @ weight_md * (self.factor / longer_b1 * present_b1)

    def projected(self, code: Tensor, weight_md: Tensor) -> Tensor:
        """``self(code) @ weight_md``, without a pass over the vectors for their sizes: [..., d]."""
        size = self._size_n[code][..., None].to(weight_md.dtype)
        return self._centred(code).to(weight_md.dtype) @ weight_md * size

    def _centred(self, code: Tensor) -> Tensor:
        centred = self.vectors.at(code).sub_(self.mean)
        return centred.clamp_(-_BEYOND, _BEYOND) if self._beyond else centred

    @cached_property
    def _directions(self) -> tuple[Tensor, Tensor]:
        """Variances [m] of the seen vectors and their directions [m, m], the largest first.

        The sign of a direction makes its largest number positive.
        """
        from scipy import linalg

        step = max(1, -(-len(self._seen) // _SAMPLE))
        sample = self(self._seen[::step]).cpu()
        spread = (sample.T @ sample / max(len(sample), 1)).double().numpy()
        variance, direction = linalg.eigh(spread)
        variance, direction = variance[::-1].clip(min=0.0), direction[:, ::-1]
        at = np.abs(direction).argmax(axis=0)
        direction = direction * np.sign(direction[at, np.arange(len(at))])
        return torch.from_numpy(variance.copy()), torch.from_numpy(direction.copy())

    def principal(self, size: int) -> Tensor:
        """A projection [m, d] onto the principal directions of the seen vectors.

        A seen vector's image has coordinates of root mean square 1, all d together. Directions in
        which the seen vectors do not vary give zeros.
        """
        variance, direction = (part[..., :size] for part in self._directions)
        projection = torch.zeros(self.width, size, dtype=torch.float64)
        total = float(variance.sum())
        if total > 0.0:
            real = variance > 1e-10 * variance[0]
            projection[:, : len(variance)] = direction * real * (size / total) ** 0.5
        return projection.float()


def vectors_of(
    field: str, values: Tensor, lacking: np.ndarray, *, by_row: bool, device: torch.device
) -> Vectors:
    """The ``Vectors`` of a matrix [n, m] by code, padding first, or by row number.

    Args:
        field: the name of the field.
        values: the matrix on the device.
        lacking: which rows of it are missing vectors.
        by_row: whether row r of the matrix is that of interaction r; its code is then r + 1.
        device: where codes are kept.
    """
    codes = np.where(lacking, 0, np.arange(len(lacking), dtype=np.int64) + by_row)
    return Vectors(field, values, torch.from_numpy(codes)[:, None].to(device), int(by_row))


def described(dataset: Any, field: str) -> str:
    """Width, dtype and gaps of a field of content vectors, in words."""
    tables = (dataset.inter, dataset.user_table, dataset.item_table)
    matrix = next(table[field] for table in tables if field in table)
    # Users and items have a row of padding in front.
    lacking = int(missing(matrix[0 if field in dataset.inter else 1 :]).sum())
    told = f"vector of {matrix.shape[1]:,} numbers, {matrix.dtype}"
    return told + (f", {lacking:,} missing" if lacking else "")


def vector_fields(dataset: Any) -> list[str]:
    """The fields of a ``ColdStartDataset`` that are content vectors."""
    return [field for field, kind in dataset.field2type.items() if kind == FeatureType.FLOAT_SEQ]
