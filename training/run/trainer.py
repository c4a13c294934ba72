"""One step of the optimizer over rows that share their prompts: what the three kinds of run have in common.

Transformers' Trainer keeps its loop, optimizer, schedule, saved states and processes; a batch is a list of rows, which
become packs here. Losses are sums over a step divided by what the whole step has of pairs or tokens, on all processes, so
that neither how a step is cut into packs nor over how many processes it is spread changes a gradient.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import cached_property
from itertools import chain, islice
from pathlib import Path
from typing import Any, TypeVar

import torch
from accelerate.utils import gather_object
from torch import Tensor
from torch.utils.data import RandomSampler, Sampler
from transformers import TrainingArguments

from training.data.rows import Example, Row
from training.formats.errors import ConfigError
from training.formats.events import EventLog
from training.formats.settings import RunConfig
from training.measure.metrics import Metrics
from training.model import head, layouts, models
from training.model.packing import BLOCKS, Form, Line, Pack, lay_out, pack, widest
from training.model.sharding import ShardedTrainer
from training.run import room
from training.run.ahead import Ahead
from training.run.backends import steps
from training.run.progress import Progress, training_arguments

Result = TypeVar("Result")
Measure = Callable[[], Metrics]


class RowTrainer(ShardedTrainer):
    """The base of the reward model's, the policy's and fine-tuning's trainer; they say `loss`, `totals` and `measures`."""

    def __init__(
        self, config: RunConfig, run_dir: Path, model: Any, rows: list[Row], tokenizer: Any, progress: Progress
    ) -> None:
        shape, form = room.shape_of(config), layouts.expected(config.base_model, rows, tokenizer.pad_token_id)
        self.config = config = room.fit(config, shape, steps.longest(config, rows, widest(rows, form)))
        progress.fitted(config)
        self.progress = progress
        self.rows = rows
        self._counting = True
        self._sums: dict[str, Tensor] = {}  # of each metric since the last log: its sum and its count
        self._tokens = 0
        self.pad: int = tokenizer.pad_token_id
        self._ahead = Ahead(self._pack)
        super().__init__(
            config.model,
            on_one_device(TrainingArguments(**training_arguments(config, run_dir))),
            model=model,
            train_dataset=Rows(rows),
            data_collator=self._coming,
            processing_class=tokenizer,
            callbacks=[progress],
        )

    def loss(self, model: Any, batch: Pack, totals: Tensor) -> Tensor:
        """The pack's share of the step's loss; `totals` is the sum of `totals()` over the step."""
        raise NotImplementedError

    def totals(self, batch: Pack) -> Tensor:
        """What the losses of a step are divided by, one number for each term."""
        raise NotImplementedError

    def measures(self, held_out: Sequence[Example], events: EventLog) -> tuple[Measure, Measure]:
        """What measures the model on held-out pairs before its first step, and what does from then on; called before it.

        Args:
            held_out: The pairs, which may be none.
            events: Where to report what takes long.
        """
        raise NotImplementedError

    def packs(self, rows: Sequence[Row]) -> list[Pack]:
        """The rows as packs that fit into the budget."""
        return [self._pack(lines) for lines in self._laid_out(rows)]

    @cached_property
    def form(self) -> Form:
        """The form in which the model reads packs rightly; found out once, before anything is computed with one."""
        model, on_gpu = self.accelerator.unwrap_model(self.model), self.accelerator.device.type == "cuda"
        # TRL's trainers take the model as it was loaded.
        blocks = on_gpu and self.config.model.attention == "auto" and self.config.trainer == "corral"
        with evaluating(self.model), self.accelerator.autocast():
            form = layouts.form_for(model, self.rows, self.pad, blocks=blocks)
        self.let_go()
        if form in layouts.SAID:
            self._warn(layouts.SAID[form])
        elif blocks and form != BLOCKS:
            self._warn("is not computed rightly by FlexAttention: its masks are dense")
        if on_gpu and self.config.model.compile:  # only now: whoever asks for hidden states wants layers as they are
            models.compile_layers(model)
        return form

    @cached_property
    def head_tokens(self) -> int:
        """Response tokens whose logits are held at once; 0 is all. Found out as `form` is."""
        wanted, model = self.config.model.head_tokens, self.accelerator.unwrap_model(self.model)
        if not wanted:
            return 0
        short = layouts.sample(self.rows, self.pad, self.form).to(self.accelerator.device)
        with evaluating(self.model), self.accelerator.autocast():
            ends = head.ends_with(model, model.get_output_embeddings(), short.inputs)
        self.let_go()
        if not ends:
            self._warn("changes what its head says: the logits of a pass are held all at once, which takes more memory")
        return wanted if ends else 0

    def _warn(self, of_the_model: str) -> None:
        message = f"The base model {self.config.base_model} {of_the_model}."
        self.progress.events.emit("warning", message=message)

    def _laid_out(self, rows: Sequence[Row]) -> list[list[Line]]:
        return lay_out(rows, self.config.model.pack_tokens, self.form)

    def _pack(self, lines: Sequence[Line]) -> Pack:
        made = pack(lines, self.pad, self.form)
        return made.pinned() if self.accelerator.device.type == "cuda" else made

    def _coming(self, places: list[Row | None]) -> list[Row]:
        """The rows of a step, which become packs while the step before it is computed: accelerate asks one step early."""
        rows = [row for row in places if row is not None]
        self._ahead.begin(self._laid_out(rows))
        return rows

    def training_step(self, model: Any, inputs: list[Row], num_items_in_batch: Any = None) -> Tensor:  # noqa: ARG002
        """Forward and backward over all packs of a step; returns this process's share of the loss times their number.

        Where memory runs out, the step begins again with packs of half the size, which gives the same gradients.
        """
        model.train()

        recorded = dict(self._sums)

        def begin_again() -> None:
            self._sums = dict(recorded)
            model.zero_grad()

        return self._in_smaller_packs(lambda: self._step(model, inputs), inputs, begin_again)

    def _in_smaller_packs(
        self, work: Callable[[], Result], rows: Sequence[Row], begin_again: Callable[[], None] = lambda: None
    ) -> Result:
        """What `work` over `rows` returns; it is done again in packs of half the size where memory runs out.

        Raises:
            ConfigError: packs cannot be made smaller: they are small already, hold one row, or are shared with other processes.
        """
        while True:
            try:
                return work()
            except RuntimeError as error:
                if not out_of_memory(error):
                    raise
                tokens = self.config.model.pack_tokens
                alone = self.accelerator.num_processes == 1  # others would wait for packs that they have done already
                largest = widest(rows, self.form)
                if not alone or tokens // 2 < room.SMALLEST or tokens <= largest:
                    raise ConfigError(
                        f"memory ran out in a pass of {max(tokens, largest)} tokens: set "
                        "model.gradient_checkpointing = true, or a smaller model.pack_tokens or data.max_length"
                    ) from None
            # Only here has the error, and with it every tensor of the pass that failed, gone.
            begin_again()
            self.let_go()
            smaller = replace(self.config.model, pack_tokens=tokens // 2)
            self.config = replace(self.config, model=smaller)
            self.progress.fitted(self.config)

    def _step(self, model: Any, inputs: list[Row]) -> Tensor:
        packs = self._ahead.step(self._laid_out(inputs))
        stand_in = packs[-1] if packs else self.packs(self.rows[:1])[0]  # counts for nothing; see `passes`
        own = torch.stack([self.totals(batch) for batch in packs]).sum(dim=0) if packs else 0 * self.totals(stand_in)
        totals = self._over_processes(own)
        totals = totals.clamp(min=torch.finfo(totals.dtype).tiny)  # a step of pairs that weigh nothing teaches nothing
        # Gradients come together in every backward pass, and sharded weights in every forward pass: all processes must do as
        # many, those too that have no row left in the last step of an epoch.
        passes = int(self._over_processes(torch.tensor(float(len(packs))), "max"))
        processes = self.accelerator.num_processes
        whole = torch.zeros((), device=self.accelerator.device)
        for number in range(passes):
            batch = (packs[number] if number < len(packs) else stand_in).to(self.accelerator.device)
            self._counting = number < len(packs)
            with nullcontext() if number == passes - 1 else self.accelerator.no_sync(model):
                # Gradients are averaged over processes, but the totals are those of all of them.
                loss = self.loss(model, batch, totals) * processes * self._counting
                self.accelerator.backward(loss)
            whole += loss.detach()
        if not self._tokens:  # a run that goes on goes on counting
            self._tokens = next((e["num_tokens"] for e in reversed(self.state.log_history) if "num_tokens" in e), 0)
        self._tokens += int(self._over_processes(torch.tensor(float(sum(batch.tokens for batch in packs)))))
        return whole

    def token_logps(self, model: Any, batch: Pack) -> Tensor:
        """Log-probability of every response token given what stands before it, [N] in float32."""
        own, tokens = self.accelerator.unwrap_model(model).get_output_embeddings(), self.head_tokens
        asked = model, own, batch.inputs, batch.picks, batch.labels
        with self.accelerator.autocast():
            if 0 < tokens < len(batch.labels):
                return head.token_logps_in_parts(*asked, tokens)
            return head.token_logps(*asked)

    def over_rows(self, rows: Sequence[Row], measure: Callable[[Pack], Tensor]) -> list[tuple[float, ...]]:
        """What `measure` gives for every response ([R] for a pack), without gradients and dropout; one tuple a row.

        The processes share the packs. All of them must call it with the same rows, and get the same.
        """
        return self._in_smaller_packs(lambda: self._measured(rows, measure), rows) if rows else []

    def _measured(self, rows: Sequence[Row], measure: Callable[[Pack], Tensor]) -> list[tuple[float, ...]]:
        packs, processes = self._laid_out(rows), self.accelerator.num_processes
        mine = packs[self.accelerator.process_index :: processes]
        place: dict[int, int] = {}
        for index, row in enumerate(rows):
            place.setdefault(id(row), index)
        found: dict[int, tuple[float, ...]] = {}
        turns = mine + packs[:1] * (-(-len(packs) // processes) - len(mine))  # as many on all processes, as in a step
        with evaluating(self.model):
            for turn, batch in enumerate(self._ahead.each(turns)):
                values = iter(measure(batch.to(self.accelerator.device)).tolist())
                for row in chain.from_iterable(turns[turn]) if turn < len(mine) else ():
                    found[place[id(row)]] = tuple(islice(values, len(row.responses)))
        self.let_go()
        everywhere = dict(gather_object(list(found.items())))
        return [everywhere[place[id(row)]] for row in rows]

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        """Of several processes, all have as many places of the last step of an epoch; some of them hold no row."""
        processes, sampler = self.accelerator.num_processes, super()._get_train_sampler(train_dataset)
        if processes == 1 or not isinstance(sampler, RandomSampler):
            return sampler
        return WholeSteps(len(self.rows), self.config.optim.batch_size, self.config.seed)

    def save(self, folder: Path, weights: Any) -> None:
        """Write what was trained, on one process."""
        with self.gathered():
            models.save(self.accelerator.unwrap_model(self.model_wrapped), self.processing_class, folder, weights)

    def record(self, **metrics: Tensor) -> None:
        """Keep values of a pack until the step is logged; each value counts once, whatever pack it came in."""
        for name, values in metrics.items():
            both = torch.stack([values.detach().float().sum(), values.new_tensor(values.numel(), dtype=torch.float32)])
            both = both if self._counting else torch.zeros_like(both)  # processes add up the same names
            self._sums[name] = self._sums[name] + both if name in self._sums else both

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the means of what was recorded."""
        if self._sums:
            sums = self._over_processes(torch.stack(list(self._sums.values())))
            logs |= {name: (total / count).item() for name, (total, count) in zip(self._sums, sums, strict=True)}
            logs["num_tokens"] = self._tokens
            self._sums = {}
        super().log(logs, start_time)

    def floating_point_ops(self, inputs: Any) -> int:  # noqa: ARG002
        """Not counted: Trainer would look for `input_ids` in a list of rows."""
        return 0

    def _over_processes(self, values: Tensor, how: str = "sum") -> Tensor:
        gathered: Tensor = self.accelerator.gather(values.to(self.accelerator.device)[None])
        return gathered.amax(dim=0) if how == "max" else gathered.sum(dim=0)


def out_of_memory(error: RuntimeError) -> bool:
    """Whether a device had no memory left, or a processor, for which torch has no error of its own."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def on_one_device(arguments: TrainingArguments) -> TrainingArguments:
    """Several devices in sight of one process would be DataParallel, which takes tensors apart that belong to one pack."""
    if arguments.n_gpu > 1:  # asking sets it
        arguments._n_gpu = 1  # noqa: SLF001
    return arguments


class Rows(list[Row]):
    """Rows, and behind them places that hold none."""

    def __getitem__(self, index: Any) -> Any:
        """A row, or None."""
        return super().__getitem__(index) if isinstance(index, slice) or index < len(self) else None


class WholeSteps(Sampler[int]):
    """Rows in the order in which one process takes them (accelerate's seeded one), filled up to whole steps with places behind.

    Left to themselves, several processes would share the rest of an epoch evenly by repeating its first rows.
    """

    def __init__(self, rows: int, step: int, seed: int) -> None:
        self.rows, self.step, self.seed, self.epoch = rows, step, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Which of the epochs comes next."""
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-self.rows // self.step) * self.step

    def __iter__(self) -> Iterator[int]:
        dice = torch.Generator().manual_seed(self.seed + self.epoch)
        return chain(torch.randperm(self.rows, generator=dice).tolist(), range(self.rows, len(self)))


@contextmanager
def evaluating(model: torch.nn.Module) -> Iterator[None]:
    """A context without gradients and dropout."""
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(was_training)
