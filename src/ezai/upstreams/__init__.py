"""The edge out: upstreams behind the port `ezai.ports.Upstream`.

http/              the HTTP client: connections, pool, framing
anthropic.py       an Anthropic or Anthropic-compatible server
openai.py          an OpenAI-compatible server
embedded.py        the model that runs beside the gateway
credentials.py     what of an upstream's configuration is a credential
target_states.py   how the targets have done lately
"""
