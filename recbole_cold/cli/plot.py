"""``recbole-cold plot``: pictures of finished results, of vectors and of feature graphs."""

import io
import math
import sys

from recbole_cold import paths
from recbole_cold.cli.arguments import Arguments, request_of
from recbole_cold.cli.screen import Stop
from recbole_cold.errors import UserError

HELP = """\
recbole-cold plot: pictures of results, and of what methods give to new items

usage: recbole-cold plot DIR [DIR ...] --kind=KIND [--metric=AUC] [--to=FILE]
       recbole-cold plot --model=A,B [--phase=cold] [--key=value ...]
       recbole-cold plot DIR --item=ID [--entry=LABEL] [--seed=N] [--to=FILE]

  With folders of finished runs or comparisons: a picture of their results.
  With methods: trains them up to a phase and draws the ID vectors of new items
  among those of old ones, in the plane of the old ones' two principal
  components.
  With the folder of a finished run of EmerG and an item: heat maps of its
  adjacency matrices, a row per phase and a column per order.

flags of the first form
  --kind=curves      which picture:
    curves           metrics over the phases
    panels           the same, a panel per row with the others grey behind it
    boxes            a metric on batches of scored rows, a box per row and phase
    ridgelines       the same as densities, a panel per phase
    reliability      predicted and real share of clicks, a panel per phase
    cd               mean ranks over data sets and backbones, and which differ
    forest           differences to one row with intervals, a panel per phase
  --metric=AUC       what is drawn
  --to=FILE          a .png, .pdf or .svg; without it DIR/figures/KIND.png, of
                     several folders a new folder in --saved_dir=saved
  --band=users       curves, panels: bands are 95 % intervals over users, over
                     items, or one std over seeds; in splits into sessions it
                     is users, else std
  --batch=128        boxes, ridgelines: rows of a batch; without it those of a
                     training batch
  --against=ROW      cd: the row that gains in the text are over; ItemBias
                     forest: the reference row: ItemBias, Base or matched
  --rope=0.002       cd: a gain up to it does not matter

flags of the second form: those of a run, and
  --phase=cold       cold, warm_a, ...

flags of the third form
  --item=ID          the item, by its name in the data
  --entry=LABEL      which row of the table; the first one that has graphs
  --seed=N           which seed; the first one
  --to=FILE          a .png, .pdf or .svg; without it
                     DIR/figures/graphs-<item>.png

examples
  recbole-cold plot saved/*-compare-* --kind=cd --metric=LogLoss
  recbole-cold plot -m Base,CVAR,CSDM -d ml-100k --phase warm_c
  recbole-cold plot saved/ml-100k-EmerG-20260101-120000 --item=51
"""

_OF_RESULTS = {"kind", "metric", "to", "saved_dir", "against", "rope", "band", "batch"}


def plot(arguments: Arguments) -> int:
    """Draw finished results, vectors of methods, or feature graphs of a finished run."""
    if "item" in arguments.keys:
        return _plot_graphs(arguments)
    if arguments.flags.get("folders") or "kind" in arguments.keys:
        return _plot_results(arguments)
    return _plot_vectors(arguments)


def _plot_results(arguments: Arguments) -> int:
    """Draw the results in some folders, and print what belongs to the picture."""
    from recbole_cold import report
    from recbole_cold.experiment.folders import make_folder
    from recbole_cold.results import load_results, to_plot

    keys, folders = dict(arguments.keys), arguments.flags.get("folders", [])
    unknown = keys.keys() - _OF_RESULTS
    if unknown or not folders:
        raise UserError(
            (f"--{min(unknown)} is no flag of plot with folders; " if unknown else "")
            + "write: recbole-cold plot DIR [DIR ...] --kind="
            + "|".join(report.PLOTS)
            + " [--metric=AUC] [--to=FILE]"
        )
    kind = keys.get("kind", "curves")
    report.plot_of(kind, len(folders))  # a misspelt kind is told before files are read
    given = {name: keys.get(name) for name in ("metric", "against", "band")}
    given |= {"rope": _rope(keys.get("rope")), "batch": _batch(keys.get("batch"))}
    found = [load_results(folder) for folder in folders]
    chosen, asked = to_plot(found, kind, **given)
    shown = [each.shown for each in found]
    if chosen.text is not None:
        print(chosen.text(shown, asked), end="\n\n")
    figure = chosen.draw(shown, asked)  # what cannot be drawn leaves no folder
    if "to" in keys:
        target = paths.expanded(keys["to"])
    elif len(folders) == 1:
        target = paths.absolute(folders[0]) / "figures" / f"{kind}.png"
    else:
        saved = paths.absolute(keys.get("saved_dir", "saved"))
        target = make_folder(f"plot-{kind}", saved) / f"{kind}.png"
    report.save_figure(lambda: figure, target)
    print(target)
    return 0


