"""`python -m lightning_vq VERB ...`: imports Lightning only for the verbs that train."""

import os
import sys

from lightning_vq import __version__
from lightning_vq.errors import UserError, nearest

HELP = """usage: python -m lightning_vq VERB ...

  fit       train, test, compare with the plain base model    --config FILE, or --run DIR to go on
  validate  evaluate a run's best checkpoint on dev           --run DIR
  test      evaluate a run's best checkpoint on test          --run DIR
  predict   write every user's best items as Parquet          --run DIR
  tree      write the learned category trees as pages         --run DIR [--against DIR]
  data      list, info, download, verify data sources         python -m lightning_vq data --help

First: python -m lightning_vq fit --config conf/cove_lgcn.yaml
Any option of a config goes on the command line: --trainer.max_epochs=5. All of them: fit --help
"""
TRAINER_VERBS = ("fit", "validate", "test", "predict")


def main() -> int:
    """Run a verb and return the exit status: 0, 2 for what the user can mend, 130 for Ctrl-C."""
    arguments = sys.argv[1:]
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(HELP, end="")
        return 0
    if arguments[0] in ("-V", "--version"):
        print(__version__)
        return 0
    try:
        if arguments[0] in TRAINER_VERBS:
            from lightning_vq.cli import main as run

            run(arguments)
        elif arguments[0] == "data":
            from lightning_vq.data_command import main as data

            data(arguments[1:])
        elif arguments[0] == "tree":
            from lightning_vq.tree_command import main as tree

            tree(arguments[1:])
        else:
            raise UserError(
                f"there is no verb {arguments[0]!r}{nearest(arguments[0], (*TRAINER_VERBS, 'tree', 'data'))}"
            )
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except (OSError, UnicodeDecodeError) as error:
        if isinstance(error, BrokenPipeError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
