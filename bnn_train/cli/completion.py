"""What Tab offers."""

from typing import Any

from hydra.plugins.completion_plugin import CompletionPlugin


def hide_schemas() -> None:
    """Leaves out the groups below schema/, which the options' files name and nobody types."""
    query = CompletionPlugin._query

    def without(plugin: CompletionPlugin, *arguments: Any, **named: Any) -> list[str]:
        return [word for word in query(plugin, *arguments, **named) if not word.lstrip("+~").startswith("schema")]

    CompletionPlugin._query = without  # type: ignore[method-assign,assignment]
