"""What runs the models: an embedded engine, or any OpenAI-compatible server by URL.

Promise: an engine is asked over HTTP in the OpenAI shape; what one caller asks neither speeds up
nor changes what another gets, where the engine has a way to see to it, and where it has none its
name says so.

Public names: `find_engine`; `Engine` and `PrefixCache`; `EmbeddedEngine`, `OpenAIServer`,
`discover`; `EngineProxy`, which serves an engine to callers in isolation.
"""

from privity.infer.engines.choice import find_engine
from privity.infer.engines.discover import discover
from privity.infer.engines.embedded import EmbeddedEngine
from privity.infer.engines.engine import Engine, PrefixCache
from privity.infer.engines.openai_server import OpenAIServer
from privity.infer.engines.proxy import EngineProxy

__all__ = [
    "EmbeddedEngine",
    "Engine",
    "EngineProxy",
    "OpenAIServer",
    "PrefixCache",
    "discover",
    "find_engine",
]
