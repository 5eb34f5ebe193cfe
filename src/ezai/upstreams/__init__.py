"""The edge out: upstreams behind the port `ezai.ports.Upstream`.

http/         the HTTP client: connections, pool, framing
openai.py     an OpenAI-compatible server
embedded.py   the model that runs beside the gateway
"""
