"""The door: arguments in, exit codes out; the only place that catches our errors.

Exit codes: 0 done; 1 some runs failed; 2 bad input, one sentence on stderr; 130 interrupted.
"""

import contextlib
import io
import logging
import shlex
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from recbole_cold import __version__
from recbole_cold.errors import UserError, WriteError

HELP = """\
recbole-cold: cold-start click-through-rate prediction on RecBole

usage: recbole-cold [run] --model=A,B,C [--backbone=DeepFM] [--dataset=ml-100k] [--key=value ...]
       recbole-cold compare --models=A,B --backbones=FM,DCN [--seeds=5] [--key=value ...]
       recbole-cold compare saved/*
       recbole-cold tune --model=A [--space=FILE] [--grid="key=[a,b]" ...]   (tune --help)
       recbole-cold plot --model=A,B [--phase=cold] | DIR --item=ID          (plot --help)
       recbole-cold check --dataset=NAME [--key=value ...]
       recbole-cold list

  run     train and score methods in the phases cold, warm_a, warm_b, warm_c (the default verb)
  compare methods on backbones: run what is missing, reuse what is there, test against a row
  tune    search the settings of one method on pseudo-new items, then score the best on test
  plot    ID vectors of new items among those of old ones, or a new item's feature graphs (EmerG)
  check   split counts, fields and problems of a data set, without training
  list    methods and backbones by name

flags (any configuration key works as --key=value; RecBole's names and precedence)
  --model=A,B[key=value;key=value]   methods, by name, package.module:Class or path/file.py;
                                     brackets hold what only that row of the table changes
  --backbone=NAME                    any RecBole context model: FM, DeepFM, DCN, PNN, ...
  --dataset=NAME --data_path=DIR     atomic files in DIR/NAME; ml-100k comes with RecBole
  --config_files="a.yaml b.yaml"     later files win; the command line wins over files
  --seeds=5 --seed=2020              repeat everything with seeds 2020 ... 2024
  --protocol=strict|released         as the papers say, or as their released code does
  --warm_steps=N                     the same optimizer steps per warm phase for every method
  --resume[=DIR]                     continue an interrupted run (the newest one without DIR)
  --debug                            show the traceback of an error; --version; --help

compare only
  --against=Base                     the row that tests and RelaImpr are against; or: matched
  --concurrent=N                     trials at a time; --cpus_per_trial, --gpus_per_trial,
                                     --ray_address=auto|HOST:PORT for a running cluster

examples
  recbole-cold --model=Base,DropoutNet,MetaE,MWUF,CVAR --dataset=ml-100k
  recbole-cold --model="MWUF,MWUF[mwuf_parts=[scale]]" --backbone=DCN --seeds=5
  recbole-cold check --dataset=my-data --data_path=. --threshold="{rating: 4}"
"""

TUNE_HELP = """\
recbole-cold tune: search the settings of one method, on Ray

usage: recbole-cold tune --model=A [--backbone=DeepFM] [--dataset=ml-100k] [--key=value ...]

  Settings are chosen on old items that play new ones; the best is then fitted on everything and
  scored on test once. Without --space and --grid: the sweep_space of the method's yaml.

flags (any configuration key works as --key=value and holds for all trials)
  --space=FILE                   yaml (a list is a grid axis; loguniform, uniform, quniform, choice,
                                 randint by name) or RecBole's .hyper lines
  --grid="key=[a,b]"             one more axis; may be given several times
  --samples=N                    draws of the distributions per point of the grid (10)
  --search=grid|random|optuna    walk lists, draw from them, or let optuna choose
  --seeds=N                      trials per setting, and seeds of the final run
  --select_on=mean|cold|warm_a   the phase that --valid_metric is read in; mean over all
  --concurrent=N                 trials at a time; as many as there is room for
  --cpus_per_trial=1 --gpus_per_trial=0.25    shares of a machine
  --scheduler=asha|none          asha stops weak trials between pre-training epochs
  --ray_address=auto|HOST:PORT   a running Ray cluster (docs/sweeps.md)
  --resume[=DIR]                 run what is missing (of the newest sweep without DIR)

examples
  recbole-cold tune --model=MWUF --dataset=ml-100k --seeds=2
  recbole-cold tune --model=CVAR --grid="cvar_iters=[1,5,10]" --grid="learning_rate=[1e-3,1e-2]"
  recbole-cold tune --model=MetaE --space=space.yaml --samples=20 --gpus_per_trial=0.25
"""

