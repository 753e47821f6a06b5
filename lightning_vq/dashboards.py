"""`python -m lightning_vq dashboards`: publishes the dashboards of dashboards.yaml to a W&B project."""

from pathlib import Path
from typing import Any

import yaml

from lightning_vq.errors import UserError
from lightning_vq.parser import Parser

FILE = Path(__file__).with_suffix(".yaml")


def main(arguments: list[str]) -> None:
    """Run the verb."""
    about = "Publish the W&B dashboards of runs and studies as saved views of a project, or show what they hold."
    parser = Parser(prog="python -m lightning_vq dashboards", description=about, allow_abbrev=False)
    parser.add_argument("--entity", help="W&B user or team")
    parser.add_argument("--project", default="lightning_vq", help="W&B project (default: lightning_vq)")
    parser.add_argument("--list", action="store_true", help="print the panels and publish nothing; needs no account")
    options = parser.parse_args(arguments)
    if options.list:
        print("\n".join(described()))
        return
    if not options.entity:
        raise UserError("dashboards needs --entity NAME, your W&B user or team; --list shows them without an account")
    from wandb.errors import Error  # slow to import

    for dashboard in read_dashboards():
        view = workspace(dashboard, options.entity, options.project)
        try:
            view.save()
        except (Error, ValueError, OSError) as error:  # no key, no such project, no network
            raise UserError(
                f"dashboard {dashboard['name']!r} was not published: {str(error).splitlines()[0]}"
            ) from None
        print(f"{dashboard['name']}: {view.url}")


def read_dashboards() -> list[dict[str, Any]]:
    """Return the dashboards as data: name, sections of name and panels."""
    return list(yaml.safe_load(FILE.read_text()))


def described() -> list[str]:
    """Return a line for each dashboard, section and panel."""
    lines = []
    for dashboard in read_dashboards():
        lines.append(dashboard["name"])
        for section in dashboard["sections"]:
            lines.append(f"  {section['name']}")
            for panel in section["panels"]:
                what = [*panel.get("config", []), *panel.get("keys", []), *filter(None, [panel.get("pattern")])]
                lines.append(f"    {panel['title']}: {', '.join(what)}")
    return lines


def workspace(dashboard: dict[str, Any], entity: str, project: str) -> Any:
    """Return a dashboard as a wandb_workspaces Workspace, which `save` publishes."""
    import wandb_workspaces.workspaces as ws

    sections = [
        ws.Section(name=section["name"], panels=[panel(p) for p in section["panels"]], is_open=True)
        for section in dashboard["sections"]
    ]
    return ws.Workspace(entity=entity, project=project, name=dashboard["name"], sections=sections)


def panel(told: dict[str, Any]) -> Any:
    """Return a panel of wandb_workspaces.

    Raises:
        ValueError: a kind that there is not.
    """
    import wandb_workspaces.reports.v2 as wr

    title, keys = told["title"], told.get("keys", [])
    match told["kind"]:
        case "lines":
            regex = told.get("pattern")
            return wr.LinePlot(title=title, x="epoch", y=keys, metric_regex=regex, log_y=told.get("log"))
        case "bars":
            return wr.BarPlot(title=title, metrics=[wr.SummaryMetric(key) for key in keys])
        case "scatter":
            x, y = (wr.SummaryMetric(key) for key in keys)
            return wr.ScatterPlot(title=title, x=x, y=y)
        case "media":
            return wr.MediaBrowser(title=title, media_keys=keys)
        case "importance":
            return wr.ParameterImportancePlot(with_respect_to=keys[0])
        case "parallel":
            config = [wr.ParallelCoordinatesPlotColumn(wr.Config(key)) for key in told["config"]]
            metrics = [wr.ParallelCoordinatesPlotColumn(wr.SummaryMetric(key)) for key in keys]
            return wr.ParallelCoordinatesPlot(title=title, columns=config + metrics)
        case kind:
            raise ValueError(f"there is no kind of panel {kind!r}")
