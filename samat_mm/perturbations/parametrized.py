"""Values made of parameters: attacks on images and on words, and what an attack is built on."""

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any, Self


class Parametrized:
    """A frozen dataclass whose fields are its parameters; one that does not fit is refused when the value is made."""

    def replace(self, **changes: Any) -> Self:
        """Return the value with other parameters, checked again.

        Raises:
            TypeError: if it has no such parameter.
        """
        return replace(self, **changes)  # type: ignore[type-var]

    @property
    def parameters(self) -> set[str]:
        """The names that :meth:`replace` takes."""
        return {entry.name for entry in fields(self) if entry.init}  # type: ignore[arg-type]

    def describe(self) -> dict[str, Any]:
        """Return the type and the parameters for reports, in plain types, without those that are None."""
        values = {entry.name: getattr(self, entry.name) for entry in fields(self)}  # type: ignore[arg-type]
        return {'type': type(self).__name__} | {
            name: self._plain(value) for name, value in values.items() if value is not None
        }

    @staticmethod
    def _plain(value: Any) -> Any:
        if isinstance(value, Parametrized):
            return value.describe()
        return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else value

    def __repr__(self) -> str:
        values = self.describe()
        return f'{values.pop("type")}({", ".join(f"{key}={value!r}" for key, value in values.items())})'

    def _settle(self, **values: Any) -> None:
        """Set parameters in their final form, while the value is made."""
        for name, value in values.items():
            object.__setattr__(self, name, value)


class SeededAttack(Parametrized):
    """An attack of any kind: on images (:class:`~samat_mm.perturbations.inputs.Attack`) or on the words of a sentence.

    Attributes:
        seed: the random numbers of sample i come from (seed, i) alone, whatever the batch.
    """

    seed: int
