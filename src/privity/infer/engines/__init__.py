"""What runs the models: an embedded engine, or any OpenAI-compatible server by URL.

Promise: an engine is asked over HTTP in the OpenAI shape; what one caller asks neither speeds up
nor changes what another gets, where the engine has a way to see to it, and where it has none its
name says so.

Public names, each imported from its module, so that the engine's own process, which is a module
here too, loads none of them: `engine.Engine` and `engine.PrefixCache`; `embedded.EmbeddedEngine`,
`openai_server.OpenAIServer`, `discover.discover`; `weights.Weights`, `weights.find_default`; what
an engine says of itself, `describe.offers`, `describe.embedded_offer`, `describe.health`,
`ollama.check_name`, `ollama.Progress`; for enclaves, `proxy.EngineProxy`, which serves an engine to
callers apart from each other, `proxy.SERVED` and `proxy.Served`, `isolation.MAX_REQUEST`,
`usage.UsageReader`, `hardening.harden`. What a request is in tokens: `tokens.tokens_of_file`,
`tokens.RequestTokens`, `tokenizer_file.tokens_of_tokenizer`, `query_tokens.tokens_of_exchange` and
`query_tokens.is_job`, `gguf_metadata.read_metadata`.
"""
