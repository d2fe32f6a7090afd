"""What a training process has imported when its first optimizer steps are done."""

from defects import defect

TESTS = "tests/cli/test_start_up.py"
TEST = "test_heavy_packages_wait_for_their_users"
DEFECTS = {
    "recbole_cold/compat.py": [
        defect("RecBole's metrics bring scikit-learn", "if name in sys.modules:\n        yield",
               "if True:\n        yield", TEST),
    ],
    "recbole_cold/training/optimizers.py": [
        defect("torch's Adam brings a compiler", "FusedAdam(dense, lr=rate, betas=betas,",
               '__import__("torch").optim.Adam(dense, lr=rate, betas=betas,', TEST),
    ],
    "recbole_cold/data/vectors.py": [
        defect("scipy.linalg for data without vectors", "from functools import cached_property\n",
               "from functools import cached_property\nimport scipy.linalg\n", TEST),
    ],
}  # fmt: skip
