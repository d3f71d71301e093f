"""Registration, on import, of all models and tokenizers with the ``Auto`` classes of transformers."""

import importlib
import pkgutil

from codekd import models

for module in pkgutil.iter_modules(models.__path__, f"{models.__name__}."):
    importlib.import_module(module.name)
