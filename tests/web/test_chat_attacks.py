"""What a model, a name or an error says stays text: rows X1 to X12, checks T17 to T19.

`Chat.play` holds after each scenario that there was no dialog, no violation of the policy and no request to another
origin.
"""

from __future__ import annotations

import pytest

from tests.web.browser import Browser, Chat
from tests.web.test_chat_answers import as_value

OWNED = "window.owned=1;alert(1)"
CANARY = "http://127.0.0.9:9/canary"

CORPUS = {
    "X1-script": f"<script>{OWNED}</script><script src={CANARY}.js></script>",
    "X2-handlers": f'<img src=x onerror="{OWNED}"><body onload={OWNED}><input autofocus onfocus={OWNED}>'
    f"<details open ontoggle={OWNED}><video><source onerror={OWNED}></video>",
    "X3-links": f"[a](javascript:{OWNED}) [b](JaVaScRiPt:{OWNED}) [c](java&#115;cript:{OWNED}) [d](data:text/html,x)"
    f" [e](vbscript:x) [f](&#x6A;avascript:{OWNED}) [g](java\tscript:{OWNED}) <javascript:{OWNED}>"
    f" [h]( javascript:{OWNED}) [i][1]\n\n[1]: javascript:{OWNED}",
    "X4-svg-math": f"<svg onload={OWNED}><svg><script>{OWNED}</script></svg><math><mtext><table><mglyph><style>"
    f'<img src=x onerror="{OWNED}"></style></mglyph></table></mtext></math>',
    "X5-mutation": f'<noscript><p title="</noscript><img src=x onerror={OWNED}>"><form><math><mtext></form><form>'
    f'<mglyph><style></math><img src onerror={OWNED}></style><a id="--><img src=x onerror={OWNED}>">',
    "X6-canary": f'![x]({CANARY}.png) ![y][c] <img src="{CANARY}.gif"> <link rel=prefetch href={CANARY}>'
    f'<style>@import "{CANARY}";*{{background:url({CANARY})}}</style><iframe src={CANARY}></iframe>'
    f"<meta http-equiv=refresh content='0;url={CANARY}'><base href={CANARY}>\n\n[c]: {CANARY}.svg",
    "X7-code": f'```"><img/src=x/onerror={OWNED}>\n</code></pre><script>{OWNED}</script>\n```\n'
    f"`<img src=x onerror={OWNED}>`",
    "X8-html-code": f"```html\n<script>{OWNED}</script><img src=x onerror={OWNED}>\n```",
    "X9-attributes": f'[a](https://example.com/"onclick="{OWNED}) [b](https://example.com "t\\" onclick=\\"{OWNED}")'
    f" <https://example.com/'onclick='{OWNED}>\n\n| <a onclick={OWNED}> |\n|:-:|\n| <img src=x onerror={OWNED}> |",
    "X10-bidi": "\u202eabc\u202c \u2066\u200b\u200d\ufeff \u0000 \ud7ff <\u200bscript>"
    f"<scr\u0000ipt>{OWNED}</script> ({OWNED})",
    "X11-clobbering": "<form name=body><input name=trustedTypes><img name=getElementById id=app></form>"
    "<a id=location href=cid:x><object data=x><embed src=x>",
    "X12-entities": f"&lt;script&gt;{OWNED}&lt;/script&gt; &#60;img src=x onerror={OWNED}&#62;"
    f"\\<img src=x onerror={OWNED}>",
}
ALLOWED_TAGS = {
    *("a", "blockquote", "br", "button", "code", "del", "div", "em", "figcaption", "figure", "h1", "h2", "h3", "hr"),
    *("li", "ol", "p", "path", "pre", "s", "small", "span", "strong", "svg", "table", "tbody", "td", "th", "thead"),
    *("tr", "ul", "summary"),
}
ALLOWED_ATTRIBUTES = {
    *("aria-hidden", "aria-label", "class", "d", "dir", "focusable", "href", "rel", "tabindex", "target", "title"),
    *("type", "viewBox"),
}


