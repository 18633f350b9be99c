"""One training run: from the prepared picture and its captions to the files of a LoRA."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import torch

from distill.data_set import counts_of, data_set
from distill.errors import TrainingError
from distill.events import Captioned, Done, Event, Measured, Noted, Prepared, Resumed, Sampled, Saved
from distill.host import Models
from distill.options import Options
from distill.resuming import Keeping, fingerprint
from distill.saving import Files, Trained, trained
from distill.training.adapter import Adapter, attached
from distill.training.budget import plan
from distill.training.encode import DataSet
from distill.training.lean import lean
from distill.training.loop import Step, train
from distill.training.memory import is_out_of_memory, step_down, tidy
from distill.training.prior import ClassPicture
from distill.training.state import Course
from distill.watching import ENOUGH, Watch


@dataclass(frozen=True)
class Run:
    """One training, from the prepared picture to the files."""

    lora_dir: Path
    name: str
    models: Models
    prepared: Prepared
    captioned: Captioned
    options: Options
    now: Callable[[], datetime]
    class_pictures: Sequence[ClassPicture] = ()
    keeping: Keeping | None = None  # of its state, to go on after a crash

    def events(self, should_stop: Callable[[], bool]) -> Iterator[Event]:
        keeping = self._keeping()
        try:
            yield from self._events(keeping, should_stop)
        except (GeneratorExit, KeyboardInterrupt):  # discarded
            keeping.end()
            raise
        finally:
            keeping.settle()
        keeping.end()

    def _keeping(self) -> Keeping:
        """Where the state is kept, with what has to be said beside it."""
        keeping = self.keeping or Keeping()
        print_of = fingerprint(self.models, self.options, self.prepared, self.captioned, self.class_pictures)
        return keeping.about(name=self.name, fingerprint=print_of, began_at=self.now())

    def _events(self, keeping: Keeping, should_stop: Callable[[], bool]) -> Iterator[Event]:
        files = Files(
            lora_dir=self.lora_dir,
            name=self.name,
            models=self.models,
            prepared=self.prepared,
            captioned=self.captioned,
            options=self.options,
            now=self.now,
            started_at=keeping.began_at,
            replaces=keeping.kept is not None,
        )
        generator = torch.Generator().manual_seed(self.options.train.seed)
        data = data_set(self.models, self.prepared, self.captioned, self.options, self.class_pictures)
        files = replace(files, counts=counts_of(data, self.options.train, self.class_pictures))
        with ExitStack() as stack:
            adapters = self._attach(stack, generator)
            watch = Watch(self.models, data.items[0].mean[:1], self.captioned, self.options, adapters)
            done = yield from self._train(adapters, data, generator, files, keeping, watch, should_stop)
        if done.stopped and not done.has_learned:
            raise TrainingError(f"{done.stopped} Nothing was learned by then and nothing was saved.", "Let it run on.")
        best = watch.best or done
        if best.step != done.step:
            yield from files.besides(done)
        yield from files.last(best, data.items[0].mean[:1], should_stop)
        yield Done(files.lora_dir / f"{files.name}.safetensors", files.prompt, done.step, done.stopped)

    def _attach(self, stack: ExitStack, generator: torch.Generator) -> list[Adapter]:
        train_options = self.options.train
        parts = {"unet": self.models.unet}
        if train_options.train_text_encoder:
            parts["text_encoder"] = self.models.text_encoder
        network = self.options.network
        return [stack.enter_context(attached(module, part, network, generator)) for part, module in parts.items()]

    def _train(
        self,
        adapters: list[Adapter],
        data: DataSet,
        generator: torch.Generator,
        files: Files,
        keeping: Keeping,
        watch: Watch,
        should_stop: Callable[[], bool],
    ) -> Generator[Resumed | Noted | Step | Measured | Saved | Sampled, None, Trained]:
        epoch_steps = data.epoch_steps(self.options.train)
        total = epoch_steps * self.options.train.epochs
        course = Course(self.models, adapters, self.options, total, generator)
        average, losses, good = course.average, keeping.losses, None
        resumed = keeping.restore(course, watch, total)
        try:
            if resumed is not None:
                yield resumed
                good = trained(adapters, average, course.step, course.step // epoch_steps)
                with average.instead(), lean(self.models, adapters, self.options):  # as in the steps
                    yield from files.missing(good, adapters, should_stop)
            for step in self._steps(data, adapters, generator, course):
                if isinstance(step, Noted):
                    yield step
                    continue
                average.update()
                losses.append(step.loss)
                yield from map(Noted, keeping.settle())  # the state was written beside picture and step
                yield step
                if step.index == step.total:
                    break
                epoch = -(-step.index // epoch_steps)
                if should_stop():
                    stopped = f"Stopped at step {step.index} of {step.total}."
                    return replace(trained(adapters, average, step.index, epoch), stopped=stopped)
                if step.index % epoch_steps == 0:
                    good = trained(adapters, average, step.index, epoch)
                    with average.instead():
                        yield from watch.read(good, total - step.index)
                    yield from map(Noted, keeping.keep(course, watch, losses))
                    with average.instead():
                        yield from files.epoch(good, adapters, should_stop)
                    if watch.is_enough:
                        yield Noted(ENOUGH.format(step=step.index, total=total))
                        return good
            good = trained(adapters, average, course.step, -(-course.step // epoch_steps))
            with average.instead():
                yield from watch.read(good, 0)
            return good
        except (TrainingError, MemoryError, RuntimeError) as error:
            reason = _reason(error)
            if good is None:
                raise TrainingError(
                    f"{reason.message} Nothing was saved; your model is as it was.", reason.hint
                ) from error
            return replace(good, stopped=f"{reason.message} Epoch {good.epoch} is saved. {reason.hint}")

    def _steps(
        self, data: DataSet, adapters: list[Adapter], generator: torch.Generator, course: Course
    ) -> Iterator[Step | Noted]:
        """All steps, as the memory allows; one for which it is too small is made again in another way."""
        planned = plan(self.models, data, adapters, self.options, course)
        if planned:
            yield Noted(planned)
        while True:
            try:
                for step in train(self.models, data, adapters, self.options, generator=generator, course=course):
                    yield from map(Noted, course.said())
                    yield step
            except (MemoryError, RuntimeError) as error:
                how = step_down(course, self.options) if is_out_of_memory(error) else ""
                if not how:
                    raise
            else:
                return
            tidy(self.models.device)  # the error, which held the failed step, is gone here
            yield Noted(how)


def _reason(error: Exception) -> TrainingError:
    """What a broken step means to the user; foreign errors that are not about memory go on as they are."""
    if isinstance(error, TrainingError):
        return error
    if is_out_of_memory(error):
        hint = "Retry with gradient checkpointing, a smaller batch, a lower rank or a smaller resolution."
        return TrainingError("Out of memory while training.", hint)
    raise error
