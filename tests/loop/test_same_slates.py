"""What a bench measures is what the server answers: the same 50 slates, over HTTP."""

from __future__ import annotations

import httpx

from loop.street import Street
from rankings import rank_for
from regulars.app import App
from regulars.core.clock import ManualClock
from regulars.events.schema import Decision
from regulars.rank.slates import Request, State, slates
from regulars.serve.security import make_keys
from serve.parts import Parts, serving

N, K = 50, 8


def test_fifty_slates_of_a_bench_equal_those_of_the_started_server(copy: App, street: Street) -> None:
    flags = {"rank.explore": "off"}
    with App.open(copy.home, flags=flags, clock=ManualClock(street.now)) as app:
        bundle, who = app.bundle(), street.world.shopper_ids[:N]
        assert bundle is not None
        ranked = rank_for(app, bundle, "slate", who, [()] * N, K)
        keys = app.identities.keys([f"u:{name}" for name in who])
        asked = [Request(user_key=key, recommendation_id=str(row), limit=K) for row, key in enumerate(keys)]
        benched = slates(asked, State(bundle, app.live, app.settings, app.clock.now()))
    with App.open(copy.home, flags=flags, clock=ManualClock(street.now)) as app:
        secrets = make_keys(app.home)
        headers = {"Authorization": f"Bearer {secrets.admin}"}
        parts = Parts(app.home, app.settings, app.journal, app.service, secrets)
        with serving(parts) as url, httpx.Client(base_url=url, headers=headers) as client:
            answers = [
                client.get(f"/v1/recommend/{name}", params={"limit": K}).raise_for_status().json() for name in who
            ]
        kept = [each for _, each in app.journal.snapshot().records("decision") if isinstance(each, Decision)]
    for mine, slate, answer in zip(ranked, benched, answers, strict=True):
        theirs = answer["items"]
        assert [item["item_id"] for item in theirs] == mine == [item.item_id for item in slate.items]
        assert [item["score"] for item in theirs] == [item.score for item in slate.items]
        assert [item["reason"]["text"] for item in theirs] == [item.reason.text for item in slate.items]
        assert {item["propensity"] for item in theirs} == {1.0}
        assert answer["model_version"] == slate.model_version
    assert len({tuple(mine) for mine in ranked}) > 25
    served = {each.event_id: each for each in kept}
    hashes = {served[answer["recommendation_id"]].settings_hash for answer in answers}
    assert hashes == {slate.settings_hash for slate in benched} == {bundle.settings_hash}