def holds(told: dict[str, object]) -> None:
    tags, attributes, hrefs = told["tags"], told["attributes"], told["hrefs"]
    assert isinstance(tags, list)
    assert isinstance(attributes, list)
    assert isinstance(hrefs, list)
    assert set(tags) <= ALLOWED_TAGS
    assert set(attributes) <= ALLOWED_ATTRIBUTES
    assert all(href.startswith(("https:", "http:", "mailto:")) for href in hrefs)
    assert told["isOwned"] is False


@pytest.mark.parametrize("pieces", [1, 300], ids=["at once", "split"])
@pytest.mark.parametrize("row", CORPUS)
def test_text_of_a_model_stays_text(row: str, pieces: int, browser: Browser) -> None:
    async def test(chat: Chat) -> None:
        told = await chat.play("attacks.answered")
        holds(told)
        if row not in {"X3-links", "X6-canary", "X11-clobbering"}:
            assert "owned" in told["text"]

    browser.on_chat(test, f"tokens={pieces},rate=4000,text={as_value(CORPUS[row])}")


NAME = f'<img src=x onerror="{OWNED}">'


def test_names_of_models_and_tools_stay_text(browser: Browser) -> None:
    async def test(chat: Chat) -> None:
        told = await chat.play("attacks.answered")
        holds(told)
        assert NAME in told["text"]
        assert told["model"] == NAME

    browser.on_chat(test, f"tokens=2,tools=1,tool_name={as_value(NAME)}", display_name=NAME)


def test_the_text_of_an_error_stays_text(browser: Browser) -> None:
    async def test(chat: Chat) -> None:
        for _ in range(2):
            told = await chat.play("attacks.answered")
            holds(told)
            assert NAME in told["text"]

    said = as_value(NAME)
    browser.on_chat(test, f"tokens=9,error_after=5:api_error,error_message={said}", f"status=400,error_message={said}")


def test_events_that_nobody_knows_drive_nothing(browser: Browser) -> None:
    async def test(chat: Chat) -> None:
        told = await chat.play("attacks.answered")
        holds(told)
        assert told["text"].startswith("0 1 2")

    browser.on_chat(test, "tokens=3,unknown_event=4,unknown_delta=5")


def test_the_policy_stands(browser: Browser) -> None:
    async def test(chat: Chat) -> None:
        violated = await chat.play("attacks.policy", seen=SEEN_BY_THE_POLICY)
        assert violated["refusals"] == ["TypeError", "TypeError", "TypeError"]
        assert violated["evaluated"] == "EvalError"
        assert violated["fetched"] == "refused"

    browser.on_chat(test, "tokens=2")


class AnyViolations(list[str]):
    """Equal to what names each of these directives at least once."""

    def __init__(self, *directives: str) -> None:
        super().__init__(directives)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, list) and all(any(name in what for what in other) for name in self)

    __hash__ = None


SEEN_BY_THE_POLICY = {"violations": AnyViolations("require-trusted-types-for", "trusted-types", "connect-src")}


def rows(count: int) -> str:
    return "| n | text |\n|---|---|\n" + "".join(f"| {row} | some words |\n" for row in range(count))


@pytest.mark.parametrize(
    ("text", "holds_it"),
    [
        (rows(4000), lambda told: told["rows"] >= 4000),
        ("```c\n" + "int x = 1; /* ... */\n" * 240_000 + "```", lambda told: told["characters"] > 5_000_000),
        ("word " * 100_000, lambda told: told["characters"] > 499_000),
        ("x" * 300_000, lambda told: told["characters"] > 299_000),
    ],
    ids=["table", "code", "words", "no-space"],
)
def test_a_large_answer_is_shown_whole(text: str, holds_it: object, browser: Browser) -> None:
    assert callable(holds_it)

    async def test(chat: Chat) -> None:
        assert holds_it(await chat.play("attacks.large"))

    browser.on_chat(test, f"tokens=200,text={as_value(text)}")
