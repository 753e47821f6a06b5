"""Which columns of a table of samples can be fields: their tables have their names."""

from torch import nn

from lightning_vq.errors import UserError
from lightning_vq.sources.schema import Schema
from lightning_vq.types import CATEGORY, FIRST


def refuse_names(schema: Schema) -> None:
    """Refuse fields whose tables could not have their names.

    Raises:
        UserError: with the column.
    """
    taken = {*dir(nn.ModuleDict()), *dir(nn.ParameterDict())}
    for name in [*schema.fields(), *schema.sequence]:
        if name.endswith((FIRST, CATEGORY)):
            why = f"names that end in {FIRST} or {CATEGORY} are those of tables beside a field's"
        elif "." in name:
            why = "a name with a dot cannot be a table's"
        elif name in taken:
            why = "torch has that name for itself"
        else:
            continue
        raise UserError(f"the column {name!r} cannot be a field: {why}; give it another name in the table")
