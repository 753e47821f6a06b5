"""`python -m lightning_vq VERB ...`: imports Lightning only for the verbs that train."""

import sys
import time

from lightning_vq import __version__
from lightning_vq.errors import UserError, exit_status, nearest

HELP = """usage: python -m lightning_vq VERB ...

  fit         train, test, compare with the plain base model    --config FILE, or --run DIR to go on
  validate    evaluate a run's best checkpoint on dev           --run DIR
  test        evaluate a run's best checkpoint on test          --run DIR
  predict     write every user's best items as Parquet          --run DIR
  chain       run configs that build on each other              DIR [--out DIR]
  sweep       run or join a study of many fits                  --config FILE [--resume]
  reproduce   run a paper's table, and hold it against it       TABLE [--rows ...] [--budget NAME]
  tree        write the learned category trees as pages         --run DIR [--against DIR]
  compare     do runs differ, on which metrics, for whom?       RUN_A RUN_B [RUN_C ...]
  export      write a run's model as files to be served         --run DIR --out DIR
  encode      semantic ids of new vectors                       RUN FILE --out FILE
  recommend   best items from such files, without torch         ARTIFACT --user ID [ID ...]
  data        list, info, download, verify data sources         python -m lightning_vq data --help
  dashboards  publish the W&B dashboards of runs and studies    --entity NAME --project NAME

First: python -m lightning_vq fit --config conf/cove_lgcn.yaml
Any option of a config goes on the command line: --trainer.max_epochs=5. All with their values: --print_config.
What they mean: fit --help, and of a class fit --model.help CollaborativeFiltering, --data.help CollaborativeData,
--quantization.quantizers.help Cascaded
"""
TRAINER_VERBS = ("fit", "validate", "test", "predict")
VERBS = (
    *TRAINER_VERBS,
    "chain",
    "sweep",
    "reproduce",
    "tree",
    "compare",
    "export",
    "encode",
    "recommend",
    "data",
    "dashboards",
)


def work(arguments: list[str], started: float) -> None:
    """Run a verb. Each imports what it needs and no more.

    Args:
        arguments: the verb and its options.
        started: time.time() of the start of the command.
    """
    verb, rest = arguments[0], arguments[1:]
    if verb in TRAINER_VERBS:
        from lightning_vq.cli import main as run

        run(arguments, started)
    elif verb == "chain":
        from lightning_vq.chain_command import main as chain

        chain(rest)
    elif verb == "sweep":
        from lightning_vq.sweep.processes import begin_warm

        begin_warm()
        from lightning_vq.sweep.command import main as sweep

        sweep(rest)
    elif verb == "reproduce":
        from lightning_vq.reproduce.command import main as reproduce

        reproduce(rest)
    elif verb == "tree":
        from lightning_vq.tree_command import main as tree

        tree(rest)
    elif verb == "compare":
        from lightning_vq.compare_command import main as compare

        compare(rest)
    elif verb == "export":
        from lightning_vq.export.command import main as export

        export(rest)
    elif verb == "encode":
        from lightning_vq.encode_command import main as encode

        encode(rest)
    elif verb == "recommend":
        from lightning_vq.recommend_command import main as recommend

        recommend(rest)
    elif verb == "data":
        from lightning_vq.data_command import main as data

        data(rest)
    elif verb == "dashboards":
        from lightning_vq.dashboards import main as dashboards

        dashboards(rest)
    else:
        raise UserError(f"there is no verb {verb!r}{nearest(verb, VERBS)}")


def main() -> int:
    """Return the exit status of the command line."""
    started, arguments = time.time(), sys.argv[1:]
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(HELP, end="")
        return 0
    if arguments[0] in ("-V", "--version"):
        print(__version__)
        return 0

    def work_of_verb() -> None:
        try:
            work(arguments, started)
        except ModuleNotFoundError as error:  # on a machine that serves, with numpy and safetensors alone
            if (error.name or "lightning_vq").startswith("lightning_vq"):
                raise
            raise UserError(f"{arguments[0]} needs all of lightning_vq's packages: there is no {error.name}") from None

    return exit_status(work_of_verb)


if __name__ == "__main__":
    sys.exit(main())
