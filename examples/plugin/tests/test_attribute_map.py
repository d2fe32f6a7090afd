"""What every method promises, inherited, and what this one does, restated."""

import torch
from attribute_map.attribute_map import AttributeMap

from recbole_cold.testing import MethodConformance


class TestAttributeMap(MethodConformance):
    method = AttributeMap
    trains = {"map"}  # everything else keeps still, the backbone first of all
    trains_warm = set()
    backbones = ("DeepFM", "DCN")

    def test_a_cold_row_is_a_weighted_sum_of_side_information(self, bench):
        """One number at a time, in float64: ``v_k = b_k + sum_j W_kj s_j``."""
        method = bench.kept("DeepFM").method
        weight, bias = (p.detach().double() for p in method.map.parameters())
        side = method.side_vectors().double()
        with torch.no_grad():
            rows = method.cold_vectors()
        for row, i in enumerate(method.new_ids.tolist()):
            for k in range(method.embedding_size):
                terms = [float(weight[k, j] * side[i, j]) for j in range(side.shape[1])]
                assert abs(float(rows[row, k]) - (float(bias[k]) + sum(terms))) < 1e-5
