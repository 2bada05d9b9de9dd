"""Registries: the parts of one kind by name, built in, registered by a program, or of installed packages.

A package offers parts by entry points of the group `flowmusic.<kind>` in its pyproject.toml:

    [project.entry-points."flowmusic.controls"]
    density = "my_package.density:DENSITY"

A name is only ever looked up: text from a file, such as a model's config.json, chooses among what is
installed and can never import anything else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Generic, TypeVar, cast

T = TypeVar("T")
GROUP_PREFIX = "flowmusic."


class Registry(Generic[T]):
    """Names -> objects of one kind; an object is imported when it is first asked for.

    Iterating gives the names that are known without a look at the installed packages; `in`, `names` and
    `get` look there too, so that a registry can stand as the `choices` of an argparse argument.

    Args:
        kind: the part of the entry points' group after "flowmusic.", such as "controls".
        what: what messages call one of them, such as "control".
        builtin: name -> "module:attribute".
    """

    def __init__(self, kind: str, what: str, builtin: Mapping[str, str]) -> None:
        self.group, self.what = GROUP_PREFIX + kind, what
        self._places = dict(builtin)
        self._objects: dict[str, T] = {}
        self._searched = False

    def register(self, name: str, item: T) -> T:
        """Make `item` known as `name` in this process. ValueError where the name is taken."""
        if name in self._objects or name in self._places:
            raise ValueError(f"there is a {self.what} {name!r} already; expected another name")
        self._objects[name] = item
        return item

    def get(self, name: str) -> T:
        """The object called `name`. ValueError, listing the names that are known, for any other."""
        self.check(name)
        if name not in self._objects:
            module, _, attribute = self._places[name].partition(":")
            self._objects[name] = cast(T, getattr(import_module(module), attribute))
        return self._objects[name]

    def check(self, name: str) -> None:
        """ValueError, listing the names that are known, unless `name` is one of them."""
        if name not in self:
            raise ValueError(f"unknown {self.what} {name!r}; expected one of {', '.join(self.names())}")

    def names(self) -> tuple[str, ...]:
        """All names, those of installed packages last."""
        self._search()
        return tuple(self)

    def __contains__(self, name: object) -> bool:
        if name not in self._objects and name not in self._places:
            self._search()
        return name in self._objects or name in self._places

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys((*self._places, *self._objects)))

    def _search(self) -> None:
        """Note, once, where installed packages have objects; none takes the place of one that is known."""
        if self._searched:
            return
        from importlib.metadata import entry_points

        self._searched = True
        for entry in entry_points(group=self.group):
            if entry.name not in self._objects:
                self._places.setdefault(entry.name, entry.value)
