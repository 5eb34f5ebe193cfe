"""What the composition makes of a configuration."""

from __future__ import annotations

from pathlib import Path

from ezai.app import Embedded, Gateway, build
from ezai.config import (
    AnthropicUpstream,
    Config,
    EmbeddedUpstream,
    OpenAIUpstream,
    RouteConfig,
    RouteTimeoutsConfig,
    TargetConfig,
    TimeoutsConfig,
)
from ezai.models.reference import LocalModel
from ezai.policy.breaker import Conduct
from ezai.policy.routing import Target
from ezai.ports import Timeouts
from ezai.system import SystemClock
from tests.pipeline.fakes import FakeKeys, FakeLedger

SEVERAL = [
    TargetConfig(upstream="far", context=200_000),
    TargetConfig(upstream="near", model="big", max_output=9),
    TargetConfig(upstream="local"),
    TargetConfig(upstream="local", model="other name", context=99),
]
CONFIG = Config(
    upstreams=[
        AnthropicUpstream(name="far", timeouts=TimeoutsConfig(connect=1, idle=2), max_retries=0),
        OpenAIUpstream(name="near", base_url="http://127.0.0.1:1", max_retries=3),
        EmbeddedUpstream(name="local", context=4096),
    ],
    routes=[
        RouteConfig(model="a", targets=SEVERAL, timeouts=RouteTimeoutsConfig(first_event=20, idle=7)),
        RouteConfig(model="b", targets=[TargetConfig(upstream="far")]),
    ],
)


def built(config: Config = CONFIG, former: Gateway | None = None) -> Gateway:
    model = LocalModel(Path("dir/name.gguf"), "smollm2-135m", 8192)
    embedded = Embedded(model, "Small one", 8192, lambda: None)
    return build(config, FakeKeys(), FakeLedger(), embedded, SystemClock(), former=former)


def test_targets_are_as_they_are_configured() -> None:
    route, _ = built().data_plane.ports.routes
    assert route.targets == (
        Target("far", None, None, context=200_000, max_retries=0),
        Target("near", "big", 9, context=None, max_retries=3),
        Target("local", "smollm2-135m", None, context=4096, max_retries=2),
        Target("local", "other name", None, context=99, max_retries=2),
    )


def test_the_phases_of_a_route_stand_above_those_of_its_upstreams() -> None:
    ports = built().data_plane.ports
    several, one = ports.routes
    far, near = several.targets[:2]
    assert ports.timeouts_of(several, far) == Timeouts(connect=1, first_event=20, idle=7)
    assert ports.timeouts_of(several, near) == Timeouts(first_event=20, idle=7)
    assert ports.timeouts_of(one, far) is ports.timeouts["far"]
    assert ports.timeouts["far"] == Timeouts(connect=1, idle=2)


def test_the_state_of_every_target_is_told_once() -> None:
    gateway = built()
    reports = gateway.data_plane.ports.target_state.report()
    assert [(report.upstream, report.model) for report in reports] == [
        ("far", ""), ("near", "big"), ("local", "smollm2-135m"), ("local", "other name")
    ]  # fmt: skip
    assert b'ezai_target_state{model="big",state="ready",upstream="near"} 1.0' in gateway.metrics.render()


def test_the_budget_is_a_share_of_what_is_served() -> None:
    budget = built().data_plane.ports.retry_budget
    assert [budget.take() for _ in range(4)] == [True, True, True, False]


def test_a_reload_begins_anew_with_its_own_targets() -> None:
    former = built()
    far = former.data_plane.ports.routes[1].targets[0]
    states = former.target_states
    states.note(far, states.asking(far), Conduct.FAILED)
    smaller = Config(upstreams=CONFIG.upstreams, routes=CONFIG.routes[1:])
    assert built(smaller, former).metrics is former.metrics
    assert [(report.upstream, report.failures) for report in states.report()] == [("far", 0)]
