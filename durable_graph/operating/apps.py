"""Loading the `App` of a program that an operator names: `shop:app`."""

from importlib import import_module

from durable_graph.errors import InvalidOptionError
from durable_graph.errors.tree import names
from durable_graph.runs import App


def load_app(given: str) -> App:
    """The `App` under this name, such as `shop:app` for `app` of the module `shop`. Errors of the module pass through.

    Raises `InvalidOptionError` for another form, a module that does not exist, and a name that is no `App`.
    """
    option = "app"
    path, _, name = given.partition(":")
    if not name.isidentifier() or not all(part.isidentifier() for part in path.split(".")):
        raise InvalidOptionError(option, given, allowed="module:name, such as shop:app")
    try:
        module = import_module(path)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{path}.".startswith(f"{error.name}."):
            # The module exists, and imports another one that does not.
            raise
        allowed = f"a module that Python can import from here; {error.name!r} does not exist"
        raise InvalidOptionError(option, given, allowed=allowed) from None
    app = getattr(module, name, None)
    if not isinstance(app, App):
        known = names(each for each, value in vars(module).items() if isinstance(value, App))
        raise InvalidOptionError(option, given, allowed=f"the name of an App; module {path!r} has: {known}")
    return app
