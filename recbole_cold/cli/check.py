"""``recbole-cold check``: what a run would find in a data set."""

from recbole_cold.cli.arguments import Arguments, request_of


def check(arguments: Arguments) -> int:
    """Say what a run would find in a data set."""
    from recbole_cold.experiment.experiment import Experiment

    print(Experiment(request_of(arguments, default_models="Base")).describe())
    return 0
