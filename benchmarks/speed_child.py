"""One trainer in a process of its own that tells what each step took and waits for its turn after it.

    python speed_child.py '{"what": "ours", ...}'

Rows of JSON go to what was standard output; a line on standard input is the next turn. A peer's script runs as it is:
nothing of its arithmetic is touched, only a hook after the optimizer's step looks at the clocks.
"""

from __future__ import annotations

import contextlib
import json
import os
import runpy
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from speed_machine import about, peaks_gb
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry, sdpa_backward_flop_count, sdpa_flop_count

COUNTED = 2
"""The step whose FLOP are counted; counting takes time, so its time is not told."""


class Counter(TorchDispatchMode):
    """FLOP by torch's own formulas, and how many operations that are no mere views."""

    def __init__(self) -> None:
        super().__init__()
        self.flop, self.operations = 0, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        answer = func(*args, **(kwargs or {}))
        self.operations += not func.is_view
        packet = func._overloadpacket
        if packet in flop_registry:
            self.flop += flop_registry[packet](*args, **(kwargs or {}), out_val=answer)
        elif packet in _ON_CPU:
            self.flop += _ON_CPU[packet](*(arg.shape for arg in args if isinstance(arg, torch.Tensor)))
        return answer


def _backward_flop(grad: Any, query: Any, key: Any, value: Any, *_: Any) -> int:
    return int(sdpa_backward_flop_count(grad, query, key, value))


_ON_CPU: dict[Any, Callable[..., int]] = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: lambda q, k, v, *_: int(sdpa_flop_count(q, k, v)),
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: _backward_flop,
    torch.ops.mkldnn._linear_pointwise: lambda x, weight, *_: 2 * x[0] * x[1] * weight[0],
}
"""torch has formulas for the attention of GPUs only, and none for a product by oneDNN."""


class Reports:
    """What the parent process is told, and the turns that it gives."""

    def __init__(self, asked: dict[str, Any]) -> None:
        self._began, self._device, self._out = asked["began"], asked["device"], Path(asked["out"])
        self._rows = os.fdopen(os.dup(1), "w", buffering=1)
        os.dup2(2, 1)  # whatever the trainer prints goes to its log
        self._index, self._waited_s, self._clicked = 0, 0.0, self._began
        self._counter: Counter | None = None
        self._mark_s, self._mark_cpu_s = self._began, 0.0

    def tell(self, kind: str, **numbers: Any) -> None:
        """One row."""
        self._rows.write(json.dumps({"kind": kind, **numbers}) + "\n")

    def click(self) -> None:
        """The model is loaded; from here on is what a person waits for in a WebUI."""
        self._clicked = time.time()
        self.tell("loaded", wall_s=self._clicked - self._began, cpu_s=time.process_time())

    def step(self) -> None:
        """A step is done: say what it took, wait for the next turn, begin the next one."""
        if self._device == "cuda":
            torch.cuda.synchronize()
        now, cpu_s = time.time(), time.process_time()
        self._index += 1
        numbers: dict[str, Any] = {
            "index": self._index,
            "wall_s": now - self._mark_s,
            "cpu_s": cpu_s - self._mark_cpu_s,
        }
        if self._index == 1:
            numbers["after_click_s"] = now - self._clicked
        if self._counter is not None:
            self._counter.__exit__(None, None, None)
            numbers |= {"flop": self._counter.flop, "operations": self._counter.operations}
            self._counter = None
        self.tell("step", **numbers)
        sys.stdin.readline()
        if self._index == COUNTED - 1:
            self._counter = Counter().__enter__()
        self._mark_s, self._mark_cpu_s = time.time(), time.process_time()
        self._waited_s += self._mark_s - now

    def end(self, done_at: float | None = None, peaks: dict[str, float | None] | None = None) -> None:
        """All is over; a file counts from when it was written, or from `done_at`, when it was checked, too.

        `peaks` are those of the training where more came after it.
        """
        files = sorted(self._out.rglob("*.safetensors"), key=lambda path: path.stat().st_mtime)
        if not files:
            raise SystemExit("no LoRA was written")
        at = done_at or files[-1].stat().st_mtime
        file_s = at - self._began - self._waited_s
        after = {"file_s": file_s, "file_after_click_s": file_s - (self._clicked - self._began)}
        after["last_s"] = at - self._mark_s  # from the last step to the file
        self.tell("end", **after, **layers(files[-1]), **(peaks or peaks_gb()))


