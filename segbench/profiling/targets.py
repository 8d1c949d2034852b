"""From what a person types to a model: a factory, a transformers configuration, an ONNX file, an object."""

from __future__ import annotations

import importlib
import importlib.util
import json
import opcode
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from segbench.errors import ConfigError, FormatError, InputError, MissingDependencyError, SegbenchError

HF_CLASSES = (
    "AutoModelForSemanticSegmentation",
    "AutoModelForUniversalSegmentation",
    "AutoModelForInstanceSegmentation",
    "AutoModelForImageSegmentation",
    "AutoModelForMaskGeneration",
    "AutoModelForObjectDetection",
    "AutoModelForDepthEstimation",
    "AutoModel",
)
"""Where a configuration's model is looked for, segmentation first."""


class Loaded(NamedTuple):
    """A model ready to be called, what to call it in records, and the input it says it takes (without batch)."""

    model: Any
    name: str
    input_shape: tuple[int, ...] | None = None
    input_name: str | None = None
    weights: str | None = None


def shown(target: str) -> str:
    """The target without folders: records are published."""
    head, colon, tail = target.partition(":")
    return f"{Path(head).name}{colon}{tail}" if "/" in head or "\\" in head else target


def is_onnx(target: str) -> bool:
    """Whether a target is an ONNX file."""
    return target.lower().endswith(".onnx")


def load(target: str) -> Loaded:
    """A torch model (or any callable) from `package.module:factory`, `file.py:factory`, `hf:ConfigClass` or a `config.json`.

    Raises:
        ConfigError: not a target.
        InputError: the factory raises, or gives nothing that can be called.
        MissingDependencyError: a package it imports is not installed.
    """
    if target.startswith("hf:"):
        return _hugging_face(target.removeprefix("hf:"), {})
    if target.endswith(".json"):
        return _config_file(Path(target))
    where, colon, attribute = target.rpartition(":")
    if not colon or not attribute.replace(".", "").isidentifier():
        raise ConfigError(
            f"not a model: {target!r}", hint="package.module:factory, file.py:factory, model.onnx, hf:ConfigClass or a config.json"
        )
    module = _file_module(Path(where)) if where.endswith(".py") else _module(where)
    found: Any = module
    for part in attribute.split("."):
        if not hasattr(found, part):
            names = [name for name in vars(module) if not name.startswith("_") and callable(getattr(module, name))]
            raise ConfigError(f"{shown(where)} has no {attribute!r}", hint=f"it has {', '.join(names[:12])}" if names else None)
        found = getattr(found, part)
    return _built(found, shown(target), attribute.rpartition(".")[2])


def _built(found: Any, target: str, name: str) -> Loaded:
    made = found if is_module(found) else _called(found, target)
    shape = None
    if isinstance(made, tuple) and len(made) == 2 and isinstance(made[1], tuple | list):
        made, shape = made[0], tuple(int(size) for size in made[1])
    if isinstance(made, type):
        raise InputError(f"the factory gives the class {made.__name__} and no model", files=[target], hint=f"return {made.__name__}()")
    if not callable(made):
        raise InputError(f"the factory gives {type(made).__name__}, which is no model", files=[target], hint="return the model from it")
    return Loaded(made, name, shape, getattr(made, "main_input_name", None), "random" if is_module(made) else None)


def _called(factory: Callable[[], Any], target: str) -> Any:
    if not callable(factory):
        return factory
    try:
        return factory()
    except SegbenchError:
        raise
    except ModuleNotFoundError as error:
        raise _missing(error, target) from error
    except (MemoryError, KeyboardInterrupt):
        raise
    except Exception as error:
        found = origin(error)
        where = f" (in {found.place})" if found else ""
        raise InputError(f"the factory raises {type(error).__name__}: {_first_line(error)}{where}", files=[target]) from error


def is_module(value: Any) -> bool:
    """Whether a value is a torch module; never imports torch."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.nn.Module)


def _module(name: str) -> Any:
    _importable(os.getcwd())
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(f"{error.name}.")):
            raise ConfigError(f"there is no module {name!r}", hint="give its file: path/to/models.py:factory") from error
        raise _missing(error, name) from error
    except Exception as error:
        raise InputError(f"importing it raises {type(error).__name__}: {_first_line(error)}", files=[name]) from error


def _file_module(path: Path) -> Any:
    if not path.is_file():
        raise InputError("there is no such file", files=[str(path)])
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise FormatError("not a Python file", files=[str(path)])
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    _importable(str(path.resolve().parent))
    try:
        spec.loader.exec_module(module)
    except ModuleNotFoundError as error:
        raise _missing(error, str(path)) from error
    except Exception as error:
        raise InputError(f"running the file raises {type(error).__name__}: {_first_line(error)}", files=[str(path)]) from error
    return module


def _importable(folder: str) -> None:
    """As for a script of this folder, and for as long: factories and models may import what lies beside them when they are called."""
    if folder not in sys.path:
        sys.path.insert(0, folder)


def _missing(error: ModuleNotFoundError, where: str) -> SegbenchError:
    if error.name is None:  # not Python's own: a library that found something else wrong
        first = _root(error)
        raised = f"{type(first).__name__}: {_first_line(first)}"
        return InputError(f"a package it imports is broken: {raised}", files=[shown(where)], hint="mend or uninstall the one it names")
    package = error.name.partition(".")[0]
    command = "pip install 'segbench[torch]'" if package == "torch" else f"pip install {package}"
    return MissingDependencyError(f"{shown(where)} needs the package {package}", hint=command)


def _root(error: BaseException) -> BaseException:
    """What went wrong first: libraries wrap it in advice."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


