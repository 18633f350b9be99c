"""A job that makes class pictures: what it says meanwhile, and what is left when it is stopped or discarded then."""

import pytest

from tests.jobs.conftest import order
from tests.jobs.test_jobs import files, until

CLASS = {"reg_pictures": "generate", "reg_prompt": "woman, {smile|serious}"}


def kept(host):
    return len(list((host.work_dir / "class-pictures").rglob("*.latents")))


@pytest.mark.slow
def test_it_tells_how_far_it_is_and_counts_their_steps(host, jobs):
    ordered = order(**CLASS)
    job = jobs.submit(ordered)
    assert job.total == ordered.options.steps == 12
    done = jobs.wait(job.id, 60)
    assert (done.state, done.step, done.total) == ("done", 12, 12)
    texts = [text for _, _, text in host.reports]
    assert [text for text in texts if text.startswith("Makes")] == [
        f"Makes class pictures: {i} of 2." for i in range(3)
    ]
    assert "Of 200 class pictures 2 are used: as many as yours come in an epoch." in done.notes
    assert kept(host) == 2


@pytest.mark.parametrize(("end", "state"), [("stop", "failed"), ("discard", "discarded")])
def test_ended_meanwhile_it_keeps_what_was_made_and_saves_nothing(host, jobs, end, state):
    job = jobs.submit(order(repeats=200, reg_count=200, **CLASS))
    until(lambda: "Makes class pictures: 1 of" in jobs.get(job.id).text)
    getattr(jobs, end)(job.id)
    ended = jobs.wait(job.id, 30)
    assert ended.state == state
    assert (files(host), host.lent) == ([], 0)
    assert 1 <= kept(host) < 200
    if end == "stop":
        assert f"Stopped: {kept(host)} of 200 class pictures are made and kept." in ended.text