def layers(path: Path) -> dict[str, int]:
    """How many layers a LoRA has, and how many numbers in them."""
    with path.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    shapes = {name: about["shape"] for name, about in header.items() if name != "__metadata__"}
    products = {name: shape for name, shape in shapes.items() if name.endswith(".weight")}
    numbers = 0
    for shape in products.values():
        count = 1
        for edge in shape:
            count *= edge
        numbers += count
    return {"layers": len(products) // 2, "parameters": numbers}


def ours(reports: Reports, asked: dict[str, Any]) -> None:
    """Distill as a host calls it: load the model, then the click."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from distill.cli.memory import keep_freed
    from distill.events import Done, Step
    from distill.hosts.standalone import Standalone
    from distill.image.loading import load
    from distill.jobs.ahead import Ahead
    from distill.options import Options
    from distill.pipeline import distill
    from distill.training import encoded

    if asked["keeps"]:
        keep_freed()
    host = Standalone(Path(asked["checkpoint"]), lora_dir=Path(asked["out"]), device=asked["device"])
    with host.borrow():
        pass
    options = Options.from_flat(asked["options"])
    reports.click()
    done_at = None
    for event in distill(host, Path(asked["picture"]), asked["tags"], options):
        if isinstance(event, Step):
            reports.step()
        if isinstance(event, Done):
            done_at = time.time()
    peaks = peaks_gb()  # of one training, as the others'

    def to_first_step_s() -> float:
        clicked = time.time()
        with contextlib.closing(distill(host, Path(asked["picture"]), asked["tags"], options)) as events:
            next(event for event in events if isinstance(event, Step))
            return time.time() - clicked

    reports.tell("again", first_step_s=to_first_step_s())
    encoded.MEMORY.forget()  # to it the picture is new again
    ahead = Ahead(host, lambda: False)
    asked_at = time.time()
    ahead.start(load(Path(asked["picture"])).image, options)
    ahead.wait(600)
    encode_s = time.time() - asked_at
    reports.tell("ahead", encode_s=encode_s, first_step_s=to_first_step_s())
    reports.end(done_at, peaks)


def script(reports: Reports, asked: dict[str, Any]) -> None:
    """A peer's script, run as if by its name."""
    from torch.optim import optimizer

    path = Path(asked["script"])
    sys.path[:] = [*asked["paths"], str(path.parent), *(p for p in sys.path if p != str(Path(__file__).parent))]
    sys.argv = [str(path), *asked["arguments"]]
    optimizer.register_optimizer_step_post_hook(lambda *_: reports.step())
    with contextlib.suppress(SystemExit):
        runpy.run_path(str(path), run_name="__main__")
    reports.end()


def floor(reports: Reports, asked: dict[str, Any]) -> None:
    """What the machine can do: a product of two matrices, and copying."""
    device = torch.device(asked["device"])
    dtype, edge = (torch.float16, 8192) if device.type == "cuda" else (torch.float32, 1024)
    left, right = (torch.randn(edge, edge, device=device).to(dtype) for _ in range(2))
    data = torch.ones(2**26, device=device)  # 268 MB, more than any cache holds
    copy = torch.empty_like(data)
    rate = 2 * edge**3 / _least_s(lambda: left @ right, device)
    if device.type == "cpu":  # the other of torch's two libraries
        other_s = _least_s(lambda: torch.ops.mkldnn._linear_pointwise(left, right, None, "none", [], ""), device)
        rate = max(rate, 2 * edge**3 / other_s)
    bandwidth = 2 * data.numel() * data.element_size() / _least_s(lambda: copy.copy_(data), device)
    reports.tell("end", flop_per_s=rate, bytes_per_s=bandwidth, precision=str(dtype).split(".")[-1], **about(device))


def _least_s(work: Callable[[], Any], device: torch.device, for_s: float = 3.0) -> float:
    """Seconds of the quickest of as many goes as fit."""
    taken, until = [], time.perf_counter() + for_s
    while not taken or time.perf_counter() < until:
        began = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize()
        taken.append(time.perf_counter() - began)
    return min(taken)


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    {"ours": ours, "script": script, "floor": floor}[given["what"]](Reports(given), given)
