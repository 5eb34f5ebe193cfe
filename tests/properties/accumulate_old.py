"""What the Python SDK 0.75 makes of streams: one JSON string of SSE text a line in, one JSON answer a line out.

Runs in the environment of that SDK, which has nothing else.
"""

import json
import sys

import httpx
from anthropic import Anthropic


def main() -> None:
    for line in sys.stdin:
        body = json.loads(line).encode()
        transport = httpx.MockTransport(
            lambda _, body=body: httpx.Response(200, headers={"content-type": "text/event-stream"}, content=body)
        )
        with Anthropic(api_key="k", base_url="http://sdk", http_client=httpx.Client(transport=transport)) as client:
            try:
                with client.messages.stream(
                    model="m", max_tokens=1, messages=[{"role": "user", "content": "Hi"}]
                ) as stream:
                    told = stream.get_final_message().to_dict()
            except Exception as error:  # noqa: BLE001  # whatever the SDK raises is its answer
                told = {"failed": repr(error)}
        print(json.dumps(told), flush=True)


main()