PLOT_HELP = """\
recbole-cold plot: pictures of what methods give to new items

usage: recbole-cold plot --model=A,B [--phase=cold] [--key=value ...]
       recbole-cold plot DIR --item=ID [--entry=LABEL] [--seed=N] [--to=FILE]

  With methods: trains them up to a phase and draws the ID vectors of new items among those of old
  ones, in the plane of the old ones' two principal components.
  With the folder of a finished run of EmerG: heat maps of one item's adjacency matrices, a row per
  phase and a column per order.

flags of the first form: those of a run, and
  --phase=cold       cold, warm_a, ...

flags of the second form
  --item=ID          the item, by its name in the data
  --entry=LABEL      which row of the table; the first one that has graphs
  --seed=N           which seed; the first one
  --to=FILE          a .png, .pdf or .svg; without it DIR/figures/graphs-<item>.png

examples
  recbole-cold plot --model=Base,CVAR,AVAEW,CSDM --dataset=ml-100k
  recbole-cold plot saved/ml-100k-EmerG-20260101-120000 --item=51
"""

VERBS = ("run", "compare", "tune", "plot", "check", "list")
DEFAULT_MODELS = "Base,DropoutNet,MetaE,MWUF,CVAR"

logger = logging.getLogger("recbole_cold")


class Arguments(NamedTuple):
    """A parsed command line: the verb, our own flags, and configuration keys."""

    verb: str
    flags: dict[str, Any]
    keys: dict[str, str]


def parse(argv: Sequence[str]) -> Arguments:
    """Verb and ``--key=value`` pairs; values stay texts.

    Raises:
        UserError: an unknown verb, a word that is not ``--key=value``, a key given twice.
    """
    words = list(argv)
    verb = words.pop(0) if words and not words[0].startswith("-") else "run"
    if verb not in VERBS:
        from recbole_cold.registry import nearest

        guess = nearest(verb, VERBS)
        raise UserError(
            f"'{verb}' is not a verb; "
            + (f"did you mean '{guess}'? " if guess else "")
            + f"use one of {', '.join(VERBS)}"
        )
    flags: dict[str, Any] = {}
    keys: dict[str, str] = {}
    for word in words:
        if word in ("--help", "-h", "--version", "--debug", "--resume"):
            flags[word.lstrip("-")] = True
            continue
        name, equals, value = word.partition("=")
        if verb in ("compare", "plot") and not word.startswith("-"):
            flags.setdefault("folders", []).append(word)
            continue
        if not name.startswith("--") or not equals or not name[2:]:
            raise UserError(f"'{word}' is not understood; write flags as --key=value")
        name = name[2:]
        if verb == "tune" and name == "grid":
            flags.setdefault("grid", []).append(value)
            continue
        if name in keys or name in flags:
            raise UserError(f"--{name} is given twice; give it once")
        if name in ("resume",):
            flags[name] = value
        else:
            keys[name] = value
    return Arguments(verb, flags, keys)