def _rope(text: str | None) -> float | None:
    try:
        value = None if text is None else float(text)
    except ValueError:
        value = math.nan
    if value is None or 0 <= value < math.inf:
        return value
    raise UserError(f"--rope={text} is no difference; give a number from 0 on, such as 0.002")


def _batch(text: str | None) -> int | None:
    if text is None:
        return None
    if text.isascii() and text.isdigit():
        return int(text)
    raise UserError(f"--batch={text} is no number of rows; give one such as 128")


def _plot_graphs(arguments: Arguments) -> int:
    """Draw the feature graphs of one item of a finished run."""
    from recbole_cold import report
    from recbole_cold.experiment.folders import find_graphs
    from recbole_cold.graphs import load_graphs

    keys, folders = dict(arguments.keys), arguments.flags.get("folders", [])
    unknown = keys.keys() - {"item", "entry", "seed", "to"}
    if unknown or len(folders) != 1 or "item" not in keys:
        raise UserError(
            (f"--{min(unknown)} is no flag of plot; " if unknown else "")
            + "write: recbole-cold plot DIR --item=ID [--entry=LABEL] [--seed=N] [--to=FILE]"
        )
    folder, item = paths.absolute(folders[0]), keys["item"]
    label, seed, path = find_graphs(folder, keys.get("entry"), keys.get("seed"))
    name = "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in item)
    target = paths.expanded(keys.get("to", folder / "figures" / f"graphs-{name}.png"))
    told = f"{report.load(folder / 'results.json')['dataset']}, {label}, seed {seed}"
    report.plot_graphs(load_graphs(path), item, target, told)
    print(target)
    return 0


def _plot_vectors(arguments: Arguments) -> int:
    """Train methods up to a phase and draw the vectors that their items are served with."""
    import numpy as np

    from recbole_cold import report
    from recbole_cold.errors import Interrupted
    from recbole_cold.experiment.experiment import Experiment
    from recbole_cold.experiment.folders import make_folder
    from recbole_cold.store import write_bytes

    keys = dict(arguments.keys)
    phase = keys.pop("phase", "cold")
    with Stop().listening() as stop:
        experiment = Experiment(request_of(arguments._replace(keys=keys)), stop=stop)
        experiment.prepare()
        try:
            panels = [experiment.vectors(entry, phase) for entry in experiment.entries]
        except (Interrupted, KeyboardInterrupt):
            print("interrupted", file=sys.stderr)
            return 130
    config = experiment.first()
    name = f"{config.dataset}-{config.backbone_name}-{phase}"
    folder = make_folder(f"plot-{name}", config["saved_dir"])
    title = f"{config.dataset}, {config.backbone_name}, {phase}, seed {config['seed']}"
    arrays = {f"{p.label}/{kind}": getattr(p, kind) for p in panels for kind in ("old", "new")}
    with io.BytesIO() as buffer:
        np.savez_compressed(buffer, **arrays)
        write_bytes(folder / "vectors.npz", buffer.getvalue())
    report.plot_vectors(panels, title, folder / "vectors.png")
    print(f"{title}\nmean of new items' vectors from that of old ones, in deviations of old ones")
    wide = max(len(panel.label) for panel in panels)
    for panel in panels:
        print(f"  {panel.label:<{wide}}  {report.mean_distance(panel):.3f}")
    print(f"picture  {folder / 'vectors.png'}\nvectors  {folder / 'vectors.npz'}")
    return 0
