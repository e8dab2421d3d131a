"""What runs the models: an embedded engine, or any OpenAI-compatible server by URL.

Promise: an engine is asked over HTTP in the OpenAI shape; what one caller asks neither speeds up
nor changes what another gets, where the engine has a way to see to it, and where it has none its
name says so.

Public names: `engine.Engine` and `engine.PrefixCache`; `embedded.EmbeddedEngine`,
`openai_server.OpenAIServer`, `discover.discover`; `proxy.EngineProxy`, which serves an engine to
callers apart from each other; `hardening.harden`. They are imported from their modules, so that
the engine's own process, which is a module here too, loads none of them.
"""