# ------------------------------------------------------------------------------- interruption
class Stop:
    """Remembers that the user asked to stop; a second request stops at once."""

    def __init__(self) -> None:
        self.asked = False

    def __call__(self) -> bool:
        return self.asked

    def _ask(self, signum: int, _frame: Any) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        print("\nstopping at the next batch; once more to stop at once", file=sys.stderr)

    @contextlib.contextmanager
    def listening(self) -> Iterator["Stop"]:
        """SIGINT and SIGTERM ask to stop while open."""
        before = {
            number: signal.signal(number, self._ask) for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


# ------------------------------------------------------------------------------- verbs
def _request(arguments: Arguments, default_models: str = DEFAULT_MODELS):
    from recbole_cold.experiment import Request

    keys = dict(arguments.keys)
    try:
        files = shlex.split(keys.pop("config_files", ""))
    except ValueError as error:
        raise UserError(f"--config_files is not a list of paths ({error}); mend it") from error
    models = keys.pop("model", None)
    if models is None:
        models = next((value for value in _from_files(files, "model") if value), default_models)
    dataset = keys.pop("dataset", None)
    if dataset is None and not any(_from_files(files, "dataset")):
        dataset = "ml-100k"
    command = shlex.join(["recbole-cold", *_words(arguments)])
    return Request(
        models=models,
        dataset=dataset,
        backbone=keys.pop("backbone", None),
        config_files=[str(Path(file).expanduser().resolve()) for file in files],
        overrides=keys,
        command=command,
    )


def _words(arguments: Arguments) -> list[str]:
    verb = [] if arguments.verb == "run" else [arguments.verb]
    return [*verb, *(f"--{key}={value}" for key, value in arguments.keys.items())]


def _from_files(files: Sequence[str], key: str) -> list[Any]:
    """What the files say of a key, the last file first."""
    from recbole_cold.config import read_yaml

    return [read_yaml(file).get(key) for file in reversed(files)]


def run(arguments: Arguments) -> int:
    """Train and score; print the table and say where everything is."""
    from recbole_cold import report
    from recbole_cold.experiment import (
        Experiment,
        is_finished,
        latest_folder,
        new_folder,
        only_one,
        read_request,
    )
    from recbole_cold.trainer import Interrupted

    resume = arguments.flags.get("resume")
    if resume is not None:
        if not resume:
            raise UserError("--resume= names no folder; give it, or --resume alone for the newest")
        extra = set(arguments.keys) - {"saved_dir"}
        if extra:
            raise UserError(
                f"--resume continues a run as it was asked for; leave out --{min(extra)}, or start "
                "a new run"
            )
        folder = (
            latest_folder(arguments.keys.get("saved_dir", "saved"))
            if resume is True
            else Path(resume).expanduser().resolve()
        )
        request = read_request(folder)
        if is_finished(folder):
            return _show(report.load(folder), folder)
    else:
        request, folder = _request(arguments), None
    with Stop().listening() as stop, contextlib.ExitStack() as held:
        if folder is not None:
            held.enter_context(only_one(folder))
        experiment = Experiment(request, folder, stop)
        experiment.prepare()
        if folder is None:
            folder = experiment.open_folder(new_folder)
            held.enter_context(only_one(folder))
        with _log_to(folder / "log.txt"):
            logger.info("%s", request.command)
            logger.info("folder %s", folder)
            try:
                document = experiment.run()
                _write_report(document, folder)
                return _show(document, folder)
            except (Interrupted, KeyboardInterrupt):
                print(
                    f"interrupted; to continue: recbole-cold --resume={shlex.quote(str(folder))}",
                    file=sys.stderr,
                )
                return 130
            except WriteError as error:
                raise UserError(
                    f"{error}; to continue then: recbole-cold --resume={shlex.quote(str(folder))}"
                ) from error


def _table(document: dict[str, Any]) -> str:
    from recbole_cold import report

    return f"{report.table(document)}\n\n{report.costs(document)}\n"


def _write_report(document: dict[str, Any], folder: Path) -> None:
    """Everything shown is made from the results document."""
    from recbole_cold import report
    from recbole_cold.experiment import FINISHED
    from recbole_cold.store import write_bytes

    report.plot_curves(document, folder / "figures" / "curves.png")
    write_bytes(folder / "results.md", report.markdown(document).encode())
    write_bytes(folder / FINISHED, _table(document).encode())


def _show(document: dict[str, Any], folder: Path) -> int:
    """Print the table and where everything is; 1 when a method failed, 0 otherwise."""
    print(_table(document))
    print(f"results  {folder / 'results.json'}\nmarkdown {folder / 'results.md'}")
    print(f"curves   {folder / 'figures' / 'curves.png'}")
    for failure in document.get("failures", []):
        print(f"failed: {failure}", file=sys.stderr)
    return 1 if document.get("failures") else 0


def compare(arguments: Arguments) -> int:
    """One table of methods and backbones, out of folders or with what is missing run."""
    from recbole_cold import comparison as comparing
    from recbole_cold import report

    keys = dict(arguments.keys)
    saved = Path(keys.get("saved_dir", "saved")).expanduser().resolve()
    folders = arguments.flags.get("folders")
    if folders:
        extra = keys.keys() - {"against", "saved_dir"}
        if extra or "resume" in arguments.flags:
            raise UserError(
                "compare with folders runs nothing: leave out "
                f"--{min(extra or {'resume'})}, or the folders"
            )
        command = shlex.join(["recbole-cold", *_words(arguments), *folders])
        document = comparing.from_folders(folders, keys.get("against"), command)
        shown = report.Comparison(document)
        folder = comparing.new_folder(None, document["documents"][0]["dataset"], saved)
        report.write_json(folder / "comparison.json", document)
        return _show_comparison(shown, folder)
    resume = arguments.flags.get("resume")
    if resume is None:
        return _run_comparison(_compare_request(arguments), saved)
    if not resume or keys.keys() - {"saved_dir"}:
        raise UserError(
            "--resume continues a comparison as it was asked for: compare --resume, or "
            "compare --resume=DIR, and no other key than --saved_dir"
        )
    latest = resume is True
    folder = comparing.latest_folder(saved) if latest else Path(resume).expanduser().resolve()
    return _run_comparison(comparing.read_request(folder), folder.parent, folder)


def _compare_request(arguments: Arguments):
    from recbole_cold.comparison import CompareRequest

    keys = dict(arguments.keys)
    for many, one in (("models", "model"), ("backbones", "backbone")):
        if many in keys and one in keys:
            raise UserError(f"--{many} and --{one} are the same here; give --{many} only")
        if many in keys:
            keys[one] = keys.pop(many)
    own = {name: keys.pop(name) for name in ("against", "ray_address") if name in keys}
    numbers: dict[str, Any] = {}
    for name, kind in (("concurrent", int), ("cpus_per_trial", float), ("gpus_per_trial", float)):
        if name in keys:
            numbers[name.removesuffix("_per_trial")] = _number(name, keys.pop(name), kind)
    asked = _request(arguments._replace(keys=keys))
    given = [asked.backbone, *_from_files(asked.config_files, "backbone")]
    return CompareRequest(
        models=asked.models,
        backbones=next((names for names in given if names), "DeepFM"),
        dataset=asked.dataset,
        config_files=asked.config_files,
        overrides=asked.overrides,
        command=shlex.join(["recbole-cold", *_words(arguments)]),
        **own,
        **numbers,
    )


def _number(name: str, text: str, kind: Callable[[str], Any]) -> Any:
    try:
        value = kind(text)
    except ValueError:
        value = -1
    if not value >= (1 if name == "concurrent" else 0):
        raise UserError(f"--{name}={text} is not a number that can be; give for instance 1")
    return value


def _run_comparison(request: Any, saved: Path, folder: Path | None = None) -> int:
    """Run what is missing; an interruption leaves what is there as a table of its own."""
    from recbole_cold import comparison as comparing
    from recbole_cold import pool, report
    from recbole_cold.experiment import only_one
    from recbole_cold.trainer import Interrupted

    with Stop().listening() as stop, contextlib.ExitStack() as held:
        if folder is not None:
            held.enter_context(only_one(folder))
        campaign = comparing.Campaign(request, stop)
        campaign.check()
        if (request.cpus, request.gpus, request.ray_address) != (1.0, 0.0, None):
            pool.check_resources(request.cpus, request.gpus, request.ray_address)
        if folder is None:
            dataset = campaign.first().first().dataset
            folder = comparing.new_folder(request, dataset, saved)
            held.enter_context(only_one(folder))
        again = f"recbole-cold compare --resume={shlex.quote(str(folder))}"

        def run_all(specs: Any, **options: Any) -> None:
            held.enter_context(pool.session(request.ray_address))  # one Ray for all of them
            pool.run_all(specs, **options)

        with _log_to(folder / "log.txt"):
            logger.info("%s", request.command)
            logger.info("folder %s", folder)
            try:
                document = campaign.run(folder, saved, run_all)
                return _show_comparison(report.Comparison(document), folder, again)
            except (Interrupted, KeyboardInterrupt):
                document = campaign.document()
                if any(doc["runs"] for doc in document["documents"]):
                    _show_comparison(report.Comparison(document), folder, again, finished=False)
                print(f"interrupted; to continue: {again}", file=sys.stderr)
                return 130
            except WriteError as error:
                raise UserError(f"{error}; to continue then: {again}") from error


def _show_comparison(comparison: Any, folder: Path, again: str = "", finished: bool = True) -> int:
    """Print the table and where everything is; 1 when some cells failed, 0 otherwise."""
    from recbole_cold import report
    from recbole_cold.comparison import write_files

    failures = comparison.document["failures"]
    write_files(comparison, folder, finished and not failures)
    print(report.comparison_table(comparison))
    print(f"\nresults  {folder / 'comparison.json'}")
    for name in ("comparison.md", "comparison.tex", "comparison.csv", "figures/phases.png"):
        if (folder / name).exists():
            print(f"         {folder / name}")
    if not failures:
        return 0
    first = failures[0]
    print(
        f"{len(failures)} failed; the first: {first['row']} on {first['backbone']}, seed "
        f"{first['seed']}:\n{first['error'].strip()}\nto run what failed again: {again}",
        file=sys.stderr,
    )
    return 1


def tune(arguments: Arguments) -> int:
    """Search the settings of one method, then score the best."""
    from recbole_cold.experiment import is_finished, latest_folder, only_one
    from recbole_cold.sweep import Sweep, read_sweep_request
    from recbole_cold.trainer import Interrupted

    resume, folder = arguments.flags.get("resume"), None
    if resume is None:
        request = _sweep_request(arguments)
    else:
        extra = sorted(set(arguments.keys) - {"saved_dir"}) + ["grid"] * ("grid" in arguments.flags)
        if extra or not resume:
            raise UserError(
                f"--resume continues a sweep as it was asked for; leave out --{extra[0]}"
                if extra
                else "--resume= names no folder; give it, or --resume alone for the newest"
            )
        saved = arguments.keys.get("saved_dir", "saved")
        folder = (
            latest_folder(saved, "tune") if resume is True else Path(resume).expanduser().resolve()
        )
        request = read_sweep_request(folder)
    with Stop().listening() as stop, contextlib.ExitStack() as held:
        sweep = Sweep(request, stop)
        if folder is not None:
            held.enter_context(only_one(folder))
            sweep.folder = folder
            done = sweep.read_done()
            if is_finished(folder) and done == sweep.n_settings * len(sweep.seeds):
                return _show_sweep(sweep, sweep.saved_document())
            print(f"{done} of {sweep.n_settings * len(sweep.seeds)} trials are done", flush=True)
        else:
            print(sweep.plan(), flush=True)
            folder = sweep.open_folder()
            held.enter_context(only_one(folder))
        print(f"folder {folder}\n", flush=True)
        with _log_to(folder / "log.txt"):
            try:
                return _show_sweep(sweep, sweep.run())
            except (Interrupted, KeyboardInterrupt):
                print(
                    "interrupted; to continue: recbole-cold tune "
                    f"--resume={shlex.quote(str(folder))}",
                    file=sys.stderr,
                )
                return 130


def _sweep_request(arguments: Arguments):
    from recbole_cold.sweep import SweepRequest, axes_of

    keys = dict(arguments.keys)
    own: dict[str, Any] = {
        name: keys.pop(name)
        for name in ("search", "scheduler", "select_on", "ray_address")
        if name in keys
    }
    for name, kind in (
        ("samples", int), ("concurrent", int), ("cpus_per_trial", float), ("gpus_per_trial", float),
    ):  # fmt: skip
        if name in keys:
            own[name.removesuffix("_per_trial")] = _number(name, keys.pop(name), kind)
    file, grids = keys.pop("space", None), arguments.flags.get("grid", [])
    asked = _request(arguments._replace(keys=keys), default_models="")
    if not asked.models:
        raise UserError("tune needs --model=<name>; `recbole-cold list` shows all")
    words = [*_words(arguments), *(f"--grid={text}" for text in grids)]
    return SweepRequest(
        model=asked.models,
        dataset=asked.dataset,
        backbone=asked.backbone,
        config_files=asked.config_files,
        overrides=asked.overrides,
        command=shlex.join(["recbole-cold", *words]),
        axes=[list(axis) for axis in axes_of(asked.models, file, grids)],
        **own,
    )


def _show_sweep(sweep: Any, document: dict[str, Any]) -> int:
    """Print the table and where everything is; 1 when trials failed, 0 otherwise."""
    folder = sweep.folder
    print(f"\n{sweep.table(document)}")
    print(f"best     {folder / 'best.yaml'}\nsweep    {folder / 'sweep.json'}")
    print(f"picture  {folder / 'figures' / 'sweep.png'}\nfinal    {folder / 'final'}")
    failed = [trial for trial in document["trials"] if trial["status"] == "failed"]
    if not failed:
        return 0
    print(
        f"{len(failed)} of {len(document['trials'])} trials failed; the first ends with\n"
        f"{failed[0]['error']}\nto try them again: recbole-cold tune "
        f"--resume={shlex.quote(str(folder))}",
        file=sys.stderr,
    )
    return 1


def plot(arguments: Arguments) -> int:
    """Draw vectors of methods, or feature graphs of a finished run."""
    if arguments.flags.get("folders") or "item" in arguments.keys:
        return _plot_graphs(arguments)
    return _plot_vectors(arguments)


def _plot_graphs(arguments: Arguments) -> int:
    """Draw the feature graphs of one item of a finished run."""
    from recbole_cold import report
    from recbole_cold.experiment import find_graphs
    from recbole_cold.graphs import load_graphs

    keys, folders = dict(arguments.keys), arguments.flags.get("folders", [])
    unknown = keys.keys() - {"item", "entry", "seed", "to"}
    if unknown or len(folders) != 1 or "item" not in keys:
        raise UserError(
            (f"--{min(unknown)} is no flag of plot; " if unknown else "")
            + "write: recbole-cold plot DIR --item=ID [--entry=LABEL] [--seed=N] [--to=FILE]"
        )
    folder, item = Path(folders[0]).expanduser().resolve(), keys["item"]
    label, seed, path = find_graphs(folder, keys.get("entry"), keys.get("seed"))
    name = "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in item)
    target = Path(keys.get("to", folder / "figures" / f"graphs-{name}.png")).expanduser()
    told = f"{report.load(folder / 'results.json')['dataset']}, {label}, seed {seed}"
    report.plot_graphs(load_graphs(path), item, target, told)
    print(target)
    return 0


def _plot_vectors(arguments: Arguments) -> int:
    """Train methods up to a phase and draw the vectors that their items are served with."""
    import numpy as np

    from recbole_cold import report
    from recbole_cold.experiment import Experiment, make_folder
    from recbole_cold.store import write_bytes
    from recbole_cold.trainer import Interrupted

    keys = dict(arguments.keys)
    phase = keys.pop("phase", "cold")
    if "resume" in arguments.flags:
        raise UserError("plot takes no --resume; leave it out")
    with Stop().listening() as stop:
        experiment = Experiment(_request(arguments._replace(keys=keys)), stop=stop)
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


def check(arguments: Arguments) -> int:
    """Say what a run would find in a data set."""
    from recbole_cold.experiment import Experiment

    print(Experiment(_request(arguments, default_models="Base")).describe())
    return 0


def list_all(arguments: Arguments) -> int:
    """Print methods and backbones."""
    if arguments.keys:
        raise UserError(f"list takes no --{min(arguments.keys)}; leave it out")
    from recbole_cold import registry
    from recbole_cold.model._backbone import UNWRAPPABLE

    print("methods (--model): paper, phases served, own network in place of a backbone")
    for name, method in sorted(registry.methods().items()):
        own = "own network" if method.network is not None else ""
        line = f"  {name:<12} {method.paper:<38} {', '.join(method.serves):<11} {own}"
        print(line.rstrip())
    print("\nbackbones (--backbone)")
    for name, backbone in sorted(registry.backbones().items()):
        reason = UNWRAPPABLE.get(name)
        refused = f"; cannot be wrapped: {reason}" if reason else ""
        print(f"  {name:<12} {registry.paper_of(backbone)}{refused}")
    return 0


# ------------------------------------------------------------------------------- main
@contextlib.contextmanager
def _log_to(path: Path) -> Iterator[None]:
    try:
        handler = _LogFile(path, encoding="utf-8")
    except OSError as error:
        raise UserError(
            f"cannot write '{path}' ({error.strerror}); make the folder writable"
        ) from error
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        with contextlib.suppress(OSError):
            handler.close()


class _LogFile(logging.FileHandler):
    """A log that a full disk does not turn into tracebacks; what matters is written elsewhere."""

    def handleError(self, record: logging.LogRecord) -> None:
        pass


@contextlib.contextmanager
def _log_to_screen() -> Iterator[None]:
    """Our messages go to stderr while open; what the process had set up for itself returns."""
    before = logger.level, logger.propagate
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.level, logger.propagate = before


ACTIONS: dict[str, Callable[[Arguments], int]] = {
    "run": run,
    "compare": compare,
    "tune": tune,
    "plot": plot,
    "check": check,
    "list": list_all,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line; the exit code."""
    words = sys.argv[1:] if argv is None else list(argv)
    debug = "--debug" in words
    try:
        arguments = parse(words)
        if arguments.flags.get("help") or arguments.flags.get("h"):
            print({"tune": TUNE_HELP, "plot": PLOT_HELP}.get(arguments.verb, HELP), end="")
            return 0
        if arguments.flags.get("version"):
            print(f"recbole_cold {__version__}")
            return 0
        with _log_to_screen():
            return ACTIONS[arguments.verb](arguments)
    except UserError as error:
        if debug:
            traceback.print_exc()
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
