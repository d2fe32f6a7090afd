"""What learning costs on top of the plain backbone: each method's ``learn`` and its pre-training.

A row counts once for every batch in which it is used: CVAR uses each batch ten times in a row.
"""

from benchmarks import _common as common
from benchmarks._common import Options, Table
from recbole_cold.registry import methods
from recbole_cold.training.trainer import Trainer


def every_method() -> list[str]:
    """All methods that are installed, the plain backbone first."""
    return ["Base", *(name for name in methods() if name != "Base")]


def verbs_of(method, name: str) -> list[str]:
    """What a method does on top of the others: pre-training of its own, learning."""
    verbs = ["pretrain"] if name == "Base" or method.pretrain_key() else []
    return [*verbs, "learn"] if method.learn_fits() else verbs


def measure(options: Options) -> Table:
    """CPU seconds, rows a second and parameters, as ratios to the plain pre-training epoch."""
    records: dict[tuple[str, str], dict] = {}
    measured: dict[str, object] = {}

    def stage(name: str, verb: str):
        def prepare():
            method = measured[name] = common.method_of(options, name, part=True)
            trainer = Trainer(method, method.config["seed"])

            def run() -> None:
                getattr(trainer, verb)()
                records[name, verb] = trainer.journal["stages"][-1]

            return run

        return prepare

    contestants = {}
    for name in options.models or every_method():
        for verb in verbs_of(common.method_of(options, name, part=True), name):
            contestants[name, verb] = stage(name, verb)
    if ("Base", "pretrain") not in contestants:
        contestants = {("Base", "pretrain"): stage("Base", "pretrain"), **contestants}
    least = common.smallest(common.alternate(contestants, options.repeats))
    speed = {key: records[key]["rows"] / seconds for key, seconds in least.items()}
    plain = "Base", "pretrain"
    rows = []
    for (name, verb), seconds in least.items():
        method, record = measured[name], records[name, verb]
        served = method.new_vectors.numel() + method.new_first_order.numel()
        backbone = sum(parameter.numel() for parameter in method.backbone.parameters())
        everything = sum(parameter.numel() for parameter in method.parameters())
        rows.append(
            [
                f"{name}: {verb}",
                record["steps"],
                record["rows"],
                round(seconds, 2),
                round(speed[name, verb]),
                round(speed[name, verb] / speed[plain], 2),
                round(seconds / least[plain], 2),
                f"{backbone:,} + {everything - backbone - served:,}",
            ]
        )
    n_rows = len(measured["Base"].train_index)
    return Table(
        f"Learning, beside pre-training the plain backbone on {n_rows:,} rows",
        [
            "stage",
            "steps",
            "rows used",
            "CPU s",
            "rows/s",
            "rows/s to plain",
            "CPU to plain epoch",
            "parameters",
        ],
        rows,
        [],
        {},
        [
            "Parameters: of the backbone, or of a network of its own, and of what is on top; rows "
            "of new items are not counted."
        ]
        + (
            []
            if options.full
            else ["Steps on tasks (MetaE, GME) do not shrink with the epoch: use --full."]
        ),
    )
