"""What a training process has imported when its first optimizer steps are done."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# Seconds of every process, for nothing that a step needs: compilers, metrics of RecBole's that are
# not ours, statistics, pictures, sweeps. Each is imported by who uses it.
LATER = (
    "IPython", "hyperopt", "matplotlib", "onnx", "optuna", "ray", "recbole.quick_start",
    "recbole.trainer", "scipy.linalg", "scipy.stats", "sklearn", "torch._dynamo", "torch._inductor",
    "torch.onnx",
)  # fmt: skip


def test_heavy_packages_wait_for_their_users(tiny_flags):
    """MetaE: a step of second order; by the end of its learning and the first warm phase."""
    code = (
        "import os, sys; from recbole_cold.cli.main import main\n"
        "from recbole_cold.training.optimizers import Optimizers\n"
        "from recbole_cold.training.trainer import Trainer\n"
        "original, steps = Optimizers.step, []\n"
        "def step(self): original(self); steps.append({*sys.modules})\n"
        "Optimizers.step = step\n"
        "warm_up = Trainer.warm_up\n"
        "def last(self, *words):\n"
        "    warm_up(self, *words)\n"
        f"    print('steps', len(steps), *steps[-1] & {set(LATER)}, flush=True)\n"
        "    os._exit(0)\n"
        "Trainer.warm_up = last\n"
        "main(sys.argv[1:])"
    )
    words = [sys.executable, "-c", code, "--model=MetaE", *tiny_flags, "--reference_rows=[]"]
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT)
    first, steps, *imported = done.stdout.splitlines()[-1].split()
    assert first == "steps" and int(steps) > 3, done.stdout + done.stderr
    assert imported == []