class Origin(NamedTuple):
    """The last line of the user's own code before an error: `models.py:12`, and whether that line itself raised it."""

    place: str
    raised_there: bool


def origin(error: BaseException) -> Origin | None:
    """Where in the user's code an error came from; None where only packages' code ran."""
    found = None
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        if _is_own(code.co_filename):
            raised = trace.tb_next is None and code.co_code[trace.tb_lasti] == opcode.opmap["RAISE_VARARGS"]
            found = Origin(f"{Path(code.co_filename).name}:{trace.tb_lineno}", raised)
        trace = trace.tb_next
    return found


def _is_own(file: str) -> bool:
    """Whether a file is neither Python's, nor of an installed package, nor segbench's."""
    path = Path(file)
    if not path.is_file() or {"site-packages", "dist-packages"} & set(path.parts):
        return False
    return not any(path.is_relative_to(place) for place in (os.path.dirname(os.__file__), Path(__file__).parents[1]))


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [""])[0][:300]


def _transformers() -> Any:
    os.environ["HF_HUB_OFFLINE"] = "1"  # nothing is downloaded
    try:
        import transformers
    except ImportError as error:
        raise MissingDependencyError(
            "hf: models need the package transformers", hint="pip install 'segbench[torch]' transformers"
        ) from error
    transformers.logging.set_verbosity_error()
    return transformers


def _config_file(path: Path) -> Loaded:
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError("the configuration cannot be read", files=[str(path)]) from error
    except ValueError as error:
        raise FormatError(f"not JSON: {error}", files=[str(path)]) from error
    if not isinstance(fields, dict) or "model_type" not in fields:
        ours = isinstance(fields, dict) and str(fields.get("schema")).startswith("segbench.profiles/")
        hint = f"these are records: segbench profile --merge {path}" if ours else None
        raise FormatError("not a transformers configuration: no model_type", files=[str(path)], hint=hint)
    transformers = _transformers()
    known = transformers.CONFIG_MAPPING
    if fields["model_type"] not in known:
        raise FormatError(
            f"transformers knows no model type {fields['model_type']!r}", files=[str(path)], hint="pip install -U transformers"
        )
    config_class = known[fields["model_type"]]
    loaded = _hugging_face(config_class.__name__, {key: value for key, value in fields.items() if key != "model_type"})
    return loaded._replace(name=path.resolve().parent.name if path.name == "config.json" else path.stem)


def _hugging_face(config_name: str, fields: dict[str, Any]) -> Loaded:
    transformers = _transformers()
    config_class = getattr(transformers, config_name, None)
    if config_class is None or not hasattr(config_class, "model_type"):
        from difflib import get_close_matches

        close = get_close_matches(config_name, [name for name in dir(transformers) if name.endswith("Config")], 3, 0.5)
        raise ConfigError(
            f"transformers has no configuration {config_name!r}", hint=f"did you mean {' or '.join(close)}?" if close else None
        )
    try:
        config = config_class.from_dict(fields) if fields else config_class()
        model = _hf_model(transformers, config)
    except SegbenchError:
        raise
    except ModuleNotFoundError as error:
        raise _missing(error, f"hf:{config_name}") from error
    except ImportError as error:
        raise MissingDependencyError(f"hf:{config_name}: {_first_line(error)}", hint="pip install what it names") from error
    except MemoryError:
        raise
    except Exception as error:
        raise InputError(f"transformers cannot build it: {type(error).__name__}: {_first_line(error)}", files=[config_name]) from error
    size = getattr(config, "image_size", None)
    if isinstance(size, int):
        size = (size, size)
    shape = (getattr(config, "num_channels", 3), *size) if isinstance(size, tuple | list) and len(size) == 2 else None
    return Loaded(model, config_name.removesuffix("Config").lower(), shape, model.main_input_name, "random")


def _hf_model(transformers: Any, config: Any) -> Any:
    named = getattr(config, "architectures", None) or []
    if named and hasattr(transformers, named[0]):
        return getattr(transformers, named[0])(config)
    for auto in HF_CLASSES:
        mapping = getattr(transformers, auto)._model_mapping
        if type(config) in mapping:
            return getattr(transformers, auto).from_config(config)
    raise InputError(f"transformers has no model for {type(config).__name__}", hint="write a factory: file.py:factory")
