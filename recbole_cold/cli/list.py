"""``recbole-cold list``: methods and backbones by name."""

from recbole_cold.cli.arguments import Arguments
from recbole_cold.errors import UserError


def list_all(arguments: Arguments) -> int:
    """Print methods and backbones."""
    if arguments.keys:
        raise UserError(f"list takes no --{min(arguments.keys)}; leave it out")
    from recbole_cold import registry
    from recbole_cold.backbone._seam import UNWRAPPABLE

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
