"""Makes the typed configuration known to Hydra: configs/<group>/<option>.yaml begins with the schema of its keys."""

from hydra.core.config_store import ConfigStore

from bnn_train.config.lab import PROTOCOLS, LabConfig
from bnn_train.config.root import OPTIONS, Config
from bnn_train.config.ste import SteConfig


def register() -> None:
    """schema and lab_schema are the wholes; schema/<group>/<name> is one option, schema/ste/plain an estimator without keys."""
    store = ConfigStore.instance()
    store.store(name="schema", node=Config)
    store.store(name="lab_schema", node=LabConfig)
    store.store(group="schema/ste", name="plain", node=SteConfig)
    for group, options in {**OPTIONS, "protocol": PROTOCOLS}.items():
        for name, kind in options.items():
            store.store(group=f"schema/{group}", name=name, node=kind)
